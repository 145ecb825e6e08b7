import numpy as np
import pytest

from tfrec_llm.training import Stage
from tfrec_llm.types import Candidates, Domain, Rows


@pytest.fixture(scope="session")
def domain():
    return Domain(
        name="shop",
        step="event",
        repeat=False,
        events=("view", "buy", "return"),
        rewards={"view": 0.1, "buy": 1.0},
        satisfaction={"view": 0.2, "buy": 1.0, "return": -1.0},
        intents=(), emotions=(), attributes=(), use_attributes=False, utterance_attributes=(),
        templates={}, words={}, feelings={}, deny=(),
    )  # fmt: skip


def rows_of_taste(count=400, seed=0, num_candidates=12, taste=3.0):
    """Rows, and contexts whose first value decides which way feature 1 counts; the blend is blind to it."""
    rng = np.random.default_rng(seed)
    shape = (count, num_candidates)
    scores = -np.sort(-rng.normal(size=shape).astype(np.float32), axis=1)
    allowed = rng.random(shape) < 0.9
    allowed[:, 0] = True
    p = np.exp(scores) * allowed
    p /= p.sum(axis=1, keepdims=True)
    features = np.stack([rng.normal(size=shape), rng.normal(size=shape), p], axis=-1).astype(np.float32)
    context = np.tanh(rng.normal(size=(count, 4))).astype(np.float32)
    logits = np.where(allowed, scores + taste * np.sign(context[:, :1]) * features[..., 1], -np.inf)
    target = np.zeros(shape, bool)
    target[np.arange(count), (logits + rng.gumbel(size=shape)).argmax(axis=1)] = True
    candidates = Candidates(rng.integers(2, 99, shape).astype(np.int32), scores, features, allowed)
    return Rows({}, candidates, target, target.astype(np.float32), np.arange(count) % 4 == 0), context


@pytest.fixture(scope="session")
def logged():
    return rows_of_taste()


@pytest.fixture
def stage(tmp_path):
    paths = [tmp_path / name for name in ("result", "work", "logs")]
    for path in paths:
        path.mkdir()
    return Stage("ranking", *paths)


@pytest.fixture(scope="session")
def make_rows():
    return rows_of_taste
