"""Starting from another run: what fits is carried, what belongs to another catalogue is not, a bad folder is named."""

import logging

import numpy as np
import pytest
import tensorflow as tf
import tomli_w

from tfrec_llm.config import Component, Config, ConfigError, Text, Train, to_table
from tfrec_llm.training import find_origin, run_stage, save_weights
from tfrec_llm.training.files import write_json
from tfrec_llm.training.init_from import NEEDED


class Toy(tf.Module):
    """Two layers' worth of weights and a table of items."""

    def __init__(self, items: int, width: int, value: float):
        super().__init__()
        self.ids = tf.Variable(tf.fill([items, 2], value))
        self.body = tf.Module()
        self.body.kernel = tf.Variable(tf.fill([2, 2], value))
        self.event = tf.Module()
        self.event.embeddings = tf.Variable(tf.fill([width, 2], value))


@pytest.fixture
def run(tmp_path):
    """A run whose stages all hold a Toy of 5 items."""
    folder = tmp_path / "run"

    def build(stage):
        save_weights(Toy(5, 3, 1.0), stage.folder / "weights.npz")
        write_json(stage.folder / "dataset.json", {"domain": {"events": ["seen", "bought"]}})
        write_json(stage.folder / "labels.json", {"mood": {"labels": ["good", "bad"]}})

    for name in NEEDED:
        run_stage(folder, name, {}, build)
    (folder / "config.toml").write_text(tomli_w.dumps(to_table(Config())))
    return folder


def origin(run):
    return find_origin(Train(init_from=str(run)))


def test_what_fits_is_carried_and_the_rest_is_named(run, caplog):
    toy = Toy(5, 4, 7.0)
    with caplog.at_level(logging.INFO):
        assert origin(run).carry(toy, "behaviour/weights.npz", ["ids"], "behaviour") == ["body/kernel"]
    np.testing.assert_array_equal(toy.body.kernel, np.ones((2, 2)))
    assert (toy.ids.numpy() == 7).all()  # of the same shape, but other items
    assert (toy.event.embeddings.numpy() == 7).all()
    assert "carried body/kernel; left out event/embeddings ([4, 2] here, [3, 2] there), ids" in caplog.text


def test_a_beginning_of_a_path_stays_too(run):
    toy = Toy(6, 3, 7.0)
    assert origin(run).carry(toy, "behaviour/weights.npz", ["event", "bod"]) == ["body/kernel"]
    assert (toy.event.embeddings.numpy() == 7).all()


def test_events_encoder_and_labels_are_compared(run):
    found = origin(run)
    assert found.same_events(("seen", "bought"))
    assert not found.same_events(("bought", "seen"))
    assert found.labels("mood") == ["good", "bad"]
    assert found.labels("other") is None
    assert found.same_encoder(Config())
    assert not found.same_encoder(Config(text=Text(encoder=Component("minilm"))))
    assert not found.same_encoder(Config(text=Text(finetuning=Component("lora"))))
    assert found.behaviour_model == "lstm"
    assert set(found.fingerprints) == set(NEEDED)


def test_afresh():
    assert find_origin(Train()) is None


@pytest.mark.parametrize("damage", ["nothing there", "a stage is missing", "no config"])
def test_a_bad_folder_is_one_clear_error(run, damage):
    if damage == "a stage is missing":
        (run / "behaviour").rename(run / "gone")
    elif damage == "no config":
        (run / "config.toml").unlink()
    path = run.parent / "none" if damage == "nothing there" else run
    with pytest.raises(ConfigError, match=r"train\.init_from: expected the folder of a finished run") as error:
        origin(path)
    assert str(path) in str(error.value)
