"""Our transformer against `TFBertModel` of transformers, weights carried over by name."""

import numpy as np
import pytest
import tensorflow as tf
from transformers import BertConfig, TFBertModel
from transformers.modeling_tf_pytorch_utils import convert_tf_weight_name_to_pt_weight_name

from tfrec_llm.text.encoders.bert import Bert, BertShape
from tfrec_llm.text.encoders.quantised import dequantise, quantise
from tfrec_llm.text.encoders.registry import random_weights

SIZES = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}


def checkpoint(model: tf.keras.Model) -> dict[str, np.ndarray]:
    """The weights as `transformers` names and lays them out for PyTorch."""
    weights = {}
    for variable in model.weights:
        name, transpose = convert_tf_weight_name_to_pt_weight_name(variable.name, tf_weight_shape=variable.shape)
        value = variable.numpy()
        weights[name.removeprefix("bert.")] = value.T if transpose.value == "simple" else value
    return weights


@pytest.fixture(scope="module")
def reference() -> TFBertModel:
    tf.keras.utils.set_random_seed(0)
    config = BertConfig(vocab_size=50, max_position_embeddings=40, initializer_range=0.2, **SIZES)
    model = TFBertModel(config, add_pooling_layer=False)
    model(tf.zeros([1, 2], tf.int32))
    draw = np.random.default_rng(0)
    for variable in model.weights:  # biases and norms too: zeros and ones would hide a mix-up
        variable.assign_add(draw.normal(0, 0.1, variable.shape))
    words = model.bert.embeddings.weight
    words.assign(dequantise(quantise(words.numpy())))
    return model


def test_equals_the_reference_to_1e_4(reference):
    draw = np.random.default_rng(1)
    ids, lengths = draw.integers(0, 50, (5, 17)).astype(np.int32), np.array([17, 1, 9, 16, 3])
    mask = np.arange(17) < lengths[:, None]
    expected = reference(ids, attention_mask=mask.astype(np.int32)).last_hidden_state.numpy()
    ours = Bert(BertShape(**SIZES), checkpoint(reference))(tf.constant(ids), tf.constant(mask)).numpy()
    assert np.abs(expected - ours)[mask].max() < 1e-4
    assert np.abs(expected).max() > 1


def test_bfloat16_stays_close(reference):
    bert = Bert(BertShape(**SIZES), checkpoint(reference))
    ids, mask = tf.constant([[4, 7, 9, 1]]), tf.ones([1, 4], tf.bool)
    exact, fast = bert(ids, mask), bert(ids, mask, tf.bfloat16)
    assert fast.dtype == tf.bfloat16
    cosine = tf.keras.losses.cosine_similarity(exact, tf.cast(fast, tf.float32))
    assert cosine.numpy().max() < -0.995


def test_missing_tensor_is_named():
    shape = BertShape(32, 1, 2, 64)
    weights = random_weights(shape, 10, 10, 0)
    del weights["encoder.layer.0.attention.self.key.bias"]
    with pytest.raises(ValueError, match=r"encoder\.layer\.0\.attention\.self\.key\.bias"):
        Bert(shape, weights)
