"""Small checkpoints on disk, made by `transformers` itself, for the tests of what reads them."""

import json
from pathlib import Path

import numpy as np
import safetensors.numpy
import tensorflow as tf
from transformers import BertConfig, GPT2Config, TFBertModel, TFGPT2Model, TFXLMRobertaModel, XLMRobertaConfig
from transformers.modeling_tf_pytorch_utils import convert_tf_weight_name_to_pt_weight_name
from transformers.models.gpt2.tokenization_gpt2 import bytes_to_unicode

from tfrec_llm.text.encoders.quantised import dequantise, quantise

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "phone", "手", "机", "便", "宜", "!", ",", "."]
WORDS += [*LETTERS, *(f"##{letter}" for letter in LETTERS)]
SIZES = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
GPT2_SIZES = {"n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 48}


def shaken(model: tf.keras.Model) -> tf.keras.Model:
    """The model with weights that are all different, its word vectors such as eight bits can say."""
    model(tf.constant([[5, 6]]))
    draw = np.random.default_rng(0)
    for variable in model.weights:  # biases and norms too: zeros and ones would hide a mix-up
        variable.assign_add(draw.normal(0, 0.1, variable.shape))
        if variable.name.rsplit("/", 2)[-2] in ("word_embeddings", "wte"):
            variable.assign(dequantise(quantise(variable.numpy())))
    return model


def bert_model(**settings) -> TFBertModel:
    """A BERT with random weights."""
    tf.keras.utils.set_random_seed(0)
    config = BertConfig(vocab_size=len(WORDS), max_position_embeddings=40, initializer_range=0.2, **SIZES | settings)
    return shaken(TFBertModel(config))


def xlm_roberta_model(words: int) -> TFXLMRobertaModel:
    """An XLM-R with random weights."""
    tf.keras.utils.set_random_seed(0)
    config = XLMRobertaConfig(
        vocab_size=words, max_position_embeddings=42, type_vocab_size=1, initializer_range=0.2, **SIZES
    )
    return shaken(TFXLMRobertaModel(config))


def gpt2_model() -> TFGPT2Model:
    """A GPT-2 with random weights."""
    tf.keras.utils.set_random_seed(0)
    return shaken(TFGPT2Model(GPT2Config(vocab_size=300, initializer_range=0.2, **GPT2_SIZES)))


def write_words(folder: Path, lower_case: bool = True) -> None:
    """A WordPiece vocabulary."""
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower_case}), encoding="utf-8")


def write_byte_level(folder: Path, special: tuple[str, ...] = ("<|endoftext|>",)) -> None:
    """A byte-level BPE vocabulary of special tokens, all bytes and a few merges."""
    merges = [("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "w"), ("o", "r"), ("Ġw", "or")]
    words = [*special, *bytes_to_unicode().values(), *(a + b for a, b in merges)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}), encoding="utf-8")
    lines = ["#version: 0.2", *(f"{a} {b}" for a, b in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def as_pytorch(model: tf.keras.Model) -> dict[str, np.ndarray]:
    """The weights as `transformers` names and lays them out for PyTorch."""
    weights = {}
    for variable in model.weights:
        name, turned = convert_tf_weight_name_to_pt_weight_name(variable.name, tf_weight_shape=variable.shape)
        value = variable.numpy()
        weights[name] = np.ascontiguousarray(value.T if turned.value == "simple" else np.squeeze(value))
    return weights


def write_safetensors(model: tf.keras.Model, folder: Path, shards: int = 1, prefix: str = "") -> None:
    """The weights as safetensors, in one file or in shards with their index."""
    weights = {prefix + name: value for name, value in as_pytorch(model).items()}
    if shards == 1:
        safetensors.numpy.save_file(weights, folder / "model.safetensors")
        return
    place = {name: f"model-{i % shards + 1:05}-of-{shards:05}.safetensors" for i, name in enumerate(sorted(weights))}
    for file in set(place.values()):
        safetensors.numpy.save_file({n: weights[n] for n in weights if place[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": place}), encoding="utf-8")
