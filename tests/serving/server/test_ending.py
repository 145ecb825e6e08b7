"""However a server ends, what it has started ends with it: the model's worker and the process that learns."""

import shutil
import signal
import threading
import time
from pathlib import Path

import pytest

from pipelines import serve
from tests.serving.server.running import Server, start

GONE_SECONDS = 60  # a learner that still imports TensorFlow notices afterwards


def words_of(number):
    """The command line of a process; empty where it has ended, also where nobody has asked how yet."""
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().strip(b"\0").split(b"\0")
    except OSError:
        return [b""]


def learners(run):
    """The numbers of all processes that learn in a run folder."""
    numbers = [path.name for path in Path("/proc").glob("[0-9]*")]
    return {int(number) for number in numbers if {str(run).encode(), b"pipelines.update"} <= set(words_of(number))}


def wait_for(what, seconds):
    for _ in range(10 * seconds):
        if found := what():
            return found
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_the_learner_and_the_worker_outlive_no_server(smoke_run, tmp_path, how):
    run = Path(shutil.copytree(smoke_run, tmp_path / "run"))
    process = start(run, tmp_path, "learn=true")
    try:
        server = Server(process, tmp_path / "said.txt", tmp_path / "log.db")
        (learner,) = wait_for(lambda: learners(run), 60)
        others = learner, server.worker()
        assert all(words_of(number) != [b""] for number in others)
        process.send_signal(how)
        assert process.wait(30) == (0 if how == signal.SIGTERM else -signal.SIGKILL)
        wait_for(lambda: all(words_of(number) == [b""] for number in others), GONE_SECONDS)
    finally:
        process.kill()
    assert learners(run) == set()
    assert "Traceback" not in server.said()


def test_a_learner_that_is_started_while_the_server_ends_is_ended_too(monkeypatch):
    started, ended = threading.Event(), threading.Event()

    class Late:
        """A process whose start takes until the server has looked for it."""

        def __init__(self, *_, **__):
            started.set()
            time.sleep(0.2)
            self._over = threading.Event()

        def terminate(self):
            self._over.set()
            ended.set()

        def wait(self):
            self._over.wait()

    monkeypatch.setattr(serve.subprocess, "Popen", Late)

    def serving():
        with serve._learning([]):
            started.wait()

    thread = threading.Thread(target=serving, daemon=True)
    thread.start()
    thread.join(10)
    assert (thread.is_alive(), ended.is_set()) == (False, True)
