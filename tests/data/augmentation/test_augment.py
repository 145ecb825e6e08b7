"""The pass of a training: which texts change, in which of the ways."""

import json

import numpy as np
import pytest
import tensorflow as tf
from transformers import MarianConfig, TFMarianMTModel
from transformers.utils import sentencepiece_model_pb2_new as sentencepiece

from tfrec_llm.config import Augment
from tfrec_llm.data.augmentation import AUGMENTATIONS, augment
from tfrec_llm.data.augmentation.back_translation import Translator, back_translation

TEXTS, LANGUAGES = ["play some quiet music now", "大屏手机便宜一点"] * 50, ["en", "zh"] * 50


def draw(seed=1):
    return np.random.default_rng(seed)


def test_every_way_has_its_setting():
    assert all(hasattr(Augment(), name) for name in AUGMENTATIONS)


def test_off_by_default():
    assert augment(TEXTS, LANGUAGES, Augment(), draw()) == TEXTS


def test_the_share_of_texts_changes_and_equal_generators_agree():
    settings = Augment(swap=0.3, delete=0.3, share=0.5)
    changed = augment(TEXTS, LANGUAGES, settings, draw())
    assert changed == augment(TEXTS, LANGUAGES, settings, draw())
    assert 30 <= sum(a != b for a, b in zip(changed, TEXTS, strict=True)) <= 65
    lengths = {len(a) < len(b) for a, b in zip(changed, TEXTS, strict=True) if a != b}
    assert lengths == {True, False}  # both ways were drawn


def write_model(folder, pieces=("▁play", "▁music", "▁some", "a", "b", "▁")):
    """A Marian model of random weights in the form of `transformers`."""
    folder.mkdir()
    model = sentencepiece.ModelProto()
    kinds = model.SentencePiece
    for piece, kind in [("<unk>", kinds.UNKNOWN), ("<s>", kinds.CONTROL), ("</s>", kinds.CONTROL)]:
        model.pieces.add(piece=piece, score=0.0, type=kind)
    for place, piece in enumerate(pieces):
        model.pieces.add(piece=piece, score=-1.0 - place, type=kinds.NORMAL)
    model.trainer_spec.model_type = model.trainer_spec.UNIGRAM
    model.normalizer_spec.name = "identity"
    for name in ("source.spm", "target.spm"):
        (folder / name).write_bytes(model.SerializeToString())
    ids = {piece: number for number, piece in enumerate(("</s>", "<unk>", *pieces, "<pad>"))}
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    sizes = {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
    sizes |= {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "d_model": 16, "max_position_embeddings": 24}
    special = dict.fromkeys(("pad_token_id", "decoder_start_token_id"), len(ids) - 1) | {"eos_token_id": 0}
    config = MarianConfig(vocab_size=len(ids), forced_eos_token_id=0, **sizes, **special)
    tf.keras.utils.set_random_seed(1)  # what it says must not hang on the tests before
    made = TFMarianMTModel(config)
    made.build()
    made.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marian")
    return write_model(folder / "there"), write_model(folder / "back")


def test_back_translation_through_two_models_in_folders(models):
    settings = Augment(back_translation={"en": models}, share=1.0)
    texts, languages = ["play some music", "大屏手机", ""], ["en", "zh", "en"]
    once = augment(texts, languages, settings, draw())
    assert once == augment(texts, languages, settings, draw())
    assert once[1:] == texts[1:]  # no models for Chinese, and nothing to say
    assert once[0] != texts[0]
    assert set(once[0].replace(" ", "")) <= set("playmusicsomeab")  # pieces of the model's own


def test_ids_are_those_of_the_models_vocabulary(models):
    translator = Translator(models[0])
    assert translator._encode(["play music"]) == [[2, 3, 0]]
    assert translator._decode(np.array([8, 2, 3, 0])) == "play music"


def test_what_is_missing_is_named(tmp_path, models):
    with pytest.raises(ValueError, match=r"config.json, vocab.json"):
        back_translation(["play"], ["en"], draw(), {"en": (str(tmp_path), models[1])})
    with pytest.raises(ValueError, match="two folders, there and back"):
        back_translation(["play"], ["en"], draw(), {"en": (models[0],)})
