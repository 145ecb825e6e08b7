"""Events as they come: one event alone, no order in time, a life's worth of events, and a loss that explodes."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.behaviour.test_stage import CONFIG, ITEMS, make_stage, on_test, with_settings
from tests.behaviour.worlds import chain, dataset_of
from tfrec_llm import behaviour
from tfrec_llm.behaviour.judging import ranker
from tfrec_llm.behaviour.sequence import SequenceModel
from tfrec_llm.types import Queries


def trained(dataset, folder, **changes):
    stage = make_stage(folder)
    config = with_settings(epochs=1, **changes)
    behaviour.train(config, dataset, None, stage)
    model = behaviour.load(config, dataset, None, stage.folder)
    assert all(np.isfinite(weight).all() for weight in model.get_weights())
    return model


def test_users_with_one_event_are_learnt_from_and_answered(tmp_path):
    dataset = dataset_of(chain(60, 8, ITEMS), ITEMS)
    train = dataset.split.train.copy().reshape(60, 8)
    train[:30, 1:] = False  # half of the users have one event
    asked = dataset.split.test
    begin = np.where(np.arange(60) < 30, asked.end - 1, asked.begin)  # and are asked with one event before
    begin[0] = asked.end[0]  # or with none
    test = Queries(asked.user, begin, asked.end, asked.time, asked.relevant, asked.offsets)
    split = dataclasses.replace(dataset.split, train=train.reshape(-1), test=test)
    dataset = dataclasses.replace(dataset, split=split)
    assert np.isfinite(on_test(ranker(trained(dataset, tmp_path)), dataset)["ndcg@10"])


@pytest.mark.parametrize("step", ["event", "basket"])
def test_times_that_are_all_equal(tmp_path, step):
    dataset = dataset_of(chain(60, 8, ITEMS), ITEMS, step, np.full((60, 8), 77))
    assert np.isfinite(on_test(ranker(trained(dataset, tmp_path)), dataset)["ndcg@10"])


@pytest.mark.parametrize("step", ["event", "basket"])
def test_a_history_a_thousand_times_the_window(tmp_path, step):
    times = None if step == "event" else np.full((2, 2000), 77)  # a single step that no window holds
    dataset = dataset_of(chain(2, 2000, ITEMS), ITEMS, step, times)
    model = trained(dataset, tmp_path, max_history=2)
    assert on_test(ranker(model), dataset)["recall@100"] == 1  # fewer items than places


def test_a_loss_that_is_no_number_stops_and_the_last_whole_pass_is_kept(tmp_path, monkeypatch):
    dataset, stage, loss_of = dataset_of(chain(60, 12, ITEMS), ITEMS), make_stage(tmp_path), SequenceModel.loss_of
    config, steps = with_settings(epochs=3), []

    def explodes(model, history, noise):
        """As ever for a pass and one step."""
        losses = loss_of(model, history, noise)
        late = model.optimizer.iterations >= steps[0] + 1
        return {**losses, "loss": losses["loss"] * tf.where(late, float("nan"), 1.0)}

    steps.append(int(behaviour.stage.sequence_passes(dataset, 24, 16, CONFIG.seed)(0).cardinality()))
    with monkeypatch.context() as patch:
        patch.setattr(SequenceModel, "loss_of", explodes)
        with pytest.raises(
            ValueError, match="behaviour: expected a finite loss, got nan at step 2 of pass 2; lower the"
        ):
            behaviour.train(config, dataset, None, stage)
    assert sorted(path.name for path in stage.work.iterdir()) == ["best-0001.npz", "pass-0001"]
    assert not list(stage.folder.iterdir())
    behaviour.train(config, dataset, None, stage)  # goes on after pass 1
    assert (stage.folder / "weights.npz").exists()
