"""Which versions are refused for ever, and which are tried again: what follows the label, over a model that is none."""

import asyncio

import pytest

from tfrec_llm.serving import versions
from tfrec_llm.serving.server import following
from tfrec_llm.serving.server.asks import ModelUnavailableError
from tfrec_llm.serving.server.measures import Measures


class Switched:
    """A model that meets these errors, one a time, before it takes a version over."""

    def __init__(self, folder, errors):
        self.folder, self.errors, self.tried = str(folder), list(errors), []

    async def switch(self, folder):
        self.tried.append(folder)
        if self.errors:
            raise self.errors.pop(0)
        self.folder = folder
        return True


@pytest.fixture
def export(tmp_path, monkeypatch):
    monkeypatch.setattr(following, "LONGER", 3.0)
    for version in (1, 2, 3):
        (tmp_path / str(version)).mkdir()
        versions.promote(tmp_path, version) if version < 3 else None
    return tmp_path


def followed(export, *errors, until):
    """A model that served version 1 and followed the label until something is so."""

    async def scenario():
        model = Switched((export / "1").absolute(), errors)
        task = asyncio.create_task(following.follow(model, export, 0.001, Measures()))
        async with asyncio.timeout(10):
            while not until(model):
                await asyncio.sleep(0.001)
        await asyncio.sleep(0.05)
        task.cancel()
        return model

    return asyncio.run(scenario())


def serves(version):
    return lambda model: model.folder.endswith(f"/{version}")


@pytest.mark.parametrize("error", [OSError("no memory"), ModelUnavailableError("the worker was killed")])
def test_what_is_no_fault_of_a_version_is_tried_again(export, error):
    model = followed(export, error, error, until=serves(2))
    assert (len(model.tried), versions.read_labels(export).refused) == (3, {})


def test_a_system_that_stays_out_of_memory_refuses_nothing(export):
    model = followed(export, *[OSError("no memory")] * 9, until=serves(2))
    assert (len(model.tried), versions.read_labels(export).refused) == (10, {})


def test_a_version_that_is_wrong_is_refused_at_once(export):
    model = followed(export, ValueError("nonsense"), until=lambda model: not model.errors)
    assert (len(model.tried), versions.read_labels(export).refused) == (1, {"2": "nonsense"})


def test_a_version_that_kills_its_worker_every_time_is_refused(export):
    model = followed(export, *[ModelUnavailableError("it died")] * 99, until=lambda model: len(model.tried) > 2)
    assert (len(model.tried), model.folder) == (3, str(export / "1"))
    assert versions.read_labels(export).refused == {"2": "3 workers died over it, the last so: it died"}
    assert versions.read_labels(export).stable == 1


def test_another_version_does_not_wait_for_one_that_rests(export, monkeypatch):
    monkeypatch.setattr(following, "LONGER", 1e6)

    def labelled(model):
        if model.tried and versions.read_labels(export).stable == 2:
            versions.promote(export, 3)
        return serves(3)(model)

    model = followed(export, ModelUnavailableError("it died"), until=labelled)
    assert (len(model.tried), versions.read_labels(export).refused) == (2, {})
