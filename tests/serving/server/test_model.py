"""The model behind the server: who is decided together, and what happens when a worker dies."""

import asyncio
from typing import ClassVar

import pytest

from tests.serving.server.conftest import decided
from tfrec_llm.config import Serving
from tfrec_llm.serving.server import model as models
from tfrec_llm.serving.server import process
from tfrec_llm.serving.server.asks import AnswerError, Ask, Facts, ModelUnavailableError
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.model import Model


class FakeWorker:
    """Answers every batch after a moment, or when a test lets it; "die" kills it, "fail" fails its batch."""

    started: ClassVar[list] = []

    def __init__(self):
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()
        self.may_answer.set()
        self.batches, self.pid, self._end = [], len(FakeWorker.started) + 1, asyncio.Event()
        self.facts = Facts(str(self.pid), "fused", 50, 8, 50, 40, "export")
        FakeWorker.started.append(self)

    async def died(self):
        await self._end.wait()

    async def end(self):
        self._end.set()

    async def reload(self, folder):
        if folder == "bad":
            raise ValueError("golden queries: got fewer")
        if folder == "deadly":
            self._end.set()
            raise ModelUnavailableError("the model died")
        self.facts = Facts(folder, "fused", 50, 8, 50, 40, "export")
        return self.facts

    async def decide(self, asks):
        self.batches.append([ask.user_id for ask in asks])
        self.asked.set()
        await self.may_answer.wait()
        await asyncio.sleep(0.001)
        if any(ask.utterance == "die" for ask in asks):
            self._end.set()
            raise ModelUnavailableError("the model died")
        if any(ask.utterance == "fail" for ask in asks):
            raise AnswerError("the model failed")
        return [decided(ask) for ask in asks], {"encode": 0.0, "decide": 0.01}


def run(monkeypatch, scenario, model="1", earlier=(), damaged=(), silent=(), **settings):
    """Runs a scenario with a model whose workers are fakes; folders may be damaged, or end their workers, by then."""
    monkeypatch.setattr(FakeWorker, "started", [])

    async def start(order):
        await asyncio.sleep(0)
        if order["model"] in ("broken", *damaged):
            raise ValueError("expected saved_model.pb as the manifest says")
        if order["model"] in silent:
            raise ModelUnavailableError("it ended without a word")
        return FakeWorker()

    async def all_of_it():
        monkeypatch.setattr(process, "start", start)
        monkeypatch.setattr(models, "differs_in", lambda ours, theirs, names: theirs.name not in ("other", "broken"))
        made = Model({"model": model}, Serving(**settings), Measures(), lambda: earlier)
        await made.start()
        try:
            return await asyncio.wait_for(scenario(made), 10)
        finally:
            await made.close()

    return asyncio.run(all_of_it())


def ask(user, utterance=""):
    return Ask(user_id=user, utterance=utterance, k=1)


def test_what_waits_while_the_worker_is_busy_is_decided_together(monkeypatch):
    async def scenario(model):
        await asyncio.gather(*(model.decide(ask(str(i))) for i in range(6)))

    run(monkeypatch, scenario, max_batch=4)
    sizes = [len(batch) for batch in FakeWorker.started[0].batches]
    assert sum(sizes) == 6
    assert max(sizes) == 4


def test_a_row_that_nobody_waits_for_is_not_decided(monkeypatch):
    async def scenario(model):
        worker = FakeWorker.started[0]
        worker.may_answer.clear()
        first = asyncio.create_task(model.decide(ask("first")))
        await worker.asked.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await model.decide(ask("impatient"))
        worker.may_answer.set()
        await first
        await model.decide(ask("last"))

    run(monkeypatch, scenario)
    assert FakeWorker.started[0].batches == [["first"], ["last"]]


def test_one_bad_row_does_not_spoil_its_batch(monkeypatch):
    async def scenario(model):
        asks = [ask("a"), ask("b", "fail"), ask("c")]
        return await asyncio.gather(*(model.decide(one) for one in asks), return_exceptions=True)

    answers = run(monkeypatch, scenario)
    assert [type(answer).__name__ for answer in answers] == ["Decided", "AnswerError", "Decided"]


def test_a_dead_worker_is_replaced_and_the_rest_is_answered(monkeypatch):
    async def scenario(model):
        with pytest.raises(ModelUnavailableError):
            await model.decide(ask("a", "die"))
        while not model.ready:
            await asyncio.sleep(0.001)
        return await model.decide(ask("b")), model.facts.version

    answer, version = run(monkeypatch, scenario)
    assert (answer.item_ids, version) == (["i1"], "2")


def test_a_worker_that_dies_unasked_is_noticed(monkeypatch):
    async def scenario(model):
        await FakeWorker.started[0].end()
        while len(FakeWorker.started) < 2 or not model.ready:
            await asyncio.sleep(0.001)
        return await model.decide(ask("b"))

    assert run(monkeypatch, scenario).item_ids == ["i1"]


def test_too_many_who_wait_are_refused(monkeypatch):
    async def scenario(model):
        return await asyncio.gather(*(model.decide(ask(str(i))) for i in range(9)), return_exceptions=True)

    answers = run(monkeypatch, scenario, max_waiting=5)
    assert [type(answer).__name__ for answer in answers] == ["Decided"] * 5 + ["ModelUnavailableError"] * 4


