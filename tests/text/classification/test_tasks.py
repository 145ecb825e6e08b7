import numpy as np
import pytest

from tfrec_llm import data
from tfrec_llm.config import Text
from tfrec_llm.text.classification.tasks import main_labels, make_tasks
from tfrec_llm.types import Utterances


@pytest.fixture(scope="module")
def domain():
    return data.load_domain("video")


def corpus(name, size=20, split="train", **fields):
    texts = np.array([f"{name} {i}" for i in range(size)])
    splits = np.full(size, split) if isinstance(split, str) else np.array(split)
    return Utterances(name, texts, splits, np.full(size, "en"), **fields)


def limits(rows, test_rows):
    return Text(max_rows=rows, max_test_rows=test_rows, rows={"small": 10})


def by_name(tasks):
    return {task.name: task for task in tasks}


def test_a_corpus_with_its_own_intents_gets_its_own_head(domain):
    own = corpus("trips", labels={"intent": ("fly", "stay")}, intent=np.arange(20, dtype=np.int32) % 2)
    (task,) = make_tasks([own], domain, limits(100, 100), 1)
    assert (task.name, task.label, task.labels) == ("intent_trips", "intent", ("fly", "stay"))
    assert sorted(np.unique(task.split)) == ["test", "train", "validation"]  # held out where the corpus has none


def test_the_domains_labels_keep_the_domains_order(domain):
    reversed_names = tuple(reversed(domain.intents))
    targets = np.arange(len(reversed_names), dtype=np.int32)
    own = corpus("domain", len(targets), labels={"intent": reversed_names}, intent=targets)
    task = by_name(make_tasks([own], domain, limits(100, 100), 1))["intent"]
    assert task.labels == domain.intents
    for text, target in zip(task.texts, task.targets, strict=True):
        assert domain.intents[target] == reversed_names[int(text.split()[1])]


def test_what_another_corpus_says_trains_the_served_intents_by_the_domains_map(domain):
    names = ("AddToPlaylist", "PlayMusic", "RateBook")
    own = corpus("domain", 8, labels={"intent": domain.intents}, intent=np.arange(8, dtype=np.int32))
    snips = corpus("snips", 9, labels={"intent": names}, intent=np.arange(9, dtype=np.int32) % 3)
    tasks = by_name(make_tasks([own, snips], domain, limits(100, 100), 1))
    assert tasks["intent_snips"].labels == names
    assert len(tasks["intent_snips"].texts) == 9
    served = tasks["intent"]
    assert served.labels == domain.intents
    rows = served.corpus == "snips_served"
    found = dict(zip(served.texts[rows].tolist(), (domain.intents[t] for t in served.targets[rows]), strict=True))
    assert found == {f"snips {i}": ("play", "rate")[i % 3 - 1] for i in range(9) if i % 3}


def test_a_multi_label_row_is_translated_where_it_has_one_label(domain):
    targets = np.array([[True, False], [True, True], [False, True], [False, False]])
    acts = corpus("multiwoz", 4, labels={"intent": ("general-thank", "Hotel-Inform")}, intent=targets)
    served = by_name(make_tasks([acts], domain, limits(100, 100), 1))["intent"]
    assert (served.texts.tolist(), served.targets.tolist()) == (["multiwoz 0"], [domain.intents.index("thanks")])


def test_a_users_labels_are_served_beside_the_domains(domain):
    files = corpus("files", 40, labels={"intent": ("gift", "play")}, intent=np.arange(40, dtype=np.int32) % 2)
    tasks = by_name(make_tasks([files], domain, limits(100, 100), 1))
    assert tasks["intent_files"].labels == ("gift", "play")
    assert tasks["intent"].labels == (*domain.intents, "gift")
    numbers = {domain.intents.index("play"), len(domain.intents)}
    assert set(tasks["intent"].targets.tolist()) == numbers


def test_other_corpora_do_not_drown_the_domains_sentences(domain):
    splits = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    snips = corpus("snips", 100, splits, labels={"intent": ("PlayMusic", "RateBook")}, intent=np.arange(100) % 2)
    settings = Text(max_rows=100, max_test_rows=100, domain_rows=10)
    task = by_name(make_tasks([snips], domain, settings, 1))["intent"]
    assert [int((task.split == name).sum()) for name in ("train", "validation", "test")] == [10, 20, 20]


