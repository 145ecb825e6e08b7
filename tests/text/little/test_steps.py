"""The whole text stage with the switches of little data, on the tiny encoder."""

import csv
import json

import numpy as np
import pytest

from tfrec_llm import config, data, text, training
from tfrec_llm.data.augmentation import edits, robustness, word_lists
from tfrec_llm.text.classification.ensemble import Ensemble
from tfrec_llm.text.classification.fit import fit_answers, fit_head
from tfrec_llm.text.classification.heads import Head
from tfrec_llm.text.classification.tasks import Task
from tfrec_llm.text.little.steps import (
    chosen_tasks,
    contrasted_tasks,
    learn_from_unlabelled,
    list_to_label,
    unlabelled_texts,
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Run folder and figures: ten rows of a label, contrast, self-training, robustness and the list, all at once."""
    folder = tmp_path_factory.mktemp("little")
    with open(folder / "labels.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "intent"])
        rows.writerows([f"please {word} {i}", word] for i in range(60) for word in ("aaaa", "zzzz"))
    free = [f"well {word} {i}" for i in range(40) for word in ("aaaa", "zzzz", "azaz")]
    (folder / "free.csv").write_text("text\n" + "\n".join(free) + "\n", encoding="utf-8")
    little = config.Little(
        examples_per_label=10,
        few_shot="supcon",
        few_shot_steps=24,
        batch_size=8,
        self_training=1,
        unlabelled=str(folder / "free.csv"),
        to_label=7,
    )
    settings = config.Config(
        data=config.Data(source="synthetic", synthetic_users=60, utterances=str(folder / "labels.csv")),
        train=config.Train(precision="float32", xla="off"),
        text=config.Text(
            encoder=config.Component("tiny"),
            finetuning=config.Component("lora"),
            corpora=(),
            domain_rows=60,
            epochs=6,
            hidden=0,
            dropout=0.0,
            robustness=True,
            little=little,
            augment=config.Augment(noise=0.3, copies=1),
            slots=config.Slots(rows=0, predict=False),
        ),
    )
    patch = pytest.MonkeyPatch()
    patch.setenv("TFREC_LLM_CACHE", str(folder / "cache"))
    patch.setattr(
        edits, "synonym_list", lambda language, use, wordnet="": word_lists.make_list({"please": ("kindly",)})
    )
    patch.setattr(robustness, "homophones", dict)
    dataset, figures = data.load_dataset(settings.data, settings.seed), {}
    training.run_stage(folder / "run", "text", {}, lambda stage: figures.update(text.train(settings, dataset, stage)))
    yield settings, folder / "run" / "text", figures
    patch.undo()


def test_figures_of_spoilt_texts_stand_beside_the_plain_ones(trained):
    _, folder, figures = trained
    assert {"text.files.typos_accuracy", "text.files.synonyms_accuracy", "text.files.accuracy"} <= set(figures)
    assert json.loads((folder / "metrics.json").read_text(encoding="utf-8")) == figures
    assert figures["text.files.accuracy"]["value"] > 0.9  # the two words share no character


def test_texts_to_label_are_listed_with_guesses(trained):
    settings, folder, _ = trained
    with open(folder / "to_label.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len({row["text"] for row in rows}) == len(rows) == 7
    assert {row["text"] for row in rows} <= set(unlabelled_texts(settings, [], []))
    assert {row["guess_intent_files"] for row in rows} <= {"aaaa", "zzzz"}


def test_the_trained_encoder_is_read_again(trained):
    settings, folder, _ = trained
    model = text.load(settings, folder)
    assert np.isfinite(model.encoder.encode(*model.encoder.tokenize(["please aaaa 1"])).numpy()).all()
    assert (folder / "finetuned.npz").exists()


def test_self_training_teaches_the_files_head_and_the_served_one_and_no_other(tmp_path):
    """Rows of the first corpus train both; the texts without labels are named by their vectors."""
    texts, targets = np.array([f"own {i}" for i in range(20)]), np.arange(20, dtype=np.int32) % 2
    vectors = {text: np.eye(4, dtype=np.float32)[target] for text, target in zip(texts, targets, strict=True)}
    free = [f"free {i}" for i in range(20)]
    vectors |= {text: np.eye(4, dtype=np.float32)[i % 2] + 0.1 for i, text in enumerate(free)}

    def task(name, corpus):
        return Task(name, "intent", ("a", "b"), texts, targets, np.full(20, "train"), np.full(20, corpus))

    def encode(wanted):
        return np.stack([vectors[text] for text in wanted])

    tasks = [task("intent_files", "files"), task("intent", "files_served"), task("intent_snips", "snips")]
    settings = config.Config(text=config.Text(little=config.Little(self_training=1, confidence=0.6)))
    stage = training.Stage("text", tmp_path, tmp_path / "work", tmp_path / "logs")
    heads = {one.name: fit_head(one, encode(one.texts), settings, stage) for one in tasks}
    found = learn_from_unlabelled(tasks, heads, free, encode, settings, stage)
    assert {name for name in found if found[name] is not heads[name]} == {"intent_files", "intent"}
    assert np.abs(found["intent"].kernel.numpy() - heads["intent"].kernel.numpy()).max() > 1e-3
    assert [one.name for one in chosen_tasks(tasks)] == ["intent_files"]


def test_self_training_of_an_ensemble_gives_an_ensemble(tmp_path):
    texts, targets = np.array([f"own {i}" for i in range(20)]), np.arange(20, dtype=np.int32) % 2
    task = Task("intent_files", "intent", ("a", "b"), texts, targets, np.full(20, "train"), np.full(20, "files"))
    free = [f"free {i}" for i in range(20)]

    def encode(wanted):
        return np.eye(4, dtype=np.float32)[[int(text.split()[1]) % 2 for text in wanted]]

    little, members = config.Little(self_training=1, confidence=0.5), config.Regularise(ensemble=2)
    text_settings = config.Text(little=little, regularise=members, epochs=5, hidden=0)
    settings = config.Config(text=text_settings, train=config.Train(precision="float32", xla="off"))
    stage = training.Stage("text", tmp_path, tmp_path / "work", tmp_path / "logs")
    heads = {task.name: fit_answers(task, encode(task.texts), settings, stage)}
    found = learn_from_unlabelled([task], heads, free, encode, settings, stage)[task.name]
    assert found is not heads[task.name]
    assert isinstance(found, Ensemble)


def test_several_likely_labels_are_guessed_as_a_file_says_them(tmp_path):
    targets = np.eye(3, dtype=bool)
    texts = np.array(["one", "two", "three"])
    task = Task("emotion_files", "emotion", ("joy", "in love", "fear"), texts, targets, np.full(3, "train"), texts)
    head = Head(3, 3, multi_label=True)
    head.kernel.assign(9 * np.eye(3))
    head.bias.assign([-4.5] * 3)
    settings = config.Config(text=config.Text(little=config.Little(to_label=1, unlabelled="free.csv")))
    stage = training.Stage("text", tmp_path, tmp_path / "work", tmp_path / "logs")
    places = {"one": [1, 0, 0], "two": [0, 1, 0], "three": [0, 0, 1], "both": [1, 1, 0]}

    def encode(wanted):
        return np.array([places[text] for text in wanted], np.float32)

    list_to_label([task], {task.name: head}, ["both"], encode, settings, stage)
    with open(tmp_path / "to_label.csv", encoding="utf-8", newline="") as file:
        assert [row["guess_emotion_files"] for row in csv.DictReader(file)] == ["joy|in love"]


def test_contrast_draws_no_labels_together_that_only_the_served_head_takes_for_one():
    """Two intents of SNIPS are one of the domain's: the served head's rows would draw together what is to be apart."""

    def task(*corpora):
        texts, split = np.array(["x", "y"]), np.full(2, "train")
        return Task("one", "intent", ("a", "b"), texts, np.arange(2), split, np.array(corpora))

    own, served, templates = task("snips", "snips"), task("domain", "snips_served"), task("domain", "domain")
    assert contrasted_tasks([own, served, templates]) == [own]
    assert contrasted_tasks([templates]) == [templates]


def test_a_switch_without_texts_is_refused():
    settings = config.Config(text=config.Text(little=config.Little(to_label=5)))
    with pytest.raises(config.ConfigError, match=r"to_label.*set text.little.unlabelled"):
        unlabelled_texts(settings, [], [])
