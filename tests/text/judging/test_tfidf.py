import numpy as np
import pytest

from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.judging import tfidf
from tfrec_llm.text.judging.tfidf import grams, tfidf_figures


def task(texts, targets, split, corpus="shop", labels=("buy", "ask"), label="intent"):
    rows = len(texts)
    return Task(label, label, labels, np.array(texts), np.array(targets), np.array(split), np.full(rows, corpus))


def words(rows, seed=0):
    """Sentences of which one word decides the label, in three splits."""
    draw = np.random.default_rng(seed)
    targets = np.arange(rows, dtype=np.int32) % 2
    texts = [f"{'want' if t == 0 else 'why'} {draw.choice(['this', 'that', 'it'])} number{i}" for i, t in
             enumerate(targets)]  # fmt: skip
    return texts, targets, np.array(["train", "train", "train", "train", "validation", "test"] * rows)[:rows]


def test_chinese_is_counted_by_characters_and_english_by_words():
    assert grams("Big TV") == ["big", "tv", "big tv"]
    assert sorted(grams("大屏")) == sorted(["大", "屏", "大屏"])
    assert "want tv" not in grams("大 want tv")


def test_a_word_that_decides_the_label_is_found():
    figures = tfidf_figures([task(*words(60))], {"shop": "intent"}, seed=1)
    assert set(figures) == {"text.shop.tfidf_accuracy", "text.shop.tfidf_macro_f1"}
    assert figures["text.shop.tfidf_accuracy"]["value"] == 1.0
    assert figures["text.shop.tfidf_accuracy"]["n"] == 10


def test_on_noise_it_is_no_better_than_guessing():
    texts, targets, split = words(600)
    shuffled = np.random.default_rng(1).permutation(targets)
    figure = tfidf_figures([task(texts, shuffled, split)], {"shop": "intent"}, seed=1)["text.shop.tfidf_accuracy"]
    assert figure["value"] == pytest.approx(0.5, abs=0.15)


def test_it_learns_from_validation_rows_where_the_head_does():
    """Only validation rows have the words that the test rows are made of."""
    texts = ["aa", "bb"] * 10 + ["want cc", "why dd"] * 10 + ["cc", "dd"] * 10
    targets, split = np.tile([0, 1], 30).astype(np.int32), np.repeat(["train", "validation", "test"], 20)
    one, other = (
        tfidf_figures([task(texts, targets, split)], {"shop": "intent"}, 1, names)["text.shop.tfidf_accuracy"]["value"]
        for names in ((), ("intent",))
    )
    assert one == 0.5
    assert other == 1.0


def test_several_labels_at_once():
    texts = ["大屏 便宜", "大屏", "便宜", "你好"] * 9
    targets = np.array([[1, 1], [1, 0], [0, 1], [0, 0]] * 9, bool)
    split = np.repeat(["train", "validation", "test"], 12)
    figures = tfidf_figures([task(texts, targets, split)], {"shop": "intent"}, seed=1)
    assert figures["text.shop.tfidf_micro_f1"]["value"] == 1.0
    assert figures["text.shop.tfidf_accuracy"]["value"] == 1.0


def test_each_corpus_of_a_head_learns_from_its_own_rows():
    texts, targets, split = words(60)
    ours, theirs = task(texts, targets, split), task(texts, 1 - targets, split, "cafe")
    columns = (np.concatenate([getattr(ours, c), getattr(theirs, c)]) for c in ("texts", "targets", "split", "corpus"))
    both = Task("intent", "intent", ours.labels, *columns)
    figures = tfidf_figures([both], {"shop": "intent", "cafe": "intent"}, seed=1)
    assert figures["text.shop.tfidf_accuracy"]["value"] == figures["text.cafe.tfidf_accuracy"]["value"] == 1.0


def test_without_validation_rows_or_with_a_label_that_training_lacks_there_are_figures():
    texts, targets, _ = words(20)
    split = np.array(["train"] * 16 + ["test"] * 4)
    labels = ("buy", "ask", "complain")
    targets[-1] = 2
    figures = tfidf_figures([task(texts, targets, split, labels=labels)], {"shop": "intent"}, seed=1)
    assert figures["text.shop.tfidf_accuracy"]["value"] == 1
    assert figures["text.shop.tfidf_accuracy"]["n"] == 3  # nobody could learn the fourth


@pytest.mark.parametrize("texts", [["want", "want more", "want it"], ["!", "?", "..."]])
def test_nothing_to_learn_gives_no_figures(texts):
    same = [0, 0, 1] if texts[0] == "want" else [0, 1, 1]
    made = task(texts, np.array(same, np.int32), ["train", "train", "test"])
    assert tfidf_figures([made], {"shop": "intent"}, seed=1) == {}


def test_the_same_rows_in_another_space_of_labels_are_learnt_once(monkeypatch):
    texts, targets, split = words(60)
    own = task(texts, targets, split)
    order = np.random.default_rng(3).permutation(60)
    served = task(np.array(texts)[order], 2 - targets[order], split[order], "shop_served", ("x", "ask", "buy"))
    fits, learn = [], tfidf._learnt
    monkeypatch.setattr(tfidf, "_learnt", lambda *arguments: fits.append(1) or learn(*arguments))
    alone = tfidf_figures([own], {"shop": "intent"}, seed=1)
    count = len(fits)
    figures = tfidf_figures([own, served], {"shop": "intent", "shop_served": "intent"}, seed=1)
    assert len(fits) == 2 * count
    assert figures["text.shop_served.tfidf_accuracy"]["value"] == alone["text.shop.tfidf_accuracy"]["value"] == 1
