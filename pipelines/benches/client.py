"""A server as the benches see it: started by a process of its own, asked by several clients over HTTP."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from tfrec_llm import data

HISTORY, PATIENCE = 50, 300.0


class Served(NamedTuple):
    """A server that answers."""

    run: Path
    port: int
    process: subprocess.Popen
    seconds: float  # from its start to its first answer
    events: tuple[str, ...]
    items: tuple[str, ...]


class Load(NamedTuple):
    """What clients saw."""

    seconds: np.ndarray  # [requests] each
    failed: int
    wall: float


@contextmanager
def served(run: Path, engine: str = "auto", more: Sequence[str] = ()) -> Iterator[Served]:
    """A server over a run, in a process group of its own; `more` are settings."""
    began = time.perf_counter()
    said = run.parent / "said.txt"
    command = [sys.executable, "-m", "pipelines.serve", "--config", str(run / "config.toml"), "--run", str(run)]
    command.append("--set")
    command += ["serving.port=0", f"serving.engine={engine}", "serving.log_wait_ms=1000", "serving.timeout_ms=10000"]
    command += more
    with said.open("w") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        mark = "serving on http://127.0.0.1:"
        wait(lambda: mark in said.read_text("utf-8", "replace") or process.poll() is not None)
        text = said.read_text("utf-8", "replace")
        if mark not in text:
            raise ValueError(f"bench: expected a server, got: {text[-2000:]}")
        port = int(text.split(mark)[1].split()[0])
        events, titles = data.read_names(run / "data")
        server = Served(run, port, process, 0.0, tuple(events), tuple(titles))
        ask(server, 1, 1)
        yield server._replace(seconds=time.perf_counter() - began)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def ask(server: Served, count: int, clients: int, texts: tuple[str, ...] = ("",), history: int = HISTORY) -> Load:
    """Requests by several clients, each one after the other."""
    seconds, failed, lock, began = [], [], threading.Lock(), time.perf_counter()

    def one(number: int) -> None:
        draw = np.random.default_rng(number)
        with _connection(server) as connection:
            for place in range(count // clients):
                body = _request(server, draw, texts[place % len(texts)], history)
                start = time.perf_counter()
                ok = _kept(*_post(connection, "/recommend", body))
                with lock:
                    seconds.append(time.perf_counter() - start)
                    failed.append(not ok)

    together(one, clients)
    return Load(np.array(seconds), sum(failed), time.perf_counter() - began)


def _request(server: Served, draw: np.random.Generator, text: str, history: int) -> dict[str, Any]:
    now = int(time.time())
    items = draw.choice(len(server.items), min(history, len(server.items)), replace=False)
    rows = [[server.items[item], server.events[0], now - 3600 * (history - n)] for n, item in enumerate(items)]
    return {"user_id": f"user {draw.integers(1000)}", "utterance": text, "history": rows, "k": 10}


@contextmanager
def asking(server: Served) -> Iterator[list[tuple[float, bool]]]:
    """Two clients without a pause while the block runs: seconds and success of each request."""
    over, seen = threading.Event(), []

    def one(number: int) -> None:
        draw = np.random.default_rng(number)
        with _connection(server) as connection:
            while not over.is_set():
                body = _request(server, draw, "", HISTORY)
                start = time.perf_counter()
                ok = _kept(*_post(connection, "/recommend", body))
                seen.append((time.perf_counter() - start, ok))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield seen
    finally:
        over.set()
        for thread in threads:
            thread.join()


def post(server: Served, path: str, body: Any) -> dict[str, Any]:
    """The answer of one request on a connection of its own."""
    with _connection(server) as connection:
        return json.loads(_post(connection, path, body)[1])


def spent(server: Served) -> dict[str, tuple[float, float]]:
    """What the server has spent on parts of its decisions and on whole requests: part -> seconds and how often."""
    with _connection(server) as connection:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            name, _, what = sample.name.removeprefix("tfrec_llm_").rpartition("_")
            if what in ("sum", "count") and (name == "part_seconds" or sample.labels.get("route") == "/recommend"):
                found.setdefault(sample.labels.get("part", "whole"), {})[what] = sample.value
    return {part: (values["sum"], values["count"]) for part, values in found.items()}


def between(before: Mapping[str, tuple[float, float]], after: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Mean milliseconds of each part between two answers of `spent`."""
    seconds = {
        part: [new - old for new, old in zip(after[part], before.get(part, (0, 0)), strict=True)] for part in after
    }
    return {part: 1000 * taken / count for part, (taken, count) in seconds.items() if count}


def health(server: Served) -> dict[str, Any]:
    """What /healthz says."""
    with _connection(server) as connection:
        connection.request("GET", "/healthz")
        return json.loads(connection.getresponse().read())


@contextmanager
def _connection(server: Served) -> Iterator[HTTPConnection]:
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        yield connection
    finally:
        connection.close()


def _post(connection: HTTPConnection, path: str, body: Any) -> tuple[int, bytes]:
    connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def _kept(status: int, body: bytes) -> bool:
    """Whether a request was answered and its decision is in the log: nothing can be learnt from another."""
    return status == 200 and json.loads(body)["decision_id"] is not None


def together(work: Callable[[int], None], count: int) -> None:
    """Runs some clients at the same time and waits for all."""
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def wait(what: Callable[[], Any]) -> None:
    """Waits until something is true.

    Raises:
      ValueError: it takes too long.
    """
    until = time.perf_counter() + PATIENCE
    while not what():
        if time.perf_counter() > until:
            raise ValueError(f"bench: expected the server to go on within {PATIENCE:.0f} s; it did not.")
        time.sleep(0.05)
