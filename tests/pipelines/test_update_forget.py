"""A user is deleted from the log by a command."""

import pytest

from pipelines import update
from tests.feedback.test_event_log import decision, event
from tfrec_llm.feedback import EventLog, sqlite_url, user_key
from tfrec_llm.serving.server import secret

SECRET = "a secret of the tests"


@pytest.fixture
def log(tmp_path):
    opened = EventLog(sqlite_url(tmp_path / "log.db"))
    yield opened
    opened.close()


def forget(run, user):
    update.main(["--config", "smoke", "--run", str(run), "--forget", user])


def test_what_is_deleted_is_the_user_s_and_is_said(tmp_path, log, capsys, monkeypatch):
    monkeypatch.setenv(secret.VARIABLE, SECRET)
    keys = [user_key(SECRET.encode(), user) for user in ("ann", "bob")]
    log.add_decisions([decision("d1", user_key=keys[0]), decision("d2", user_key=keys[1])])
    log.add_events([event(), event("e2", decision_id="d2")])
    forget(tmp_path, "ann")
    assert "1 decisions and 1 events of this user are deleted" in capsys.readouterr().out
    assert log.read_decisions()[0].decision_id.tolist() == ["d2"]
    for user in ("nobody", "ann"):
        with pytest.raises(ValueError, match="nothing found: is this the server's secret and log"):
            forget(tmp_path, user)
    assert capsys.readouterr().out == ""


def test_another_secret_or_log_than_the_server_s_is_no_success(tmp_path, log, monkeypatch):
    log.add_decisions([decision("d1", user_key=user_key(SECRET.encode(), "ann"))])
    monkeypatch.setenv(secret.VARIABLE, "another secret of the tests")
    with pytest.raises(ValueError, match="nothing found: is this the server's secret and log"):
        forget(tmp_path, "ann")
    monkeypatch.setenv(secret.VARIABLE, SECRET)
    (tmp_path / "elsewhere").mkdir()
    with pytest.raises(ValueError, match="expected the server's database file, found none"):
        forget(tmp_path / "elsewhere", "ann")
    assert not list((tmp_path / "elsewhere").glob("log.db*"))
    assert log.read_decisions()[0].decision_id.tolist() == ["d1"]


def test_without_the_server_s_secret_nobody_is_found(tmp_path, log, monkeypatch):
    monkeypatch.delenv(secret.VARIABLE, raising=False)
    with pytest.raises(ValueError, match="expected the server's secret, found none"):
        forget(tmp_path, "ann")
    assert not (tmp_path / secret.FILE).exists()


def test_a_log_that_is_away_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv(secret.VARIABLE, SECRET)
    (tmp_path / "log.db").write_bytes(b"no database at all" * 100)
    with pytest.raises(ValueError, match="expected a database that can be read and written"):
        forget(tmp_path, "ann")
