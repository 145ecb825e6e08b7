"""Several models as one: means of logits, whatever the members are."""

import numpy as np
import pytest
import tensorflow as tf

from tests.behaviour.test_contract import DIM, EVENTS, ITEMS, UNITS, make
from tests.behaviour.worlds import history
from tfrec_llm import behaviour
from tfrec_llm.behaviour.ensemble import Ensemble
from tfrec_llm.config import Behaviour, Component, Config
from tfrec_llm.layers.left_out import leave_out
from tfrec_llm.serving.reasons import without_each

LAST = 2


def other(name):
    """Like `make`, with other weights."""
    model = make(name)
    for number, weight in enumerate(model.trainable_weights):
        weight.assign_add(0.3 * tf.random.stateless_normal(weight.shape, (number, 2)))
    return model


@pytest.mark.parametrize("second", ["lstm", "sasrec"])
def test_its_logits_are_the_mean_of_the_members(second):
    models = make("lstm"), other(second)
    both, asked = Ensemble(models), history()
    told, apart = both.signals(asked), [model.signals(asked) for model in models]
    logits = [s.query @ tf.transpose(m.item_table()) for s, m in zip(apart, models, strict=True)]
    np.testing.assert_allclose(told.query @ tf.transpose(both.item_table()), (logits[0] + logits[1]) / 2, atol=1e-5)
    np.testing.assert_allclose(told.event, (apart[0].event + apart[1].event) / 2, atol=1e-6)
    np.testing.assert_allclose(told.time_gap, (apart[0].time_gap + apart[1].time_gap) / 2, atol=1e-6)
    np.testing.assert_array_equal(told.state, apart[0].state)
    assert [x.shape.as_list() for x in told] == [[4, 2 * (DIM + 1)], [4, UNITS], [4, EVENTS], [4]]
    assert both.item_table().shape == (ITEMS + 2, 2 * (DIM + 1))


def test_histories_that_lack_an_event_are_not_read_again():
    both, asked = Ensemble([make("lstm"), other("lstm")]), history()
    signals, views, _ = both.signals_without(asked, leave_out(asked, LAST))
    copies, item = without_each(asked, LAST)
    copied = both.signals(copies).query.numpy().reshape(4, LAST, -1)
    there = np.asarray(item) > 0
    np.testing.assert_allclose(views.numpy()[:, :-1][there], copied[there], atol=1e-5)
    np.testing.assert_allclose(views[:, -1], signals.query, atol=1e-6)


def test_a_member_that_must_read_again_makes_all_be_read_again():
    assert not Ensemble([make("lstm"), make("sasrec")]).one_pass


def test_each_member_has_a_folder_and_a_seed_of_its_own():
    config = Config(seed=3, behaviour=Behaviour(ensemble=(Component("lstm"), Component("sasrec", {"units": 8}))))
    (first, alone), *others = behaviour.members(config)
    assert (first, alone.seed, alone.behaviour) == ("behaviour", 3, Behaviour())
    assert [name for name, _ in others] == ["members/1", "members/2"]
    assert [own.behaviour.model.name for _, own in others] == ["lstm", "sasrec"]
    assert len({alone.seed, *(own.seed for _, own in others)}) == 3
    assert all(not own.behaviour.ensemble for _, own in others)