def test_sentiments_are_merged_and_the_domains_come_from_emotions(domain):
    names = ("neutral", "joy", "anger", "surprise")
    emotions = np.array([0, 1, 2, 3, -1], np.int32)
    own = corpus("domain", 5, labels={"emotion": names}, emotion=emotions)
    reviews = corpus("reviews", 4, labels={"sentiment": ("negative", "positive")}, sentiment=np.array([0, 1, 1, -1]))
    task = by_name(make_tasks([own, reviews], domain, limits(100, 100), 1))["sentiment"]
    assert task.labels == ("negative", "neutral", "positive")
    found = dict(zip(task.texts.tolist(), task.targets.tolist(), strict=True))
    assert found == {"domain 0": 1, "domain 1": 2, "domain 2": 0, "reviews 0": 0, "reviews 1": 2, "reviews 2": 2}


def test_sentiments_of_another_kind_get_a_head_of_their_own_and_a_warning(domain, caplog):
    stars = corpus("files", labels={"sentiment": ("bad", "good")}, sentiment=np.arange(20, dtype=np.int32) % 2)
    assert [task.name for task in make_tasks([stars], domain, limits(100, 100), 1)] == ["sentiment_files"]
    (message,) = [record.message for record in caplog.records if "not served" in record.message]
    assert "'bad', 'good'" in message
    assert "rename them to negative, neutral, positive" in message


def test_a_users_sentiments_are_served_where_they_are_spelt_as_usual(domain, caplog):
    names = ("Positive", "meh", "差评")
    stars = corpus("files", 30, labels={"sentiment": names}, sentiment=np.arange(30, dtype=np.int32) % 3)
    tasks = by_name(make_tasks([stars], domain, limits(100, 100), 1))
    assert tasks["sentiment_files"].labels == names
    served = tasks["sentiment"]
    assert served.labels == ("negative", "neutral", "positive")
    assert set(served.corpus) == {"files_served"}
    found = {(int(t.split()[1]) % 3, int(y)) for t, y in zip(served.texts, served.targets, strict=True)}
    assert found == {(0, 2), (2, 0)}  # the first is positive, the third negative, the second is not served
    assert "'meh' of your file" in caplog.text


def test_a_users_emotions_are_served_behind_the_domains(domain):
    names = ("joy", "pride")
    own = corpus("domain", 2, labels={"emotion": ("neutral", "joy")}, emotion=np.array([0, 1], np.int32))
    files = corpus("files", 40, labels={"emotion": names}, emotion=np.arange(40, dtype=np.int32) % 2)
    tasks = by_name(make_tasks([own, files], domain, limits(100, 100), 1))
    assert tasks["emotion_files"].labels == names
    served = tasks["emotion"]
    assert served.labels == (*domain.emotions, "pride")
    rows = served.corpus == "files_served"
    assert set(served.targets[rows].tolist()) == {domain.emotions.index("joy"), len(domain.emotions)}
    assert rows.sum() == 40


@pytest.mark.parametrize("several", [False, True])
def test_case_does_not_keep_a_users_label_from_the_domains(domain, several):
    targets = np.arange(40, dtype=np.int32) % 2
    targets = targets[:, None] == np.arange(2) if several else targets
    files = corpus("files", 40, labels={"emotion": ("JOY", "Pride")}, emotion=targets)
    tasks = by_name(make_tasks([files], domain, limits(100, 100), 1))
    assert tasks["emotion_files"].labels == ("JOY", "Pride")
    assert tasks["emotion"].labels == (*domain.emotions, "Pride")
    assert set(tasks["emotion"].targets.tolist()) == {domain.emotions.index("joy"), len(domain.emotions)}


def test_a_file_with_the_domains_own_labels_has_heads_of_its_own_too(domain):
    """Its figures are those of its own labels, whatever else the served head learns."""
    files = corpus(
        "files",
        labels={"emotion": ("joy", "anger"), "sentiment": ("negative", "neutral", "positive")},
        emotion=np.arange(20, dtype=np.int32) % 2,
        sentiment=np.arange(20, dtype=np.int32) % 3,
    )
    tasks = make_tasks([files], domain, limits(100, 100), 1)
    assert {task.name for task in tasks} == {"sentiment_files", "sentiment", "emotion_files", "emotion"}
    assert main_labels(tasks) == {"files": "sentiment", "files_served": "sentiment"}


