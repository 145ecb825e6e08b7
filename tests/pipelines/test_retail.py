"""Baskets: the `first_basket` protocol through every stage, on invented files and on a subsample of the real ones."""

import json

import numpy as np
import pandas as pd
import pytest

from pipelines import evaluate, train

SMALL = [
    "--set", "text.encoder=tiny", "text.corpora=[]", "text.epochs=2", "train.precision=float32", "train.xla=off",
    "behaviour.model={name='lstm', units=24, dim=16}", "behaviour.epochs=2", "behaviour.min_steps=0",
    "retrieval.epochs=2", "retrieval.min_steps=0",
    "retrieval.batch_size=128", "retrieval.candidates=50", "fusion.epochs=2", "ranking.epochs=2",
    "ranking.simulate_sessions=1", "ranking.session_users=16",
    "evaluate.bootstrap=100", "export.max_history=60", "evaluate.split=test",
]  # fmt: skip


def write_shop(folder, households=150, days=200, seed=0):
    """Households that buy their own few favourites again and again, and anything else now and then."""
    rng = np.random.default_rng(seed)
    products = [f"product {i}" for i in range(60)]
    rows = []
    for household in range(households):
        favourites = rng.choice(60, size=6, replace=False)
        for day in np.flatnonzero(rng.random(days) < 0.12):
            basket = np.unique(np.where(rng.random(4) < 0.8, rng.choice(favourites, 4), rng.integers(0, 60, 4)))
            when = int(1_600_000_000 + day * 86_400 + rng.integers(80_000))
            rows += [(f"household {household}", products[i], when, "purchase", 1.5) for i in basket]
    columns = ["user_id", "item_id", "timestamp", "event", "value"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "events.csv", index=False)
    departments = ["grocery", "produce", "drug"]
    items = {"item_id": products, "title": [f"{departments[i % 3]} thing {i}" for i in range(60)]}
    pd.DataFrame(items | {"department": [departments[i % 3] for i in range(60)]}).to_csv(
        folder / "items.csv", index=False
    )
    return [
        "data.source=files", f"data.interactions={folder / 'events.csv'}", f"data.items={folder / 'items.csv'}",
    ]  # fmt: skip


def figures(run):
    return {key: e["value"] for key, e in json.loads((run / "metrics.json").read_text("utf-8"))["metrics"].items()}


def test_baskets_of_a_users_own_shop(tmp_path):
    arguments = ["--config", "retail", "--run", str(tmp_path / "run"), *SMALL, *write_shop(tmp_path)]
    train.main(arguments)
    evaluate.main(arguments)
    found = figures(tmp_path / "run")
    assert found["system.ndcg@10"] > found["baseline.popularity.ndcg@10"]
    assert found["baseline.own_frequent.ndcg@10"] > 2 * found["baseline.popularity.ndcg@10"]


@pytest.mark.slow
def test_a_subsample_of_complete_journey(tmp_path):
    arguments = ["--config", "retail", "--run", str(tmp_path / "run"), *SMALL, "data.max_users=300"]
    train.main(arguments)
    evaluate.main(arguments)
    found = figures(tmp_path / "run")
    assert found["system.ndcg@10"] > found["baseline.popularity.ndcg@10"]
    assert "baseline.own_frequent.ndcg@10" in found
