"""Golden queries: greedy requests that travel with an export, and what a version must answer before it serves.

A worker asks them when it has loaded a version, or taken a policy over, and refuses what fails. Imports no TensorFlow.
"""

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfrec_llm.serving.columns import Row
from tfrec_llm.types import Dataset, Queries

NAME = "assets.extra/golden.json"
UTTERANCES = ("", "手机", "", "something funny for tonight", "", "便宜 大屏", "", "sad and beautiful")
QUERIES = 16
CROWD = 4  # histories that events are taken from, at least
HOUR, YEAR = 3_600, 31_536_000  # seconds
_BLANK: Mapping[str, Any] = {
    "request_id": "", "user_id": "", "utterance": "", "request_time": 0, "k": 10,
    **{name: [] for name in ("history", "history_event", "history_time", "attributes", "exclude")},
}  # fmt: skip
Answers = Mapping[str, Sequence[Any]]  # lists by name, B first: item_ids, scores, propensities
Ask = Callable[[Sequence[Row]], Answers]


def golden_rows(dataset: Dataset, width: int) -> list[dict[str, Any]]:
    """Requests with spliced histories, half with an utterance; one is of a stranger.

    They travel with an export, to whoever serves it, so no history of a user is among them.

    Args:
      dataset: what `prepare` left.
      width: events of a history at most.
    """
    _, found = history_rows(dataset, width, QUERIES - 1)
    rows = [{**_BLANK, "utterance": UTTERANCES[1]}, *spliced(found)]
    turns = itertools.cycle(UTTERANCES)
    next(turns)
    return [*rows[:1], *({**row, "utterance": next(turns)} for row in rows[1:])]


def spliced(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """The same requests with each event taken from another row, an hour apart, and the time cut to the year.

    Args:
      rows: the events of a place go round among those whose histories reach it; where fewer than `CROWD` do, histories
        end, so that nobody's is left.
    """
    reach = [[number for number, row in enumerate(rows) if len(row["history"]) > place] for place in range(_most(rows))]
    found = []
    for number, row in enumerate(rows):
        items, events = [], []
        for place, among in enumerate(reach):
            if number not in among or len(among) < CROWD:
                break
            other = rows[among[(among.index(number) + 1 + place % (len(among) - 1)) % len(among)]]
            items.append(other["history"][place])
            events.append(other["history_event"][place])
        time = max(row["request_time"] // YEAR * YEAR, min(row["request_time"], YEAR))
        times = [max(time - HOUR * (len(items) - place), min(time, 1)) for place in range(len(items))]
        new = {"history": items, "history_event": events, "history_time": times, "request_time": time}
        found.append({**row, **new})
    return found


def _most(rows: Sequence[Row]) -> int:
    return max((len(row["history"]) for row in rows), default=0)


def history_rows(dataset: Dataset, width: int, count: int) -> tuple[np.ndarray, list[dict[str, Any]]]:
    """Greedy requests without utterance of users spread evenly over the validation queries.

    Args:
      dataset: what `prepare` left.
      width: events of a history at most.
      count: requests at most.

    Returns:
      Their places among the queries, and the requests.
    """
    queries = dataset.split.validation
    asked = len(queries.user)
    places = np.unique(np.linspace(0, asked - 1, count).astype(int)) if asked else np.zeros(0, int)
    return places, request_rows(dataset, queries, places, width)


def request_rows(dataset: Dataset, queries: Queries, places: np.ndarray, width: int) -> list[dict[str, Any]]:
    """Greedy requests without utterance of some queries' users, ten items each.

    Args:
      dataset: what `prepare` left.
      queries: R of them.
      places: which ones.
      width: events of a history at most.
    """
    events, names, rows = dataset.interactions, ("", "", *dataset.domain.events), []
    for place in places:
        mine = np.arange(max(queries.begin[place], queries.end[place] - width), queries.end[place])
        history = {
            "history": [str(item) for item in dataset.catalogue.item_ids[events.item[mine]]],
            "history_event": [names[event] for event in events.event[mine]],
            "history_time": [int(time) for time in events.time[mine]],
        }
        rows.append({**_BLANK, "request_time": int(queries.time[place]), **history})
    return rows


def write_golden(folder: Path, rows: Sequence[Row], ask: Ask) -> None:
    """Writes `assets.extra/golden.json`: the requests, and what this version answers.

    Args:
      folder: a version's folder, finished but for its manifest.
      rows: requests.
      ask: the version's answers.
    """
    slates = ask(rows)["item_ids"] if rows else []
    kept = [{**row, "item_ids": list(slate)} for row, slate in zip(rows, slates, strict=True)]
    (folder / NAME).parent.mkdir(exist_ok=True)
    (folder / NAME).write_text(json.dumps(kept, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def check_golden(folder: Path, ask: Ask, overlap: float, most: int = QUERIES) -> None:
    """Asks a version its golden queries.

    Args:
      folder: the version's folder; one without such a file passes.
      ask: what is loaded.
      overlap: share of the exported version's slates that must be in its own, on average.
      most: queries at most, fewer where others wait: those of users, without utterance, the soonest answered.

    Raises:
      ValueError: a slot that the exported version filled is empty, numbers that are not finite, propensities outside
        (0, 1], or slates that have little to do with those of the exported version.
    """
    path = folder / NAME
    if not path.exists():
        return
    kept = json.loads(path.read_text("utf-8"))
    if most < len(kept):
        kept = [row for row in kept if row["history"] and not row["utterance"]]
        kept = sorted(kept, key=lambda row: len(row["history"]))[:most]
    if not kept:
        return
    answers = ask([{name: value for name, value in row.items() if name != "item_ids"} for row in kept])
    shared = []
    columns = (answers[name] for name in ("item_ids", "scores", "propensities"))
    for row, items, scores, chances in zip(kept, *columns, strict=True):
        shown = [place for place, item in enumerate(items) if item]
        numbers = [(scores[place], chances[place]) for place in shown]
        if len(shown) != sum(item != "" for item in row["item_ids"]):
            raise ValueError(f"{folder}: golden queries: expected as many items as when it was exported, got fewer.")
        if not all(math.isfinite(score) and 0 < chance <= 1 for score, chance in numbers):
            raise ValueError(
                f"{folder}: golden queries: expected finite scores and propensities in (0, 1], got others."
            )
        wanted = {item for item in row["item_ids"] if item}
        shared.append(len(wanted & set(items)) / len(wanted) if wanted else 1.0)
    if np.mean(shared) < overlap:
        raise ValueError(
            f"{folder}: golden queries: expected at least {overlap:.0%} of the items that the exported version showed, "
            f"got {np.mean(shared):.0%}."
        )
