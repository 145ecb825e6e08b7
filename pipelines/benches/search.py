"""Exact top-k beside faiss Flat: many queries together over 100,000 vectors, one by one over 1,000,000.

Both search the same random vectors under the inner product; the places are compared before anything is timed.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.benches import server
from pipelines.benches.rounds import Settings, paired
from tfrec_llm.config import Component
from tfrec_llm.retrieval import build_index
from tfrec_llm.training.strategy import available_cores
from tfrec_llm.types import FIRST_ITEM

DIM, K = 64, 100
CASES = {  # key of bench.json -> (items, queries, queries asked together, None = all)
    "topk.faiss_flat_100k": (100_000, 1024, None),
    "topk.faiss_flat_1m_single": (1_000_000, 50, 1),
}
LEAST_RECALL = 0.9999  # of faiss' places: below it one of the two is not exact (equal products in float32 may swap)


def top_k(settings: Settings) -> Iterator[tuple[str, dict[str, Any]]]:
    """Both cases -> key and entry of bench.json.

    Args:
      settings: `config.retrieval.index` is the index, the seed makes the vectors.

    Raises:
      ValueError: the two find different items.
    """
    for key, (items, count, together) in CASES.items():
        draw = np.random.default_rng(settings.config.seed)
        table = draw.standard_normal((items, DIM), np.float32)
        queries = draw.standard_normal((count, DIM), np.float32)
        yield key, beside(key, table, queries, together, settings)


def beside(
    key: str, table: np.ndarray, queries: np.ndarray, together: int | None, settings: Settings
) -> dict[str, Any]:
    """One case.

    Args:
      key: of bench.json.
      table: [N, D].
      queries: [B, D].
      together: queries asked at a time; None = all.
      settings: as of `top_k`.

    Raises:
      ValueError: the two find different items.
    """
    threads = settings.config.train.threads or available_cores()
    index = build_index(settings.config.retrieval.index, np.pad(table, [(FIRST_ITEM, 0), (0, 0)]))
    parts = [
        queries[begin : begin + (together or len(queries))] for begin in range(0, len(queries), together or 1 << 40)
    ]
    with tempfile.TemporaryDirectory(prefix="tfrec_llm-bench-") as folder, _peer(threads) as peer:
        paths = {name: str(Path(folder) / f"{name}.npy") for name in ("table", "queries", "found")}
        np.save(paths["table"], table)
        np.save(paths["queries"], queries)
        versions = peer.ask({"do": "load", "threads": threads, **paths})
        search = {"do": "search", "k": K, "batch": together}
        peer.ask({**search, "keep": paths["found"]})
        recall = _recall(np.concatenate([index.search(part, K).item_ids for part in parts]), np.load(paths["found"]))
        if recall < LEAST_RECALL and settings.config.retrieval.index == Component("exact"):
            raise ValueError(f"{key}: expected the items that faiss finds, got a recall of {recall:.4f}; one is wrong.")
        setup = {"threads": threads, "dtype": "float32", "batch": together or len(queries), "queries": len(queries)}
        setup |= {"items": len(table), "dim": DIM, "k": K, "recall": recall, **versions}
        ours = lambda: _rate(index, parts, len(queries))  # noqa: E731
        theirs = lambda: len(queries) / peer.ask(search)["seconds"]  # noqa: E731
        entry = paired(key, ours, theirs, settings.rounds, "queries/s", setup)
    if together == 1:
        entry["ms"] = {"ours": 1e3 / entry["ours"], "peer": 1e3 / entry["peer"]}
    return entry


def _peer(threads: int) -> server.Server:
    return server.start("peers", "peer_search.py", threads)


def _rate(index: Any, parts: list[np.ndarray], count: int) -> float:
    begin = time.perf_counter()
    for part in parts:
        index.search(part, K)
    return count / (time.perf_counter() - begin)


def _recall(ours: np.ndarray, places: np.ndarray) -> float:
    """Share of the peer's places that ours has: our item indices begin at FIRST_ITEM."""
    same = (ours[:, :, None] - FIRST_ITEM == places[:, None, :]).any(axis=1)
    return float(same.mean())
