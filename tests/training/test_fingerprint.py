"""One hash for everything that a result depends on."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tfrec_llm.config import Behaviour, Component, Config
from tfrec_llm.training.fingerprint import fingerprint


def test_known_answer():
    # sha256 of the five characters {"a":1} without spaces is what any other tool would give, too
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


def test_order_of_keys_and_kind_of_sequence_do_not_count():
    assert fingerprint({"a": 1, "b": (1, 2)}) == fingerprint({"b": [1, 2], "a": 1})
    assert fingerprint({"x": {"q", "p"}}) == fingerprint({"x": {"p", "q"}})


def test_a_changed_setting_changes_it_wherever_it_lies():
    config = Config()
    deep = dataclasses.replace(config, behaviour=Behaviour(model=Component("lstm", {"units": 8})))
    assert fingerprint(config) == fingerprint(Config())
    assert len({fingerprint(c) for c in (config, deep, dataclasses.replace(config, seed=2))}) == 3


def test_arrays_count_by_content_and_shape():
    a = np.arange(6, dtype=np.float32)
    values = [a, a.reshape(2, 3), a + 1, a.astype(np.int32), np.array(["a", "b"]), np.array(["a", "c"], dtype=object)]
    assert len({fingerprint(v) for v in values}) == len(values)
    assert fingerprint(a.reshape(2, 3)) == fingerprint(np.asfortranarray(a.reshape(2, 3)))


def test_plain_values_of_other_libraries():
    assert fingerprint([np.float64(0.5), np.int32(3), Path("a/b")]) == fingerprint([0.5, 3, "a/b"])
    assert fingerprint(b"a") != fingerprint("a")


def test_what_has_no_canonical_form_is_refused():
    with pytest.raises(ValueError, match="got function"):
        fingerprint({"f": lambda: 0})
