"""A model worker that cannot be started: is it the version's fault, or not."""

import asyncio
import sys

import pytest

from tfrec_llm.serving.server import process
from tfrec_llm.serving.server.asks import ModelUnavailableError

ORDER = {"model": "9", "run": "none"}


def test_a_version_that_cannot_be_loaded_is_a_fault_of_its_own(tmp_path):
    order = {"model": str(tmp_path), "run": "none", "engine": "export", "threads": 1}
    with pytest.raises(ValueError, match="expected an export with its manifest"):
        asyncio.run(process.start(order))


def test_a_worker_that_is_killed_before_it_says_a_word_may_be_started_again(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ModelUnavailableError, match="expected it to load 9, got: the model worker is gone"):
        asyncio.run(process.start(ORDER))


def test_a_worker_that_is_not_ready_in_time_may_be_started_again(monkeypatch):
    monkeypatch.setattr(process, "START_SECONDS", 0.01)
    with pytest.raises(ModelUnavailableError, match="not ready after 0 s"):
        asyncio.run(process.start(ORDER))


def test_a_system_that_has_no_process_left_says_so_itself(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    with pytest.raises(OSError, match="No such file"):
        asyncio.run(process.start(ORDER))
