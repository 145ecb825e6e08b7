import numpy as np
import pytest

from tfrec_llm.training import Stage
from tfrec_llm.types import Candidates, Rows


def make_rows(count=400, seed=0, num_candidates=12):
    """Rows in which the user's mood (the first value of "behaviour") decides which way feature 1 counts."""
    rng = np.random.default_rng(seed)
    shape = (count, num_candidates)
    scores = -np.sort(-rng.normal(size=shape).astype(np.float32), axis=1)
    allowed = np.ones(shape, bool)
    allowed[:, -1] = rng.random(count) < 0.5
    p = np.exp(scores) * allowed
    p /= p.sum(axis=1, keepdims=True)
    features = np.stack([rng.normal(size=shape), rng.normal(size=shape), p], axis=-1).astype(np.float32)
    behaviour, text = rng.normal(size=(count, 4)), rng.normal(size=(count, 3))
    logits = np.where(allowed, scores + 3 * np.sign(behaviour[:, :1]) * features[..., 1], -np.inf)
    chosen = (logits + rng.gumbel(size=shape)).argmax(axis=1)
    target = np.zeros(shape, bool)
    target[np.arange(count), chosen] = rng.random(count) < 0.9
    modalities = {
        "behaviour": (behaviour.astype(np.float32), np.ones(count, bool)),
        "text": (text.astype(np.float32), rng.random(count) < 0.5),
    }
    candidates = Candidates(rng.integers(2, 99, shape).astype(np.int32), scores, features, allowed)
    return Rows(modalities, candidates, target, target.astype(np.float32), np.arange(count) % 5 == 0)


@pytest.fixture(scope="session")
def rows():
    return make_rows()


@pytest.fixture
def stage(tmp_path):
    paths = [tmp_path / name for name in ("result", "work", "logs")]
    for path in paths:
        path.mkdir()
    return Stage("context", *paths)
