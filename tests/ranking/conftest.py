import numpy as np
import pytest

from tfrec_llm.training import Stage
from tfrec_llm.types import Candidates, Catalogue, Dataset, Domain, Interactions, Queries, Rows, Split


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


@pytest.fixture(scope="session")
def dataset(domain):
    """Two users with four training events each: item 2 viewed and bought, item 3 bought and returned."""
    user = np.repeat([0, 1], 6).astype(np.int32)
    item = np.tile([2, 2, 3, 3, 4, 5], 2).astype(np.int32)
    event = np.tile([2, 3, 3, 4, 3, 3], 2).astype(np.int32)
    time = np.tile(np.arange(6), 2) * 10
    log = Interactions(user, item, time, event, np.ones(12, np.float32), np.array(["u", "v"]))
    names = np.array(["", "[unknown]", "p", "q", "r", "s"])
    genres = {"genre": ((), (), ("a",), ("a", "b"), ("b",), ())}
    catalogue = Catalogue(names, names, names, genres, np.full(6, np.nan, np.float32), np.arange(6) > 1)
    ends = np.array([4, 10])
    asked = [
        Queries(np.array([0, 1], np.int32), np.array([0, 6]), ends + more, time[ends], item[ends + more], np.arange(3))
        for more in range(2)
    ]
    split = Split(np.tile(np.arange(6) < 4, 2), asked[0], np.array([True, False]), np.zeros(2, bool), asked[1])
    return Dataset("tiny", domain, log, catalogue, split, {})
