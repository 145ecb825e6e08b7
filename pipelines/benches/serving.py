"""The application server under load: latencies, requests a second, events a second, other versions, kills.

A finished run is copied (its export by hard links) and served on this machine's loopback, by a process of its own as
`make serve` starts it. Client and server share the cores.
"""

import json
import os
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.benches.client import HISTORY, Served, ask, asking, between, health, post, served, spent, together, wait
from pipelines.benches.rounds import Settings
from tfrec_llm import serving
from tfrec_llm.feedback import EventLog, sqlite_url
from tfrec_llm.serving import versions
from tfrec_llm.training.strategy import available_cores

TEXTS = ("something funny for tonight", "手机", "a quiet film about the sea", "便宜 大屏", "play a sad song")
LONG, CLIENTS = 200, 8  # history items of the long requests; clients at once
DECISIONS, BATCH = 2500, 256  # logged before a batch of so many events is learnt from


def under_load(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every measurement of serving -> key and entry of bench.json.

    Args:
      settings: `served`, the run; `rounds`, times 40 requests one after the other; `reloads`, `kills`, `seconds`.

    Raises:
      ValueError: no finished run there.
    """
    if not versions.served_version(settings.served / "export"):
        raise ValueError(
            f"--served: expected a finished run, got {settings.served}; train it: make train CONFIG=video."
        )
    setup = {"threads": available_cores(), "items": 0, "history": HISTORY, "k": 10, "run": settings.served.name}
    with tempfile.TemporaryDirectory(prefix="tfrec_llm-bench-") as place:
        run = _copy(settings.served, Path(place) / "run")
        with served(run) as server:
            setup["items"] = len(server.items)
            yield from _latencies(server, 40 * settings.rounds, setup)
            yield from _reloads(server, settings, setup)
            yield "serve.events_per_second", _accepts(server, settings.seconds, setup)
        with served(run, engine="export") as server:
            yield from _percentiles(server, "plain_text_", 40 * settings.rounds, TEXTS, HISTORY, setup)
        yield "serve.event_to_version_seconds", _learns(_copy(settings.served, Path(place) / "learns"), setup)
        yield "serve.kills", _kills(run, settings.kills, setup)


def _latencies(server: Served, count: int, setup: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    export = server.run / "export" / str(versions.served_version(server.run / "export"))
    size = sum(path.stat().st_size for path in export.rglob("*") if path.is_file())
    yield "serve.export_mb", _value(size / 1e6, "MB", setup)
    yield "serve.start_seconds", _value(server.seconds, "s", setup)
    first = ask(server, 1, 1).seconds[0]
    yield from _percentiles(server, "", count, ("",), HISTORY, {**setup, "first_ms": 1000 * first})
    yield from _percentiles(server, "text_", count, TEXTS, HISTORY, setup)
    yield from _percentiles(server, "history_200_", count, ("",), LONG, setup)
    load = ask(server, count * CLIENTS // 2, CLIENTS)
    more = {"clients": CLIENTS, "failed": load.failed, "p99_ms": 1000 * float(np.percentile(load.seconds, 99))}
    yield "serve.http_requests_per_second", _value(len(load.seconds) / load.wall, "requests/s", {**setup, **more})


def _percentiles(
    server: Served, name: str, count: int, texts: tuple[str, ...], history: int, setup: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Half and all but one per cent of requests, one after the other, take at most so long; the mean of each part."""
    before = spent(server)
    seconds = 1000 * ask(server, count, 1, texts, history).seconds
    parts = {f"{part}_ms": taken for part, taken in between(before, spent(server)).items()}
    for percent in (50, 99):
        value = float(np.percentile(seconds, percent))
        yield (
            f"serve.{name}p{percent}_ms",
            _value(value, "ms", {**setup, "requests": count, "history": history, **parts}),
        )


def _reloads(server: Served, settings: Settings, setup: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Other versions under load: failed requests, the slowest percent beside that of steady load, memory."""
    export = server.run / "export"
    first = versions.served_version(export)
    steady = ask(server, 40 * settings.rounds, 2)
    policy = serving.read_policy(export / str(first))
    versions_made = [serving.export_policy(export / str(first), policy).name for _ in range(2)]
    whole = export / str(int(versions_made[-1]) + 1)
    _other_graph(export / str(first), whole)
    in_place = [*map(int, versions_made)] * (settings.reloads // 2)
    full = [int(whole.name), first] * max(1, settings.reloads // 40)
    for name, order in (("in_place", in_place), ("full", full)):
        memory, times = [], []
        with asking(server) as seen:
            for version in order:
                began = time.perf_counter()
                versions.promote(export, version)
                wait(lambda version=version: health(server).get("model_version") == str(version))
                times.append(time.perf_counter() - began)
                memory.append(_memory(server.process.pid))
        p99 = float(np.percentile([s for s, _ in seen], 99))
        more = {
            "reloads": len(order), "requests": len(seen), "failed": sum(not ok for _, ok in seen),
            "p99_over_steady": p99 / float(np.percentile(steady.seconds, 99)),
            "memory_last_over_10th": memory[-1] / memory[min(9, len(memory) - 1)],
        }  # fmt: skip
        yield f"serve.reload_{name}_seconds", _value(float(np.median(times)), "s", {**setup, **more})


def _accepts(server: Served, seconds: float, setup: Mapping[str, Any]) -> dict[str, Any]:
    """Events for a while, in requests of 100, and whether each of them is there once."""
    decision = post(server, "/recommend", {"user_id": "bench", "k": 10})
    items, sent, began, lock = [item["id"] for item in decision["items"]], [], time.perf_counter(), threading.Lock()

    def send(number: int) -> None:
        place = 0
        while time.perf_counter() - began < seconds:
            names = [f"bench-{number}-{place}-{row}" for row in range(100)]
            body = [
                {"event_id": name, "decision_id": decision["decision_id"], "item_id": items[row % len(items)],
                 "event": server.events[0]} for row, name in enumerate(names)
            ]  # fmt: skip
            if "error" not in post(server, "/feedback", body):
                with lock:
                    sent.extend(names)
            place += 1

    together(send, 4)
    wall = time.perf_counter() - began
    kept = EventLog(sqlite_url(server.run / "log.db")).read_events().event_id.tolist()
    lost, twice = len(set(sent) - set(kept)), len(kept) - len(set(kept))
    told = {"seconds": wall, "sent": len(sent), "lost": lost, "twice": twice}
    return _value(len(sent) / wall, "events/s", {**setup, **told})


def _learns(run: Path, setup: Mapping[str, Any]) -> dict[str, Any]:
    """From the events that complete a batch to the next version answering; the gate lets every version pass."""
    more = ("serving.learn=true", "learn.window=1", f"learn.batch_events={BATCH}", "gate.margin=1")
    with served(run, more=more) as server:
        answers = [post(server, "/recommend", {"user_id": f"user {n}", "k": 10}) for n in range(DECISIONS)]
        time.sleep(3)  # all of them are settled
        events = [
            {"event_id": f"learns-{n}", "decision_id": answer["decision_id"], "item_id": answer["items"][0]["id"],
             "event": server.events[-1]} for n, answer in enumerate(answers[:BATCH])
        ]  # fmt: skip
        before, began = health(server)["model_version"], time.perf_counter()
        post(server, "/feedback", events)
        wait(lambda: health(server).get("model_version") not in (before, None))
        seconds = time.perf_counter() - began
    return _value(seconds, "s", {**setup, "decisions": DECISIONS, "events": BATCH})


def _kills(run: Path, count: int, setup: Mapping[str, Any]) -> dict[str, Any]:
    """`kill -9` of server and worker at random moments under feedback: acknowledged events that are not there.

    Raises:
      ValueError: a kill left a database that is not whole.
    """
    acknowledged, draw, opened = [], np.random.default_rng(1), 0
    for number in range(count):
        with served(run, engine="export") as server, _feeding(server, number, acknowledged):
            time.sleep(draw.uniform(0.05, 1.0))
            os.killpg(server.process.pid, signal.SIGKILL)
        kept = EventLog(sqlite_url(run / "log.db"))
        there = set(kept.read_events().event_id.tolist())
        kept.close()
        _check_whole(run / "log.db")
        opened += 1
    lost = len(set(acknowledged) - there) if count else 0
    return _value(lost, "lost events", {**setup, "kills": count, "opened": opened, "acknowledged": len(acknowledged)})


def _check_whole(path: Path) -> None:
    """Refuses a database that SQLite itself finds damaged."""
    with closing(sqlite3.connect(path)) as database:
        ((found,),) = database.execute("PRAGMA integrity_check(1)").fetchall()
    if found != "ok":
        raise ValueError(f"bench: expected {path} to be whole after a kill, got: {found}.")


@contextmanager
def _feeding(server: Served, number: int, acknowledged: list[str]) -> Iterator[None]:
    """Feedback without a pause while the block runs; what was acknowledged is noted."""
    decision = post(server, "/recommend", {"user_id": "bench", "k": 10})
    over, item = threading.Event(), decision["items"][0]["id"]

    def send(client: int) -> None:
        place = 0
        while not over.is_set():
            name = f"kill-{number}-{client}-{place}"
            event = {"event_id": name, "decision_id": decision["decision_id"], "item_id": item}
            try:
                answer = post(server, "/feedback", [{**event, "event": server.events[0]}])
            except (OSError, HTTPException, ValueError):
                return
            if "new" in answer:
                acknowledged.append(name)
            place += 1

    threads = [threading.Thread(target=send, args=(client,)) for client in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _copy(run: Path, place: Path) -> Path:
    """A run folder of its own around the same files."""
    place.mkdir(parents=True)
    for part in run.iterdir():
        if part.name not in ("export", "secret") and not part.name.startswith("log.db"):
            (place / part.name).symlink_to(part.resolve())
    version = str(versions.served_version(run / "export"))
    shutil.copytree(run / "export" / version, place / "export" / version)
    return place


def _other_graph(source: Path, target: Path) -> None:
    """A version that differs from another in more than its policy: it lacks a file that nobody needs."""
    left_out = shutil.ignore_patterns("fingerprint.pb", "manifest.json")
    shutil.copytree(source, target, copy_function=os.link, ignore=left_out)
    manifest = json.loads((source / "manifest.json").read_text("utf-8"))
    manifest["files"].pop("fingerprint.pb", None)
    (target / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def _memory(group: int) -> float:
    """Resident memory of a process group, in GB."""
    total = 0
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            total += int(fields[21]) if int(fields[2]) == group else 0
        except (OSError, IndexError, ValueError):
            continue
    return total * os.sysconf("SC_PAGE_SIZE") / 1e9


def _value(value: float, unit: str, setup: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": value, "unit": unit, "setup": dict(setup)}
