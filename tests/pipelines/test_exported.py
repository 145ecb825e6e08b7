"""The export judged in strings: what a request carries, and a run that has no export."""

import dataclasses

import numpy as np
import pytest

from pipelines import exported
from tests.data.test_split import VIDEO, raw
from tfrec_llm.config import Config, Data, Evaluate
from tfrec_llm.data.datasets import assemble

ASKED = Config(evaluate=Evaluate(exported=True, recall_at=7))


def test_a_run_without_an_export_is_refused(tmp_path):
    exported.check(Config(), tmp_path)
    with pytest.raises(ValueError, match=r"evaluate\.exported: expected an export under .*/export, found none; run"):
        exported.check(ASKED, tmp_path)


def test_items_before_the_newest_ones_are_excluded_by_name():
    events = [(user, item, time) for user in "uv" for time, item in enumerate("abcdef" if user == "u" else "fab")]
    dataset = assemble(raw(*events), VIDEO, Data(min_item_count=1), seed=1)
    long, short = exported._requests(ASKED, dataset, dataset.split.test, np.arange(2), 2)
    assert (long["history"], long["exclude"]) == (["d", "e"], ["a", "b", "c"])
    assert (short["history"], short["exclude"], short["k"], short["request_id"]) == (["f", "a"], [], 7, "")
    repeats = dataclasses.replace(dataset, domain=dataclasses.replace(dataset.domain, repeat=True))
    assert not exported._requests(ASKED, repeats, dataset.split.test, np.arange(1), 2)[0]["exclude"]
