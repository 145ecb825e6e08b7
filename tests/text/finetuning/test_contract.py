"""The contract of every fine-tuning method, over the dict."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Regularise
from tfrec_llm.layers.noise import Noise
from tfrec_llm.text.classification.classifier import MultiTaskModel
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.encoders.encoder import TextEncoder
from tfrec_llm.text.encoders.registry import Tiny, tiny
from tfrec_llm.text.finetuning import FINETUNING, Finetuning
from tfrec_llm.training import files
from tfrec_llm.training.weights import named_variables

METHODS = sorted(FINETUNING)
TRAINED = [name for name in METHODS if name != "frozen"]
TEXTS = ["play some jazz", "便宜的手机", "a"]


def fresh(name: str, layers: int = 1) -> tuple[TextEncoder, Finetuning]:
    encoder = tiny(Tiny(layers=layers))
    settings, builder = FINETUNING[name]
    return encoder, builder(settings(), encoder, 3)


def vectors(encoder: TextEncoder) -> np.ndarray:
    return encoder.encode(*encoder.tokenize(tf.constant(TEXTS))).numpy()


def gradients(encoder: TextEncoder, method: Finetuning, number: int, dtype=tf.float32) -> list[tf.Tensor | None]:
    """Of a loss that any change of the vectors changes, in training step `number`."""
    ids, mask = encoder.tokenize(tf.constant(TEXTS))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder.encode(ids, mask, dtype, Noise(1, tf.constant(number)))[:, 0])
    return tape.gradient(loss, method.variables)


def step(encoder: TextEncoder, method: Finetuning, number: int = 0) -> list[tf.Tensor | None]:
    found = gradients(encoder, method, number)
    for variable, gradient in zip(method.variables, found, strict=True):
        if gradient is not None:
            variable.assign_sub(0.5 * gradient)
    return found


def classifier(method: Finetuning) -> tuple[MultiTaskModel, dict, list[tf.Variable]]:
    """The trainer's model with one head, a batch for it, and what it trains."""
    ids, mask = method.encoder.tokenize(tf.constant(TEXTS))
    head = Head(method.encoder.dim, 2, hidden=0, dropout=0.0, multi_label=False, seed=0)
    optimizer = tf.keras.optimizers.Adam(0.01)
    model = MultiTaskModel(method, {"intent": head}, Regularise(), optimizer, 1)
    columns = {"targets": {"intent": tf.constant([0, 1, 1])}, "weights": {"intent": tf.ones(3)}}
    return model, {"ids": ids, "mask": mask, **columns}, [*method.variables, *head.trainable_variables]


@pytest.fixture(scope="module")
def base() -> np.ndarray:
    return vectors(tiny(Tiny()))


@pytest.mark.parametrize("name", METHODS)
def test_starts_equal_to_the_base_model(name):
    encoder, _ = fresh(name, layers=2)
    np.testing.assert_allclose(vectors(encoder), vectors(tiny(Tiny(layers=2))), atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_only_its_own_weights_move(name, base):
    """In the classifier's own training step, with its optimizer."""
    encoder, method = fresh(name)
    before = {key: variable.numpy() for key, variable in named_variables(encoder).items()}
    own = {variable.ref() for variable in method.variables}
    model, batch, _ = classifier(method)
    for _ in range(3):
        model.train_step(batch)
    after = named_variables(encoder)
    moved = {key for key, variable in after.items() if not np.array_equal(variable.numpy(), before[key])}
    assert all(after[key].ref() in own for key in moved)
    if name == "frozen":
        assert not moved
        np.testing.assert_array_equal(vectors(encoder), base)
    else:
        assert len(moved) == len(own)  # every weight of its own
        assert np.abs(vectors(encoder) - base).max() > 1e-4


@pytest.mark.parametrize("name", METHODS)
def test_save_and_reload_equal(name, tmp_path):
    encoder, method = fresh(name)
    step(encoder, method)
    method.save(tmp_path / "own.npz")
    again, loaded = fresh(name)
    loaded.load(tmp_path / "own.npz")
    np.testing.assert_array_equal(vectors(again), vectors(encoder))
    kept = sum(array.size for array in files.read_npz(tmp_path / "own.npz").values())
    assert kept == round(method.share * encoder.num_transformer_weights)


@pytest.mark.parametrize("name", METHODS)
def test_merged_equals_unmerged(name):
    encoder, method = fresh(name, layers=2)
    for number in range(3):
        step(encoder, method, number)
    unmerged, variables = vectors(encoder), len(named_variables(encoder))
    method.merge()
    np.testing.assert_allclose(vectors(encoder), unmerged, atol=1e-5)
    if name in ("lora", "mixer"):
        assert len(named_variables(encoder)) == len(named_variables(tiny(Tiny(layers=2)))) < variables
    method.merge()  # a second time changes nothing
    np.testing.assert_allclose(vectors(encoder), unmerged, atol=1e-5)


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_stays_close(name):
    encoder, method = fresh(name)
    step(encoder, method)
    ids, mask = encoder.tokenize(tf.constant(TEXTS))
    exact, fast = encoder.encode(ids, mask), encoder.encode(ids, mask, tf.bfloat16)
    assert tf.reduce_sum(exact * fast, -1).numpy().min() > 0.99


@pytest.mark.parametrize("name", TRAINED)
def test_gradients_in_bfloat16_point_the_same_way(name):
    encoder, method = fresh(name)
    encoder.bert.dropout = 0.0  # each precision draws the same masks, but rounds what they leave
    step(encoder, method)
    exact, fast = (gradients(encoder, method, 0, dtype) for dtype in (tf.float32, tf.bfloat16))
    exact, fast = (np.concatenate([np.ravel(part) for part in parts]) for parts in (exact, fast))
    assert fast.dtype == np.float32
    assert exact @ fast / np.linalg.norm(exact) / np.linalg.norm(fast) > 0.97


def test_a_step_in_a_graph_equals_an_eager_one():
    """Noise depends on seed and step alone."""
    losses = []
    for wrap in (lambda train_step: train_step, tf.function):
        _, method = fresh("mixer")
        model, batch, weights = classifier(method)
        model.optimizer.build(weights)
        run = wrap(model.train_step)
        losses.append([float(run(batch)["loss"]) for _ in range(3)])
    np.testing.assert_allclose(losses[0], losses[1], atol=1e-4)
    assert losses[0][0] != losses[0][2]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRAINED)
