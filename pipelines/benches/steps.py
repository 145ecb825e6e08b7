"""A training step of the behaviour model with a large catalogue beside one with a small catalogue.

Each catalogue has a process of its own, so that memory can be told apart; the two take turns. What the moving average
costs is counted with what it is worth of a step.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from pipelines.benches.rounds import Settings
from tfrec_llm import behaviour, training
from tfrec_llm.config import Config, build, choose, to_table
from tfrec_llm.data import load_domain
from tfrec_llm.layers.lazy_adam import make_adam
from tfrec_llm.training import Compute
from tfrec_llm.training.averages import RAREST, WeightAverage
from tfrec_llm.types import FIRST_ITEM, Catalogue, Dataset, History, Interactions, Queries, Split

ROOT = Path(__file__).parents[2]
KEY = "step.catalogue_1m_over_10k"
SIZES = (10_000, 1_000_000)  # items
STEPS = 10  # of a round
EVENTS = 1_000_000  # of the made-up log that popularity is counted on


def step(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Seconds per step with a million items as multiples of those with ten thousand -> entry of bench.json.

    Args:
      settings: `config.behaviour` and `config.train` say model, batch and negatives; `rounds`.
    """
    sampled = replace(settings.config.behaviour, full_softmax_max_items=1)
    config = replace(settings.config, behaviour=sampled, train=replace(settings.config.train, xla="off"))
    servers = [_start(config, size) for size in SIZES]
    try:
        yield KEY, measured(servers, settings.rounds, config)
    finally:
        for server in servers:
            server.stdin.close()
            server.wait(timeout=60)


def measured(servers: list[subprocess.Popen], rounds: int, config: Config) -> dict[str, Any]:
    """The entry: median of the ratios of the rounds, seconds and memory of both in its setup."""
    pairs = []
    for number in tqdm(range(rounds + 1), desc=KEY, unit="round"):
        order = (0, 1) if number % 2 else (1, 0)
        told = {place: _ask(servers[place]) for place in order}
        pairs.append([told[place] for place in range(len(SIZES))])
    pairs = pairs[1:]  # the first round warms both up
    ratios = [large["seconds"] / small["seconds"] for small, large in pairs]
    memory = [told["peak_memory_gb"] for told in pairs[-1]]
    setup = {
        "items": list(SIZES),
        "seconds": [statistics.median(pair[place]["seconds"] for pair in pairs) for place in range(len(SIZES))],
        "average_seconds_of_it": [pairs[-1][place]["average"] for place in range(len(SIZES))],
        "peak_memory_gb": memory,
        "bytes_per_item": round((memory[1] - memory[0]) * 2**30 / (SIZES[1] - SIZES[0])),
        "batch": config.behaviour.batch_size,
        "length": config.behaviour.max_history,
        "negatives": config.behaviour.num_sampled,
        "dtype": "float32",
        "threads": config.train.threads or training.strategy.available_cores(),
        "rounds": rounds,
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }
    return {"value": statistics.median(ratios), "unit": "times", "setup": setup}


def made_up(num_items: int, events: int, seed: int = 0) -> Dataset:
    """A log without meaning whose items are as unevenly popular as real ones (Zipf's law)."""
    draw = np.random.default_rng(seed)
    item = (num_items ** draw.random(events)).astype(np.int32) - 1 + FIRST_ITEM
    zeros = np.zeros(events, np.int32)
    log = Interactions(zeros, item, zeros.astype(np.int64), zeros, zeros.astype(np.float32), np.array(["u"]))
    names, nothing = np.array([str(row) for row in range(num_items + FIRST_ITEM)]), np.zeros(0, np.int64)
    price = np.full(len(names), np.nan, np.float32)
    none = Queries(*[nothing] * 5, offsets=np.zeros(1, np.int64))
    split = Split(np.ones(events, bool), none, nothing.astype(bool), nothing.astype(bool), none)
    catalogue = Catalogue(names, names, names, {}, price, np.ones(len(names), bool))
    return Dataset("made up", load_domain("video"), log, catalogue, split, {})


class Trainer:
    """Whole training steps: loss, gradients, optimizer; and the moving average beside them.

    Args:
      config: as of `step`.
      num_items: of the catalogue.
      events: of the log that popularity is counted on.
    """

    def __init__(self, config: Config, num_items: int, events: int = EVENTS):
        settings, dataset = config.behaviour, made_up(num_items, events)
        own, builder = choose(behaviour.MODELS, settings.model, "behaviour.model")
        with training.precision(Compute("float32", False)):
            model = builder(own, config, dataset, None)
        model.compile(make_adam(settings.learning_rate, num_items + FIRST_ITEM, config.train))
        shape = (settings.batch_size, settings.max_history)
        item = np.random.default_rng(1).choice(dataset.interactions.item, (STEPS, *shape))
        event, time_of = np.full(shape, FIRST_ITEM, np.int32), np.arange(1, shape[1] + 1)[None].repeat(shape[0], 0)
        parts = (item.astype(np.int32), np.stack([event] * STEPS), np.stack([time_of] * STEPS).astype(np.int64))
        batches = tf.data.Dataset.from_tensor_slices(History(*parts)).repeat()
        self._batches, self._step = iter(batches), model.make_train_function()
        self._average = WeightAverage(settings.weight_average)
        self._average.set_model(model)
        self._step(self._batches)
        self._average.on_train_batch_end(0)

    def round(self, steps: int = STEPS) -> dict[str, float]:
        """Seconds per step, how much of it is the average's, and the process's highest memory so far."""
        begin = time.perf_counter()
        for _ in range(steps):
            logs = self._step(self._batches)
        float(logs["loss"])  # waits
        seconds = (time.perf_counter() - begin) / steps
        average = self._averaging()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        return {"seconds": seconds + average, "average": average, "peak_memory_gb": round(peak, 3)}

    def _averaging(self) -> float:
        """Seconds per step of the moving average, over as many steps as its rarest part waits for."""
        begin = time.perf_counter()
        for batch in range(RAREST):
            self._average.on_train_batch_end(batch)
        return (time.perf_counter() - begin) / RAREST


def _start(config: Config, size: int) -> subprocess.Popen:
    code = "from pipelines.benches import steps; steps.main()"
    command = [sys.executable, "-c", code, str(size), json.dumps(to_table(config))]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _ask(server: subprocess.Popen) -> Mapping[str, float]:
    server.stdin.write("round\n")
    server.stdin.flush()
    line = server.stdout.readline()
    if not line:
        raise ValueError(f"{KEY}: expected an answer of a training process, got none: its message stands above.")
    return json.loads(line)


def _serve(size: int, table: Mapping[str, Any], lines: Iterator[str], answer: Callable[[str], None]) -> None:
    config = build(Config, table, where="bench")
    training.set_threads(config.train)
    trainer = Trainer(config, size)
    for _ in lines:
        answer(json.dumps(trainer.round()))


def main() -> None:
    """A training process: arguments are the number of items and the config; a line in, a round's figures out."""
    _serve(int(sys.argv[1]), json.loads(sys.argv[2]), sys.stdin, lambda line: print(line, flush=True))
