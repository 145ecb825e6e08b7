"""Training two towers beside the model of TFRS' retrieval tutorial, on its data: pairs asked for per second.

Two of ours: the towers over sets that the comparison on MovieLens-100K judges (`pipelines.tutorial`), and, as rows
with `|two_towers`, those of the retrieval stage, which read histories in order. A pair is a rating that the loss asks
for; what the towers over sets show to their query counts for nothing here.
"""

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipelines.benches import server
from pipelines.benches.rounds import Settings, paired
from pipelines.tutorial import ratings as split
from pipelines.tutorial.ratings import Ratings
from pipelines.tutorial.stock import StockSettings, batches, build_stock
from tfrec_llm import data, retrieval, training
from tfrec_llm.config import Config, Data, choose
from tfrec_llm.layers.lazy_adam import for_rows, make_adam
from tfrec_llm.retrieval.pairs import pair_passes
from tfrec_llm.retrieval.set_towers import SetTowersSettings, compiled, train_sets
from tfrec_llm.training.strategy import available_cores
from tfrec_llm.types import History

STOCK = {  # key of bench.json -> the tutorial's model, and the steps of its pass that a round takes
    "towers.tfrs_stock": (StockSettings(metrics=True), 2),
    "towers.tfrs_metrics_off": (StockSettings(), 5),
    "towers.tfrs_corrected": (StockSettings(correction=True), 5),
}
PASSES = 40  # of the towers over sets in a round: one is over in a blink
ALS = {"factors": 64, "regularization": 0.05, "alpha": 10.0, "iterations": 15}


def beside_tutorial(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """The tutorial's model in three forms, and ALS -> key and entry of bench.json.

    Args:
      settings: `config.retrieval` and `config.train` are of our towers.
    """
    threads = settings.config.train.threads or available_cores()
    ratings = split.load_ratings("test")
    ours = {"": sets_pass(ratings, settings.config.seed), "|two_towers": windows_pass(ratings, settings.config)}
    for key, (stock, steps) in STOCK.items():
        theirs = stock_pass(stock, ratings, steps, settings.config.seed)
        for segment, (run, about) in ours.items():
            setup = {"threads": threads, "dtype": "float32", "ratings": len(ratings.train), **about}
            setup |= {"peer_batch": stock.batch_size, "peer_dim": stock.dim, "peer_steps": steps}
            yield key + segment, paired(key + segment, run, theirs, settings.rounds, "pairs/s", setup)
    yield "towers.implicit_als", beside_als(ratings, settings, threads)


def sets_pass(ratings: Ratings, seed: int) -> tuple[Callable[[], float], Mapping[str, Any]]:
    """A function that runs passes of the towers over sets and gives pairs asked for per second; what to say of it."""
    own, watched = SetTowersSettings(), ratings.watched()
    model, rows = compiled(own, watched, seed)
    asked = float(watched.sum()) * (1 - own.shown) / 2  # the share shown is uniform between own.shown and 1

    def run() -> float:
        begin = time.perf_counter()
        model.fit(rows, epochs=PASSES, verbose=0)
        return PASSES * asked / (time.perf_counter() - begin)

    return run, {"model": "set_towers", "batch": own.batch_size, "dim": own.dim, "asked_per_pass": round(asked)}


def windows_pass(ratings: Ratings, config: Config) -> tuple[Callable[[], float], Mapping[str, Any]]:
    """The same of the retrieval stage's towers, trained by ids alone on as many of the ratings."""
    dataset = data.load_dataset(Data(source="movielens_100k", min_item_count=1), config.seed)
    rows = np.zeros(len(dataset.interactions.item), bool)
    rows[ratings.train] = True  # of another order than the file's, which changes no cost
    dataset = dataclasses.replace(dataset, split=dataclasses.replace(dataset.split, train=rows))
    num_rows = len(dataset.catalogue.item_ids)
    own, builder = choose(retrieval.MODELS, config.retrieval.model, "retrieval.model")
    passes = pair_passes(
        dataset, targets=own.targets, context=own.context, batch_size=config.retrieval.batch_size,
        negatives=own.negatives, seed=config.seed,
    )  # fmt: skip

    def build(compute: training.Compute) -> tf.keras.Model:
        tf.keras.utils.set_random_seed(config.seed)
        model = builder(own, dataset, None, config.retrieval.batch_size)
        model(History(tf.zeros([1, 1], tf.int32), tf.zeros([1, 1], tf.int32), tf.zeros([1, 1], tf.int64)))
        model.compile(
            make_adam(config.retrieval.learning_rate, num_rows, config.train), jit_compile=compute.jit_compile
        )
        return model

    settings = for_rows(num_rows, config.train)
    compute = training.choose_compute(build, training.commonest(passes(0)), settings, stage=f"bench {own}")
    with training.precision(compute):
        model = build(compute)
    count = itertools.count(1)

    def run() -> float:
        one = passes(next(count))
        begin = time.perf_counter()
        model.fit(training.untuned(one), verbose=0)
        return len(ratings.train) / (time.perf_counter() - begin)

    about = {"model": config.retrieval.model.name, "dtype": compute.precision, "xla": compute.jit_compile}
    return run, about | {"batch": config.retrieval.batch_size, "dim": own.dim}


def stock_pass(stock: StockSettings, ratings: Ratings, steps: int, seed: int) -> Callable[[], float]:
    """A function that runs some steps of the tutorial's model and gives its pairs per second."""
    tf.keras.utils.set_random_seed(seed)
    model, pairs = build_stock(stock, ratings), batches(stock, ratings, seed)
    steps = min(steps, len(ratings.train) // stock.batch_size)

    def run() -> float:
        begin = time.perf_counter()
        model.fit(training.untuned(pairs.take(steps)), verbose=0)  # it would wait as ours did
        return steps * stock.batch_size / (time.perf_counter() - begin)

    return run


def beside_als(ratings: Ratings, settings: Settings, threads: int) -> dict[str, Any]:
    """Whole fits, ours and implicit's ALS, with the share of judged films in the top 100 that each reaches.

    Args:
      ratings: the tutorial's split.
      settings: rounds and seed.
      threads: of both.
    """
    watched, seed, own = ratings.watched(), settings.config.seed, SetTowersSettings()
    found: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory(prefix="tfrec_llm-bench-") as folder:
        paths = {name: str(Path(folder) / f"{name}.npy") for name in ("watched", "keep")}
        np.save(paths["watched"], watched)
        with server.start("peers", "peer_search.py", threads) as peer:

            def ours() -> float:
                begin = time.perf_counter()
                model = train_sets(own, watched, seed)
                seconds = time.perf_counter() - begin
                query = model(tf.constant(watched))
                found["ours"] = tf.matmul(query, model.item_table(), transpose_b=True).numpy()
                return 1 / seconds

            def theirs() -> float:
                answer = peer.ask({"do": "als", "seed": seed, "threads": threads, **ALS, **paths})
                found["peer"] = np.load(paths["keep"])
                return 1 / answer["seconds"]

            setup = {"threads": threads, "dtype": "float32", "batch": own.batch_size, "ratings": len(ratings.train)}
            entry = paired("towers.implicit_als", ours, theirs, settings.rounds, "fits/s", {**setup, "peer": ALS})
    top = {who: split.top_share(scores, ratings, 100) for who, scores in found.items()}
    unseen = {who: split.top_share(np.where(watched > 0, -np.inf, s), ratings, 100) for who, s in found.items()}
    entry["setup"] |= {"top_100": top, "top_100_without_seen": unseen}
    return entry
