"""The encoder trained by contrast, on a tiny one."""

import numpy as np
import pytest
import tensorflow as tf

from tfrec_llm.config import Config, ConfigError, Little, Text
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.encoders.registry import Tiny, tiny
from tfrec_llm.text.finetuning import FINETUNING
from tfrec_llm.text.little import contrast
from tfrec_llm.training import Stage

WORDS = {"play": ("aa", "bb", "cc"), "book": ("xx", "yy", "zz")}


def task():
    rows = [(f"{word} {n}", label) for label, words in enumerate(WORDS.values()) for word in words for n in range(4)]
    texts, targets = zip(*rows, strict=True)
    split = np.full(len(rows), "train")
    return Task("intent", "intent", tuple(WORDS), np.array(texts), np.array(targets, np.int32), split, split)


def made(method="full", **settings):
    encoder = tiny(Tiny())
    settings_class, builder = FINETUNING[method]
    rate = {} if method == "frozen" else {"learning_rate": 3e-3}
    little = Little(**{"few_shot_steps": 24, "adapt_steps": 24, "batch_size": 8} | settings)
    return encoder, builder(settings_class(**rate), encoder, 1), Config(seed=1, text=Text(little=little))


def stage(folder):
    return Stage("text", folder, folder / "work", folder / "logs")


def vectors(encoder, texts):
    return encoder.encode(*encoder.tokenize(tf.constant(list(texts)))).numpy()


def gap(encoder):
    """Mean cosine of texts of one label minus that of texts of two."""
    rows = vectors(encoder, task().texts)
    cosine, same = rows @ rows.T, task().targets[:, None] == task().targets
    return cosine[same & ~np.eye(len(rows), dtype=bool)].mean() - cosine[~same].mean()


@pytest.mark.parametrize("loss", ["cosine", "supcon"])
def test_few_shot_draws_labels_apart_and_moves_the_fingerprint(loss, tmp_path):
    encoder, finetuning, config = made(few_shot=loss)
    before, name = gap(encoder), encoder.fingerprint
    contrast.few_shot(encoder, finetuning, [task()], config, stage(tmp_path))
    assert gap(encoder) > before + 0.2
    assert encoder.fingerprint != name


def test_adapt_spreads_texts_and_trains_only_the_methods_weights(tmp_path):
    encoder, finetuning, config = made("lora", adapt="simcse")
    texts = task().texts
    before, table = vectors(encoder, texts), [v.numpy() for v in encoder.bert.norm.variables]
    kernel = encoder.bert.blocks[0].qkv.kernel.numpy()
    contrast.adapt(encoder, finetuning, texts, config, stage(tmp_path))
    after = vectors(encoder, texts)
    rows = ~np.eye(len(texts), dtype=bool)
    assert (after @ after.T)[rows].mean() < (before @ before.T)[rows].mean() - 0.05
    np.testing.assert_array_equal(encoder.bert.blocks[0].qkv.kernel.numpy(), kernel)
    for one, other in zip(table, encoder.bert.norm.variables, strict=True):
        np.testing.assert_array_equal(one, other.numpy())


def test_a_finished_part_is_not_repeated(tmp_path):
    results, before = [], 0
    for seconds in range(2):  # the second call finds the first one's checkpoints
        encoder, finetuning, config = made(few_shot="supcon", few_shot_steps=4)
        contrast.few_shot(encoder, finetuning, [task()], config, stage(tmp_path))
        results.append(vectors(encoder, ["aa 1"]))
        before = (tmp_path / "work" / "few_shot").stat().st_mtime_ns if not seconds else before
    assert (tmp_path / "work" / "few_shot").stat().st_mtime_ns == before
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)


def test_a_frozen_encoder_is_refused_with_the_remedy(tmp_path):
    encoder, finetuning, config = made("frozen", few_shot="cosine")
    with pytest.raises(ConfigError, match=r"few_shot.*set text.finetuning"):
        contrast.few_shot(encoder, finetuning, [task()], config, stage(tmp_path))


def test_rows_of_a_batch_are_balanced_and_different():
    targets = np.zeros((100, 3), bool)
    targets[:90, 0] = targets[90:98, 1] = targets[98:, 2] = True
    rows = contrast.balanced_rows(targets, 12, np.random.default_rng(1))
    assert len(set(rows)) == len(rows)
    assert targets[rows].sum(0).tolist() == [4, 4, 2]
    many = np.eye(50, dtype=bool).repeat(3, 0)
    assert contrast.balanced_rows(many, 12, np.random.default_rng(1)).size == 12  # two of each of six labels
