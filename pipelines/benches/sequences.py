"""Training the behaviour model beside RecBole's GRU4Rec and SASRec: targets per second, same events, same width.

Ours trains all positions of a sequence in one pass; RecBole copies the events before each target into a row of its own,
cut at its default of 50, where ours reads up to `behaviour.max_history`.
"""

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.benches import server
from pipelines.benches.rounds import Settings, paired
from tfrec_llm import behaviour, data, training
from tfrec_llm.config import Config, choose
from tfrec_llm.data.pipeline import sequence_passes
from tfrec_llm.layers.lazy_adam import for_rows, make_adam
from tfrec_llm.training.averages import WeightAverage
from tfrec_llm.training.strategy import available_cores
from tfrec_llm.types import Dataset, ItemVectors

NAME = "bench"
TEXT_DIM = 384  # of the item texts' vectors, as our encoders have them
SECONDS = 10.0  # a round of the peer takes at least


def lstm(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Both peers -> key and entry of bench.json.

    Args:
      settings: `config.data` and `config.behaviour`; `events` of training are used, of users taken at random.
    """
    config, threads = settings.config, settings.config.train.threads or available_cores()
    dataset = some_users(data.load_dataset(config.data, config.seed), settings.events, config.seed)
    ours, setup = trainer(config, dataset)
    own, _ = choose(behaviour.MODELS, config.behaviour.model, "behaviour.model")
    setup |= {"threads": threads, "units": own.units, "dim": own.dim, "events": int(dataset.split.train.sum())}
    with tempfile.TemporaryDirectory(prefix="tfrec_llm-bench-") as folder:
        write_interactions(dataset, Path(folder))
        for key, asked in peers(own).items():
            with server.start("recbole", "peer_recbole.py", threads) as peer:
                load = {"do": "load", "folder": folder, "dataset": NAME, "threads": threads, "seed": config.seed}
                versions = peer.ask({**load, **asked})
                rate = lambda peer=peer: _rate(peer.ask({"do": "train", "seconds": SECONDS}))  # noqa: E731
                told = {f"peer_{name}": value for name, value in versions.items()} | {"peer_model": asked["model"]}
                told |= {f"peer_{name}": value for name, value in asked["settings"].items()}
                yield key, paired(key, ours, rate, settings.rounds, "targets/s", {**setup, **told})


def peers(own: Any) -> dict[str, dict[str, Any]]:
    """Key of bench.json -> what the peer loads, at the width of our model; the rest is RecBole's default.

    Args:
      own: settings of our model: `units`, `dim`.
    """
    gru = {"embedding_size": own.dim, "hidden_size": own.units, "num_layers": 1}
    return {
        "lstm.recbole_gru4rec": {"model": "GRU4Rec", "settings": gru},
        "lstm.recbole_sasrec": {"model": "SASRec", "settings": {"hidden_size": own.dim, "inner_size": own.units}},
    }


def some_users(dataset: Dataset, events: int, seed: int) -> Dataset:
    """The same data set with the training events of some users only: about `events`, whole users at random.

    Args:
      dataset: what is cut; items and queries stay.
      events: of training.
      seed: draws the users.
    """
    train, user = dataset.split.train, dataset.interactions.user
    counts = np.bincount(user[train], minlength=len(dataset.interactions.user_ids))
    order = np.random.default_rng(seed).permutation(len(counts))
    chosen = order[: int(np.searchsorted(np.cumsum(counts[order]), events)) + 1]
    return dataclasses.replace(dataset, split=dataclasses.replace(dataset.split, train=train & np.isin(user, chosen)))


def trainer(config: Config, dataset: Dataset) -> tuple[Callable[[], float], dict[str, Any]]:
    """Our training as the behaviour stage does it: a function that runs one pass and gives its targets per second.

    Item texts are random vectors of the right width: what they say changes no cost.

    Args:
      config: `behaviour`, `train` and the seed are read.
      dataset: what is trained on.

    Returns:
      The function, and what to say beside its figures.
    """
    own, builder = choose(behaviour.MODELS, config.behaviour.model, "behaviour.model")
    text = np.random.default_rng(config.seed).standard_normal((len(dataset.catalogue.item_ids), TEXT_DIM), np.float32)
    items = ItemVectors(text, None, None, None, np.ones((len(text), 1), bool))
    passes = sequence_passes(dataset, config.behaviour.max_history, config.behaviour.batch_size, config.seed)

    def build(compute: training.Compute) -> tf.keras.Model:
        tf.keras.utils.set_random_seed(config.seed)
        model = builder(own, config, dataset, items, fixed_steps=compute.jit_compile)
        optimizer = make_adam(config.behaviour.learning_rate, len(text), config.train)
        model.compile(optimizer=optimizer, jit_compile=compute.jit_compile)
        return model

    settings = for_rows(len(text), config.train)
    compute = training.choose_compute(build, next(iter(passes(0))), settings, stage=f"bench {own}")
    with training.precision(compute):
        model = build(compute)
    count, average = itertools.count(1), WeightAverage(config.behaviour.weight_average)

    def one_pass() -> float:
        batches = passes(next(count))
        begin = time.perf_counter()
        model.fit(training.untuned(batches), callbacks=[average], verbose=0)
        return int(dataset.split.train.sum()) / (time.perf_counter() - begin)

    about = {"model": config.behaviour.model.name, "dtype": compute.precision, "xla": compute.jit_compile}
    about |= {"history": config.behaviour.max_history, "items": len(text) - 2, "text_dim": TEXT_DIM}
    return one_pass, about | {"batch": config.behaviour.batch_size}


def write_interactions(dataset: Dataset, folder: Path) -> None:
    """The training events as RecBole reads them: `<folder>/bench/bench.inter`."""
    log, rows = dataset.interactions, np.flatnonzero(dataset.split.train)
    lines = [f"{log.user[row]}\t{log.item[row]}\t{log.time[row]}" for row in rows]
    training.files.write_text(
        folder / NAME / f"{NAME}.inter", "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *lines]) + "\n"
    )


def _rate(answer: dict[str, Any]) -> float:
    return answer["targets"] / answer["seconds"]
