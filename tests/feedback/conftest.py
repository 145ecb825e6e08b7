import os

import numpy as np
import pytest
import sqlalchemy

from tfrec_llm.data import load_domain
from tfrec_llm.feedback import Decisions, EventLog, Events, sqlite_url
from tfrec_llm.feedback.tables import metadata

K, F, C = 4, 3, 2


@pytest.fixture(scope="session")
def domain():
    return load_domain("retail")  # purchase 1, cart .4, click .1, remove 0


def make_decisions(rows, seed=0):
    """Decisions from (id, time, [items shown]); the candidates are a, b, c, d, each propensity .5."""
    rng = np.random.default_rng(seed)
    count, slots = len(rows), len(rows[0][2]) if rows else 1
    return Decisions(
        decision_id=np.array([name for name, _, _ in rows], dtype=str),
        time=np.array([time for _, time, _ in rows], np.int64),
        context=rng.random((count, C), np.float32),
        candidate_ids=np.tile(np.array(["a", "b", "c", "d"]), (count, 1)).reshape(count, K),
        features=rng.random((count, K, F), np.float32),
        item_ids=np.array([items for _, _, items in rows], dtype=str).reshape(count, slots),
        propensities=np.full((count, slots), 0.5),
    )


def make_events(rows):
    """Events from (event id, decision id, item, event, time[, value])."""
    columns = list(zip(*((*row, 1.0)[:6] for row in rows), strict=True)) or [()] * 6
    ids, decisions, items, events, times, values = columns
    strings = [np.array(column, dtype=str) for column in (ids, decisions, items, events)]
    return Events(*strings, np.array(values, np.float64), np.array(times, np.int64))


@pytest.fixture(scope="session")
def decided():
    return make_decisions([("d2", 200, ["c", "a"]), ("d1", 100, ["a", "b"]), ("d3", 300, ["b", ""])])


@pytest.fixture(scope="session")
def postgresql(tmp_path_factory):
    """A server of our own, from the wheel pgserver; where there is none for this Python, one named by a variable."""
    if named := os.environ.get("TFREC_LLM_TEST_POSTGRESQL"):
        yield named
        return
    try:
        import pgserver
    except ImportError:
        pytest.fail("expected the wheel pgserver, or TFREC_LLM_TEST_POSTGRESQL=postgresql+psycopg://user@host/database")
    server = pgserver.get_server(tmp_path_factory.mktemp("postgresql"))
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    if request.param == "sqlite":
        return sqlite_url(tmp_path / "log.db")
    url = request.getfixturevalue("postgresql")
    engine = sqlalchemy.create_engine(url)
    metadata.drop_all(engine)
    engine.dispose()
    return url


@pytest.fixture
def log(url):
    opened = EventLog(url)
    yield opened
    opened.close()