def test_several_labels_at_once_have_a_head_of_their_own_and_single_rows_are_served(domain):
    targets = np.array([[True, False], [True, True], [False, True], [False, False]] * 5)
    files = corpus("files", labels={"emotion": ("joy", "pride")}, emotion=targets)
    tasks = by_name(make_tasks([files], domain, limits(100, 100), 1))
    assert tasks["emotion_files"].targets.shape == (15, 2)
    found = {
        int(t.split()[1]) % 4: int(y) for t, y in zip(tasks["emotion"].texts, tasks["emotion"].targets, strict=True)
    }
    assert found == {0: domain.emotions.index("joy"), 2: len(domain.emotions)}


def test_a_users_own_rows_are_cut_by_their_own_limit_alone(domain):
    splits = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    files = corpus("files", 100, splits, labels={"intent": ("gift", "play")}, intent=np.arange(100) % 2)
    small = {"max_rows": 10, "max_test_rows": 10, "domain_rows": 10}
    for settings, kept in ((Text(**small), 60), (Text(own_rows=30, **small), 30)):
        for task in make_tasks([files], domain, settings, 1):  # the file's own head and the served one
            assert [int((task.split == name).sum()) for name in ("train", "validation", "test")] == [kept, 20, 20]


def test_what_is_held_out_of_a_users_rows_leaves_each_label_one_to_learn_from(domain):
    rare = np.where(np.arange(40) < 20, np.arange(40), 20).astype(np.int32)
    files = corpus("files", 40, labels={"intent": tuple(f"name_{i}" for i in range(21))}, intent=rare)
    task = by_name(make_tasks([files], domain, limits(100, 100), 1))["intent_files"]
    assert set(task.targets[task.split == "train"]) == set(range(21))
    assert {"validation", "test"} < set(task.split)


def test_multi_label_rows_without_any_label_are_left_out(domain):
    targets = np.zeros((20, 3), bool)
    targets[:12, 1] = True
    own = corpus("talk", labels={"intent": ("a", "b", "c")}, intent=targets)
    (task,) = make_tasks([own], domain, limits(100, 100), 1)
    assert task.multi_label
    assert task.targets.shape == (12, 3)


def test_rows_are_limited_and_the_choice_repeats(domain):
    splits = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    own = corpus("big", 100, splits, labels={"intent": ("a", "b")}, intent=np.arange(100, dtype=np.int32) % 2)
    one, two = (make_tasks([own], domain, limits(30, 10), 5)[0] for _ in range(2))
    assert {name: int((one.split == name).sum()) for name in np.unique(one.split)} == {
        "train": 30,
        "validation": 10,
        "test": 10,
    }
    assert one.texts.tolist() == two.texts.tolist()
    assert one.texts.tolist() != make_tasks([own], domain, limits(30, 10), 6)[0].texts.tolist()


def test_no_text_changes_its_split(domain):
    splits = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    own = corpus("big", 100, splits, labels={"intent": ("a", "b")}, intent=np.arange(100, dtype=np.int32) % 2)
    (task,) = make_tasks([own], domain, limits(30, 10), 5)
    for text, split in zip(task.texts, task.split, strict=True):
        assert splits[int(text.split()[1])] == split


def test_main_label_is_the_first_of_intent_sentiment_emotion(domain):
    both = corpus(
        "files",
        labels={"emotion": ("x", "y"), "sentiment": ("negative", "neutral", "positive")},
        emotion=np.arange(20, dtype=np.int32) % 2,
        sentiment=np.arange(20, dtype=np.int32) % 3,
    )
    assert main_labels(make_tasks([both], domain, limits(100, 100), 1))["files"] == "sentiment"


def test_a_corpus_may_have_a_limit_of_its_own(domain):
    splits = ["train"] * 60 + ["validation"] * 20 + ["test"] * 20
    own = corpus("small", 100, splits, labels={"intent": ("a", "b")}, intent=np.arange(100, dtype=np.int32) % 2)
    (task,) = make_tasks([own], domain, limits(30, 5), 1)
    assert [(task.split == name).sum() for name in ("train", "validation", "test")] == [10, 5, 5]
