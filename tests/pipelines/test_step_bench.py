"""The step bench with tiny catalogues: what a trainer tells, and the entry made of what two of them tell."""

import io
import json
from dataclasses import replace

import numpy as np

from pipelines.benches import steps
from tfrec_llm.config import Behaviour, Component, Config, Train
from tfrec_llm.layers.lazy_adam import LazyAdam
from tfrec_llm.types import FIRST_ITEM

SMALL = Behaviour(
    model=Component("lstm", {"units": 8, "dim": 4, "side_dim": 2}),
    max_history=6,
    batch_size=3,
    num_sampled=5,
    full_softmax_max_items=1,
)
CONFIG = Config(behaviour=SMALL, train=Train(xla="off", lazy_rows=100))


class Server:
    """Answers as a training process does, without one."""

    def __init__(self, *told):
        self.stdin, self.stdout = io.StringIO(), io.StringIO("\n".join(map(json.dumps, told)) + "\n")


def test_items_are_uneven_and_in_range():
    item = steps.made_up(1000, 20_000).interactions.item
    counts = np.bincount(item, minlength=1002)
    assert counts[:FIRST_ITEM].sum() == 0
    assert len(counts) == 1002
    assert counts[2] > 20 * counts[200] > 0


def test_a_step_touches_only_rows_that_it_looks_up():
    trainer = steps.Trainer(CONFIG, 400, 5_000)
    model = trainer._average.model
    assert isinstance(model.optimizer, LazyAdam)
    before = model.table.ids.numpy()
    told = trainer.round(steps=2)
    moved = (before != model.table.ids.numpy()).any(axis=1)
    assert 0 < moved.sum() <= 2 * (3 * 6 + 5)
    assert set(told) == {"seconds", "average", "peak_memory_gb"}
    assert 0 < told["average"] < told["seconds"]


def test_small_catalogues_are_trained_by_adam():
    trainer = steps.Trainer(replace(CONFIG, train=Train(xla="off")), 400, 5_000)
    assert not isinstance(trainer._average.model.optimizer, LazyAdam)


def test_the_entry_is_the_median_of_the_rounds_after_the_first():
    def told(*seconds):
        return Server(*({"seconds": s, "average": 0.1, "peak_memory_gb": 1 + s} for s in seconds))

    entry = steps.measured([told(9, 1, 1, 1), told(9, 1.2, 3, 1.4)], 3, CONFIG)
    assert entry["value"] == 1.4
    assert (entry["setup"]["ratio_min"], entry["setup"]["ratio_max"]) == (1.2, 3)
    assert entry["setup"]["seconds"] == [1, 1.4]
    assert entry["setup"]["bytes_per_item"] == round(0.4 * 2**30 / 990_000)


def test_a_process_answers_line_by_line():
    answers = []
    table = steps.to_table(CONFIG)
    steps._serve(50, json.loads(json.dumps(table)), iter(["round\n"]), answers.append)
    assert json.loads(answers[0])["seconds"] > 0
