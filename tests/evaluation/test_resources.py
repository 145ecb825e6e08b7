import time

import numpy as np
import pytest

from tfrec_llm.evaluation import measure, run_info, usage_entries
from tfrec_llm.evaluation import resources as module

BYTES = 200_000_000


def test_seconds():
    with measure() as usage:
        time.sleep(0.05)
    assert 0.05 <= usage.seconds < 2


def test_peak_holds_what_was_freed_within():
    with measure() as before:
        pass
    with measure() as usage:
        np.ones(BYTES, np.uint8)
    assert usage.peak_memory_gb >= 0.9 * BYTES / 1e9
    assert before.peak_memory_gb > 0


def test_an_outer_block_keeps_the_peaks_of_inner_ones():
    with measure() as outer:
        with measure() as first:
            np.ones(BYTES, np.uint8)
        with measure() as second:
            pass
    assert outer.peak_memory_gb >= max(first.peak_memory_gb, second.peak_memory_gb)
    assert outer.seconds >= first.seconds


def test_without_proc(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "_PROCESS", tmp_path / "absent")
    with measure() as usage:
        pass
    assert 0.01 < usage.peak_memory_gb < 1000


def test_an_error_ends_the_measuring():
    with pytest.raises(KeyError), measure() as usage:
        raise KeyError
    assert usage.seconds > 0
    assert module._open == []


def test_entries():
    found = usage_entries("text", module.Usage(1.5, 0.25))
    assert {key: value["value"] for key, value in found.items()} == {"seconds.text": 1.5, "peak_memory_gb.text": 0.25}


def test_run_info():
    info = run_info(7)
    assert info["seed"] == 7
    assert {"python", "tensorflow", "tf-keras", "transformers", "tf-agents", "numpy"} <= set(info["versions"])
    assert info["device"]