def test_closing_refuses_those_who_wait(monkeypatch):
    async def scenario(model):
        FakeWorker.started[0].may_answer.clear()
        waiting = [asyncio.create_task(model.decide(ask(str(i)))) for i in range(3)]
        await FakeWorker.started[0].asked.wait()
        await model.close()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 1)

    answers = run(monkeypatch, scenario, max_batch=1)
    assert {type(answer).__name__ for answer in answers} == {"ModelUnavailableError"}


async def dead(model, damaged):
    """Version 1 is damaged, and then its worker dies."""
    damaged.append("1")
    await FakeWorker.started[0].end()
    while model.ready:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("folder", ["2", "other"])
def test_a_good_version_saves_a_worker_that_died_over_a_damaged_one(monkeypatch, folder):
    damaged = []

    async def scenario(model):
        await dead(model, damaged)
        with pytest.raises(ValueError, match="as the manifest says"):
            await model.switch("broken")
        await model.switch(folder)
        return model.folder, (await model.decide(ask("a"))).item_ids

    monkeypatch.setattr(models, "PATIENCE", (0.02,))
    assert run(monkeypatch, scenario, damaged=damaged) == (folder, ["i1"])


def test_the_version_before_serves_where_a_dead_one_is_damaged(monkeypatch):
    damaged = []

    async def scenario(model):
        await dead(model, damaged)
        while not model.ready:
            await asyncio.sleep(0.001)
        return model.folder, (await model.decide(ask("a"))).item_ids

    monkeypatch.setattr(models, "PATIENCE", (0.02,))
    assert run(monkeypatch, scenario, earlier=("1", "broken", "0"), damaged=damaged) == ("0", ["i1"])


def test_a_worker_that_ends_without_a_word_is_started_again_before_another_version_is(monkeypatch):
    silent = []

    async def scenario(model):
        await dead(model, silent)
        await asyncio.sleep(0.05)
        assert not model.ready
        silent.clear()
        while not model.ready:
            await asyncio.sleep(0.001)
        return model.folder

    monkeypatch.setattr(models, "PATIENCE", (0.02, 0.1))
    assert run(monkeypatch, scenario, earlier=("0",), silent=silent) == "1"


async def under_load(model, change):
    """Requests without a pause while a change is made: their answers, and what came of it."""
    answers, going = [], True

    async def ask_on():
        while going:
            answers.append(await model.decide(ask("somebody")))

    async def some_more():
        wanted = len(answers) + 9
        while len(answers) < wanted and not any(task.done() for task in asking):
            await asyncio.sleep(0.001)

    asking = [asyncio.create_task(ask_on()) for _ in range(3)]
    await some_more()
    try:
        result = await change
    except (ValueError, ModelUnavailableError) as error:
        result = error
    await some_more()
    going = False
    failed = [e for e in await asyncio.gather(*asking, return_exceptions=True) if e is not None]
    return answers, result, failed


@pytest.mark.parametrize(("folder", "alike"), [("2", True), ("other", False)])
def test_another_version_is_taken_over_without_a_failed_request(monkeypatch, folder, alike):
    async def scenario(model):
        answers, result, failed = await under_load(model, model.switch(folder))
        assert (result, failed, model.folder) == (alike, [], folder)
        assert len(answers) > 10
        return model.facts.version

    assert run(monkeypatch, scenario) == "2"
    assert len(FakeWorker.started) == (1 if alike else 2)
    assert all(worker.batches for worker in FakeWorker.started)
    assert FakeWorker.started[0]._end.is_set()


@pytest.mark.parametrize("folder", ["bad", "broken"])
def test_a_version_that_is_refused_changes_nothing(monkeypatch, folder):
    async def scenario(model):
        _, result, failed = await under_load(model, model.switch(folder))
        assert isinstance(result, ValueError)
        assert (failed, model.folder, model.facts.version) == ([], "1", "1")

    run(monkeypatch, scenario)
    assert len(FakeWorker.started) == 1


def test_a_worker_that_dies_over_a_version_is_replaced_by_one_of_the_version_before(monkeypatch):
    async def scenario(model):
        with pytest.raises(ModelUnavailableError):
            await model.switch("deadly")
        while not model.ready:
            await asyncio.sleep(0.001)
        return model.folder, (await model.decide(ask("a"))).item_ids

    assert run(monkeypatch, scenario) == ("1", ["i1"])
    assert len(FakeWorker.started) == 2


def test_a_version_that_cannot_be_loaded_at_the_start_gives_way_to_the_latest_that_can(monkeypatch, caplog):
    async def scenario(model):
        return model.folder, (await model.decide(ask("a"))).item_ids

    assert run(monkeypatch, scenario, "broken", ("broken", "cut", "3"), ("cut",)) == ("3", ["i1"])
    assert caplog.text.count("expected saved_model.pb as the manifest says") == 2
    assert "serves instead" in caplog.text
    with pytest.raises(ValueError, match="as the manifest says"):
        run(monkeypatch, scenario, "broken", ("broken",))


def test_a_policy_that_was_meant_for_another_version_comes_with_its_own_worker(monkeypatch):
    async def scenario(model):
        def alike(ours, theirs, names):
            found = ours.name == "1"
            model._order = {**model._order, "model": "0"}  # serves by now, since the worker died
            return found

        monkeypatch.setattr(models, "differs_in", alike)
        return await model.switch("2"), model.folder

    assert run(monkeypatch, scenario) == (False, "2")
    assert len(FakeWorker.started) == 2
