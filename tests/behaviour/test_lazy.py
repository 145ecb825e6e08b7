"""Row by row: a behaviour model with a large table moves the rows it looks up, learns, and goes on after a kill."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from tests.behaviour.test_stage import ITEMS, make_stage, on_test, with_settings
from tests.behaviour.worlds import chain, dataset_of
from tfrec_llm import behaviour
from tfrec_llm.behaviour.judging import ranker
from tfrec_llm.behaviour.stage import MODELS
from tfrec_llm.config import Config, Train, choose
from tfrec_llm.data.pipeline import sequence_batches
from tfrec_llm.layers.lazy_adam import LazyAdam, make_adam
from tfrec_llm.training import Compute, precision
from tfrec_llm.training.files import read_npz

LAZY = Train(precision="float32", xla="auto", lazy_rows=10)


def lazy(**changes) -> Config:
    changes = {"full_softmax_max_items": 1, "num_sampled": 16, **changes}
    return dataclasses.replace(with_settings(**changes), train=LAZY)


def test_learns_a_chain_and_goes_on_after_a_pass(tmp_path):
    dataset = dataset_of(chain(300, 32, ITEMS), ITEMS)
    config, stage = lazy(), make_stage(tmp_path)
    behaviour.train(config, dataset, None, stage)
    model = behaviour.load(config, dataset, None, stage.folder)
    assert on_test(ranker(model), dataset)["ndcg@10"] > 0.85
    again = make_stage(tmp_path)  # every pass is done: weights, moments and averages are put back from the checkpoint
    before = read_npz(stage.folder / "weights.npz")
    behaviour.train(config, dataset, None, again)
    for name, value in read_npz(again.folder / "weights.npz").items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_rows_that_no_step_looked_up_stay(policy):
    dataset, config = dataset_of(chain(20, 6, 300), 300), lazy(batch_size=2, num_sampled=4)
    own, builder = choose(MODELS, config.behaviour.model, "behaviour.model")
    with precision(Compute(policy, False)):
        model = builder(own, config, dataset, None)
        model.compile(make_adam(0.01, 302, config.train))
    before = model.table.ids.numpy(), model.bias.numpy()
    batch = next(iter(sequence_batches(dataset, 6, 2, 1)))
    losses = model.train_step(batch)
    assert np.isfinite(float(losses["loss"]))
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
    assert isinstance(optimizer, LazyAdam)
    moved = (model.table.ids.numpy() != before[0]).any(axis=1), model.bias.numpy() != before[1]
    asked = len(np.unique(batch.item.numpy())) + 4
    assert 0 < moved[0].sum() <= asked
    assert 0 < moved[1].sum() <= asked
    assert tf.reduce_all(tf.math.is_finite(model.table.ids))
