"""Simulated users of a running server: sessions of the judge over HTTP, and the reward over time.

They come by dozens, ask `/recommend`, look, take, report to `/feedback` and ask again. With `serving.learn=true` the
server learns from them; the curve shows whether it does.
"""

import ipaddress
import logging
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import numpy as np
import requests
import tensorflow as tf
from tqdm import tqdm

from pipelines import sessions
from tfrec_llm import evaluation
from tfrec_llm.config import Config
from tfrec_llm.ranking.simulators import fit_simulator, make_sessions, shifted, taking_event
from tfrec_llm.ranking.simulators.played import Asked, Decided, Step, steps
from tfrec_llm.types import FIRST_ITEM, PADDING, Dataset

log = logging.getLogger(__name__)
AT_ONCE, TIMEOUT = 8, 30.0  # requests; seconds
ROUND = 32  # sessions that go on at the same time


class Driver(NamedTuple):
    """A server, and what its ids mean."""

    url: str
    session: requests.Session
    pool: ThreadPoolExecutor
    ids: np.ndarray  # item index -> id
    index: dict[str, int]
    events: Sequence[str]  # by index
    slots: int
    exclude: int  # items that a request may exclude at most

    def post(self, path: str, body: Any) -> Any:
        """The answer of one request.

        Raises:
          ValueError: the server is not there, or refuses.
        """
        try:
            answer = self.session.post(self.url + path, json=body, timeout=TIMEOUT)
            said = answer.json()
        except (requests.RequestException, ValueError) as error:
            raise ValueError(f"{self.url}: expected a running server (make serve), got: {error}.") from error
        if not answer.ok:
            raise ValueError(f"{self.url}{path}: expected an answer, got {answer.status_code}: {said.get('error')}")
        return said


def drive(config: Config, run: Path, dataset: Dataset) -> dict[str, dict]:
    """Plays `simulate.drive_sessions` sessions against `simulate.server`.

    Args:
      config: `simulate`, `export`, `ranking` and `seed` are read.
      run: the run that is served; `<run>/reward_over_time.svg` is written.
      dataset: what `prepare` left.

    Returns:
      `ranking.server.reward` per session, and that of the first and of the last tenth of the rounds.

    Raises:
      ValueError: a server that is not on this machine, none there, or one that refuses.
    """
    _check_near(config.simulate.server)
    tables, _ = fit_simulator("judge", dataset, None, config.seed)
    world = make_sessions(shifted(tables, dataset, config.simulate.crowd_shift, config.seed), dataset)
    rows = sessions.judged_rows(config, dataset)
    visitors = sessions.make_visitors(dataset, getattr(dataset.split, config.evaluate.split), rows, config)
    generator, rewards, versions = np.random.default_rng([config.seed, 13]), [], []
    event = taking_event(dataset)
    with requests.Session() as session, ThreadPoolExecutor(AT_ONCE) as pool:
        driver = _driver(config, dataset, session, pool)
        rounds = -(-config.simulate.drive_sessions // ROUND)
        with tqdm(total=rounds, desc="sessions over HTTP", unit="round", leave=False) as bar:
            for number in range(rounds):
                chosen = generator.choice(len(rows), min(ROUND, len(rows)), replace=False)
                some = tf.nest.map_structure(lambda column, chosen=chosen: column[chosen], visitors)
                played = steps(world, lambda asked: _decide(driver, asked), some, event, config.seed * 7919 + number)
                total, version = 0.0, ""
                for step in played:
                    total += float(step.outcome.reward.numpy().sum())
                    version = _report(driver, step, driver.events[event]) or version
                rewards.append(total / len(chosen))
                versions.append(version)
                bar.set_postfix(reward=f"{rewards[-1]:.3f}", version=version)
                bar.update()
    return _figures(rewards, versions, run)


def _check_near(url: str) -> None:
    """Refuses a server that people may use: what they like would be learnt from what nobody did."""
    try:
        host = urlsplit(url).hostname or ""
        is_near = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_near = False
    if not is_near:
        raise ValueError(
            f"simulate.server: expected a URL of this machine such as http://127.0.0.1:8500, got {url!r}: what "
            "simulated users do is written into the server's log; start one here, with a log of its own."
        )


def _driver(config: Config, dataset: Dataset, session: requests.Session, pool: ThreadPoolExecutor) -> Driver:
    ids = np.array(["", "", *map(str, dataset.catalogue.item_ids[FIRST_ITEM:])])
    index = {name: place for place, name in enumerate(ids) if name}
    events = ("", "", *dataset.domain.events)
    url, width = config.simulate.server.rstrip("/"), config.export.max_exclude
    session.mount("http", requests.adapters.HTTPAdapter(pool_maxsize=AT_ONCE))
    return Driver(url, session, pool, ids, index, events, config.ranking.slate, width)


def _decide(driver: Driver, asked: Asked) -> Decided:
    """Asks for every visitor's slate."""
    history, times, exclude = (tf.nest.map_structure(lambda t: t.numpy(), part) for part in asked[:3])

    def one(row: int) -> dict[str, Any]:
        kept = history.item[row] > PADDING
        columns = (driver.ids[history.item[row][kept]], history.event[row][kept], history.time[row][kept])
        items = [[str(item), driver.events[event], int(time)] for item, event, time in zip(*columns, strict=True)]
        seen = driver.ids[exclude[row][exclude[row] > PADDING]][-driver.exclude :]
        body = {"user_id": f"simulated {row}", "history": items, "exclude": [str(item) for item in seen]}
        return driver.post("/recommend", {**body, "request_time": int(times[row]), "k": driver.slots})

    answers = list(driver.pool.map(one, range(len(times))))
    slates = np.zeros((len(answers), driver.slots), np.int32)
    for row, answer in enumerate(answers):
        shown = [driver.index.get(item["id"], PADDING) for item in answer["items"]]
        slates[row, : len(shown)] = shown
    return Decided(tf.constant(slates), tf.constant(slates), tuple(answers))


def _report(driver: Driver, step: Step, kind: str) -> str:
    """Tells the server what was taken; the version that answered."""
    answers, taken = step.decided.situation, step.outcome.taken.numpy()
    events = [
        {"event_id": uuid.uuid4().hex, "decision_id": answer["decision_id"], "item_id": str(item), "event": kind}
        for answer, row in zip(answers, taken, strict=True)
        for item in driver.ids[row[row > PADDING]]
        if answer["decision_id"]
    ]
    if events:
        driver.post("/feedback", events)
    return answers[0]["model_version"] if answers else ""


def _figures(rewards: list[float], versions: list[str], run: Path) -> dict[str, dict]:
    tenth = max(1, len(rewards) // 10)
    changed = [place for place in range(1, len(versions)) if versions[place] != versions[place - 1]]
    path = evaluation.write_curve(rewards, run / "reward_over_time.svg", "reward per session over HTTP", marks=changed)
    log.info("reward per session: first tenth %.4f, last %.4f, %d versions; drawn in %s",
             np.mean(rewards[:tenth]), np.mean(rewards[-tenth:]), len(changed) + 1, path)  # fmt: skip
    parts = {"reward": rewards, "reward_first_tenth": rewards[:tenth], "reward_last_tenth": rewards[-tenth:]}
    return {
        f"ranking.server.{name}": evaluation.entry(float(np.mean(values)), len(values) * ROUND, "validation")
        for name, values in parts.items()
    }
