"""The contract of every fine-tuning method, over the dict."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.layers.noise import Noise
from tfrec_llm.text.encoder import TextEncoder
from tfrec_llm.text.encoders import Tiny, tiny
from tfrec_llm.text.finetuning import FINETUNING, Finetuning
from tfrec_llm.training import files
from tfrec_llm.training.weights import named_variables

METHODS = sorted(FINETUNING)
TEXTS = ["play some jazz", "便宜的手机", "a"]


def fresh(name: str) -> tuple[TextEncoder, Finetuning]:
    encoder = tiny(Tiny(layers=2))
    settings, builder = FINETUNING[name]
    return encoder, builder(settings(), encoder, 3)


def vectors(encoder: TextEncoder) -> np.ndarray:
    return encoder.encode(*encoder.tokenize(tf.constant(TEXTS))).numpy()


def step(encoder: TextEncoder, method: Finetuning, number: int = 0) -> list[tf.Tensor | None]:
    ids, mask = encoder.tokenize(tf.constant(TEXTS))

    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(encoder.encode(ids, mask, noise=Noise(1, tf.constant(number)))[:, 0])
    found = tape.gradient(loss, method.variables)
    for variable, gradient in zip(method.variables, found, strict=True):
        if gradient is not None:
            variable.assign_sub(0.5 * gradient)
    return found


@pytest.fixture(scope="module")
def base() -> np.ndarray:
    return vectors(tiny(Tiny(layers=2)))


@pytest.mark.parametrize("name", METHODS)
def test_starts_equal_to_the_base_model(name, base):
    encoder, _ = fresh(name)
    np.testing.assert_allclose(vectors(encoder), base, atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_only_its_own_weights_move(name, base):
    encoder, method = fresh(name)
    before = {key: variable.numpy() for key, variable in named_variables(encoder).items()}
    own = {variable.ref() for variable in method.variables}
    for number in range(3):
        step(encoder, method, number)
    moved = {
        key for key, variable in named_variables(encoder).items() if not np.array_equal(variable.numpy(), before[key])
    }
    assert {key for key in moved if named_variables(encoder)[key].ref() not in own} == set()
    if name == "frozen":
        assert not moved
        np.testing.assert_array_equal(vectors(encoder), base)
    else:
        assert moved
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
    encoder, method = fresh(name)
    for number in range(3):
        step(encoder, method, number)
    unmerged, variables = vectors(encoder), len(named_variables(encoder))
    method.merge()
    np.testing.assert_allclose(vectors(encoder), unmerged, atol=1e-5)
    if name in ("lora", "mixer"):
        assert len(named_variables(encoder)) < variables
        assert all(not getattr(block, part).deltas for block in encoder.bert.blocks for part in ("qkv", "mix", "grow"))
    method.merge()  # a second time changes nothing
    np.testing.assert_allclose(vectors(encoder), unmerged, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "frozen"])
def test_every_weight_gets_a_gradient_once_it_can(name):
    encoder, method = fresh(name)
    seen = np.zeros(len(method.variables), bool)
    for number in range(12):
        seen |= [g is not None and bool(tf.reduce_any(g != 0)) for g in step(encoder, method, number)]
    assert seen.all()


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_stays_close(name):
    encoder, method = fresh(name)
    step(encoder, method)
    ids, mask = encoder.tokenize(tf.constant(TEXTS))
    exact, fast = encoder.encode(ids, mask), encoder.encode(ids, mask, tf.bfloat16)
    assert tf.reduce_sum(exact * fast, -1).numpy().min() > 0.99


@pytest.mark.parametrize("name", METHODS)
def test_weights_of_another_method_are_refused(name, tmp_path):
    other = "lora" if name != "lora" else "adapter"
    fresh(other)[1].save(tmp_path / "other.npz")
    with pytest.raises(ValueError, match=r"other\.npz: expected"):
        fresh(name)[1].load(tmp_path / "other.npz")


def test_full_may_train_the_last_blocks_only():
    encoder = tiny(Tiny(layers=2))
    settings, builder = FINETUNING["full"]
    assert builder(settings(layers=1), encoder, 0).share == pytest.approx(0.5)
    assert builder(settings(), encoder, 0).share == 1


def test_unknown_target_is_named():
    settings, builder = FINETUNING["lora"]
    with pytest.raises(ValueError, match="expected some of qkv, mix, grow, shrink, got query"):
        builder(settings(targets=("query",)), tiny(Tiny()), 0)


def test_a_step_in_a_graph_equals_an_eager_one():
    """Noise depends on seed and step alone."""
    encoder, method = fresh("mixer")
    ids, mask = encoder.tokenize(tf.constant(TEXTS))
    for variable in method.variables:
        variable.assign_add(0.1 * tf.random.stateless_normal(variable.shape, [1, 2]))

    def answer(number: tf.Tensor) -> tf.Tensor:
        return encoder.encode(ids, mask, noise=Noise(1, number))

    eager, graph = answer(tf.constant(4)), tf.function(answer)(tf.constant(4))
    np.testing.assert_allclose(eager, graph, atol=1e-5)
    assert np.abs(eager - answer(tf.constant(5))).max() > 1e-3