def test_a_step_under_xla_is_close_to_an_eager_one(name):
    """Not equal: XLA numbers the draws of dropout in another order, and so those of the mixer's modules."""
    losses = []
    for wrap in (lambda train_step: train_step, lambda train_step: tf.function(train_step, jit_compile=True)):
        _, method = fresh(name)
        for variable in method.variables:  # so that no weight stands where it has no effect
            variable.assign_add(0.05 * tf.random.stateless_normal(variable.shape, [1, 2]))
        model, batch, weights = classifier(method)
        method.encoder.bert.dropout = 0.0
        model.optimizer.build(weights)
        run = wrap(model.train_step)
        losses.append([float(run(batch)["loss"]) for _ in range(3)])
    np.testing.assert_allclose(losses[0], losses[1], atol=0.01 if name in ("lora", "mixer") else 2e-4)
    assert losses[1][2] < losses[1][0]


@pytest.mark.parametrize("name", METHODS)
def test_weights_of_another_method_are_refused(name, tmp_path):
    other = "lora" if name != "lora" else "adapter"
    fresh(other)[1].save(tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"other\.npz: expected"):
        fresh(name)[1].load(tmp_path / "other.npz")


@pytest.mark.parametrize("name", TRAINED)
def test_weights_of_a_deeper_encoder_are_refused_and_nothing_is_changed(name, tmp_path, base):
    deep, method = fresh(name, layers=2)
    step(deep, method)
    method.save(tmp_path / "deep.npz")
    encoder, shallow = fresh(name)
    with pytest.raises(ValueError, match=r"deep\.npz: expected .*left over .*block_1"):
        shallow.load(tmp_path / "deep.npz")
    np.testing.assert_allclose(vectors(encoder), base, atol=1e-6)


def test_full_may_train_the_last_blocks_only():
    encoder = tiny(Tiny(layers=2))
    settings, builder = FINETUNING["full"]
    assert builder(settings(layers=1), encoder, 0).share == pytest.approx(0.5)
    assert builder(settings(), encoder, 0).share == 1


@pytest.mark.parametrize("name", ["lora", "mixer"])
def test_unknown_target_is_named(name):
    settings, builder = FINETUNING[name]
    with pytest.raises(ValueError, match="expected some of qkv, mix, grow, shrink, got query"):
        builder(settings(targets=("query",)), tiny(Tiny()), 0)


@pytest.mark.parametrize(("name", "most"), [("lora", 0.02), ("adapter", 0.02), ("prefix", 0.02), ("mixer", 0.03)])
def test_the_share_at_384_wide_is_small(name, most):
    """Of MiniLM (6 layers) and e5 (12): both have blocks of these sizes, and the share does not depend on how many."""
    wide, inner = 384, 1536
    block = 3 * (wide * wide + wide) + (wide * wide + wide) + 2 * wide * inner + inner + wide + 4 * wide
    encoder = tiny(Tiny(dim=wide))
    grown = 2 * wide * (inner - 2 * wide) + inner - 2 * wide  # the tiny encoder's inner layer is twice its width
    assert encoder.num_transformer_weights == block - grown
    settings, builder = FINETUNING[name]
    method = builder(settings(), encoder, 0)
    trained = sum(v.shape.num_elements() for v in method.variables)
    ranks = getattr(settings(), "rank", 0) * getattr(settings(), "modules", 1)
    assert (trained + ranks * 2 * (inner - 2 * wide)) / block <= most


def test_the_mixer_draws_one_module_in_a_step_and_serves_their_mean():
    encoder, method = fresh("mixer")
    seen = [gradients(encoder, method, number) for number in range(6)]
    ups = [(i, variable) for i, variable in enumerate(method.variables) if "up" in variable.name]
    for place, _ in ups:
        busy = np.array([[bool(np.any(module)) for module in found[place]] for found in seen])  # [steps, modules]
        np.testing.assert_array_equal(busy.sum(1), 1)
    chosen = {int(np.abs(seen[0][place]).sum((1, 2)).argmax()) for place, _ in ups}
    assert len(chosen) > 1  # each layer draws for itself
    for variable in method.variables:
        variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, [1, 2]))
    update = method.own.updates["block_0/mix"]
    x = tf.random.stateless_normal([5, update.down.shape[1]], [3, 4])
    scale = 8.0 / 2
    each = [x @ update.down[i] @ update.up[i] * scale for i in range(update.down.shape[0])]
    np.testing.assert_allclose(update(x), np.mean(each, 0), atol=1e-5)
