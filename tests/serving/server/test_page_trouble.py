"""The page where things go wrong: hostile titles, keys, a locked log, a server that is away; over a stub."""

import sqlite3
from contextlib import contextmanager
from dataclasses import replace

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from tests.serving.server.conftest import Stub, decided
from tests.serving.server.running import browsing, every, one, stubbed, until

HOSTILE = {
    "i1": "<script>document.title = 'owned'</script>",
    "i2": "<img src=x onerror=\"document.title = 'owned'\">",
    "i3": '"><svg onload=alert(1)> & 手机 {title}',
    "i4": "",
}


class Changing(Stub):
    """Serves another version after three decisions."""

    async def decide(self, ask):
        self.asked.append(ask)
        return replace(decided(ask), model_version="7" if len(self.asked) <= 3 else "8")


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        yield opened


@contextmanager
def opened(browser, database, titles=HOSTILE, model=None, **settings):
    with stubbed(database, titles, model, **settings) as url:
        browser.get(url)
        WebDriverWait(browser, 10).until(lambda _: browser.execute_script("return document.readyState") == "complete")
        yield url


def ask(browser, text="hello"):
    one(browser, "#utterance").send_keys(text, Keys.ENTER)
    until(browser, lambda: every(browser, "#items li"))


def events(database):
    with sqlite3.connect(database) as kept:
        return kept.execute("SELECT item_id, event, value FROM events ORDER BY sequence").fetchall()


def test_titles_are_texts_whatever_they_say(browser, tmp_path):
    with opened(browser, tmp_path / "log.db"):
        ask(browser)
        titles = [title.text for title in every(browser, "#items h3")]
        assert titles[:4] == [HOSTILE["i1"], HOSTILE["i2"], HOSTILE["i3"], "item i4"]
        assert one(browser, "#items .about").text == "<b>Comedy</b>"
        one(browser, "#candidates summary").click()
        assert HOSTILE["i2"] in one(browser, "#candidates table").text
        one(browser, "#items [data-act=click]").click()
        for place in (0, 1, 2):
            every(browser, "#items [data-act=like]")[place].click()
        assert HOSTILE["i3"] in one(browser, "#history").text
        until(browser, lambda: HOSTILE["i3"] in one(browser, "#status").text)
        ask(browser, " again")
        until(browser, lambda: one(browser, "#items .because").text == f"because you liked {HOSTILE['i1']}")
        assert browser.title == "tfrec_llm"
        assert every(browser, "#items script, #items img, #items svg, #items b, #history img, #history script") == []
        assert every(browser, "[title]")[0].get_attribute("title") == "click, worth 0.2"


def test_a_domain_without_skips_says_so_with_a_reward_of_nothing(browser, tmp_path):
    with opened(browser, tmp_path / "log.db"):
        ask(browser)
        for name in ("like", "skip"):
            one(browser, f"#items [data-act={name}]").click()
        until(browser, lambda: len(events(tmp_path / "log.db")) == 2)
        assert events(tmp_path / "log.db") == [("i1", "buy", 1.0), ("i1", "reward", 0.0)]


def test_a_domain_that_looks_at_people_asks_about_them(browser, tmp_path):
    model = Stub()
    with opened(browser, tmp_path / "log.db", model=model, attributes=("gender", "age")):
        until(browser, lambda: one(browser, "#attributes").is_displayed())
        assert [label.text for label in every(browser, "#attributes label")] == ["gender", "age"]
        one(browser, "#attributes [name=age]").send_keys("25")
        ask(browser)
        assert model.asked[0].attributes == ["", "25"]


def test_a_server_with_keys_asks_for_one(browser, tmp_path):
    with opened(browser, tmp_path / "log.db", api_keys=("secret",)):
        until(browser, lambda: one(browser, "#key").is_displayed())
        assert "wants a key" in one(browser, "#trouble").text
        one(browser, "#key").send_keys("another", Keys.ENTER)
        until(browser, lambda: "X-API-Key" in one(browser, "#trouble").text)
        one(browser, "#key").clear()
        one(browser, "#key").send_keys("secret", Keys.ENTER)
        until(browser, lambda: every(browser, "#items li"))
        assert one(browser, "#trouble").text == ""
        one(browser, "#items [data-act=click]").click()
        until(browser, lambda: events(tmp_path / "log.db") == [("i1", "click", 1.0)])
        assert "secret" not in browser.execute_script("return JSON.stringify({...localStorage, ...sessionStorage})")


def test_events_that_the_log_refuses_wait_and_are_sent_again(browser, tmp_path):
    database = tmp_path / "log.db"
    with opened(browser, database, timeout_ms=1_000.0, log_wait_ms=300.0):
        ask(browser)
        holder = sqlite3.connect(database, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        for place in range(3):
            every(browser, "#items [data-act=click]")[place].click()
        until(browser, lambda: "3 events wait" in one(browser, "#status").text)
        assert "nothing is lost" in one(browser, "#trouble").text
        assert "the event log" in one(browser, "#trouble").text
        browser.refresh()
        until(browser, lambda: "3 events wait" in one(browser, "#status").text)
        holder.execute("ROLLBACK")
        until(browser, lambda: len(events(database)) == 3)
        until(browser, lambda: one(browser, "#status").text == "All events are kept.")
        assert one(browser, "#trouble").text == ""
        assert browser.execute_script("return Object.keys(localStorage).filter((key) => key.includes('event.'))") == []


def test_an_event_that_can_never_be_kept_does_not_stop_the_others(browser, tmp_path):
    database = tmp_path / "log.db"
    with opened(browser, database):
        ask(browser)
        one(browser, "#items [data-act=click]").click()
        until(browser, lambda: len(events(database)) == 1)
        bad = {"event_id": "b", "decision_id": "0", "item_id": "i1", "event": "click", "value": 1, "time": 5}
        browser.execute_script(
            "localStorage.setItem('tfrec_llm.event.b', JSON.stringify({order: [0, 0], event: arguments[0]}))", bad
        )
        every(browser, "#items [data-act=click]")[1].click()
        until(browser, lambda: len(events(database)) == 2)
        assert browser.execute_script("return Object.keys(localStorage).filter((key) => key.includes('event.'))") == []


def test_a_list_that_was_not_logged_says_that_it_cannot_count(browser, tmp_path):
    with opened(browser, tmp_path / "gone" / "log.db"):
        ask(browser)
        assert "cannot be counted" in one(browser, "#items .trouble").text
        assert not any(button.is_enabled() for button in every(browser, "#items [data-act]"))


def test_errors_are_sentences_and_the_list_stays(browser, tmp_path):
    with opened(browser, tmp_path / "log.db", timeout_ms=200.0, max_utterance=20):
        ask(browser)
        for said, sentence in (("slow", "took too long"), ("fail", "failed on this")):
            one(browser, "#utterance").clear()
            one(browser, "#utterance").send_keys(said, Keys.ENTER)
            until(browser, lambda sentence=sentence: sentence in one(browser, "#trouble").text)
            assert len(every(browser, "#items li")) == 10
        one(browser, "#user").clear()
        one(browser, "#utterance").send_keys(Keys.ENTER)
        assert "Say who you are" in one(browser, "#status").text
        one(browser, "#user").send_keys("ann")
    one(browser, "#utterance").send_keys(Keys.ENTER)
    until(browser, lambda: "cannot be reached" in one(browser, "#trouble").text)
    assert every(browser, "#items script") == []


@pytest.mark.parametrize("stops", [False, True])
def test_versions_are_marked_and_playing_can_be_stopped(browser, tmp_path, stops):
    model = Changing()
    with opened(browser, tmp_path / "log.db", model=model):
        one(browser, "#taste").clear()
        one(browser, "#taste").send_keys("script")
        one(browser, "#count").clear()
        one(browser, "#count").send_keys("200" if stops else "12", Keys.ENTER)
        if stops:
            until(browser, lambda: len(model.asked) > 5)
            one(browser, "#start").click()
            until(browser, lambda: one(browser, "#progress").text.startswith("Stopped after"))
            assert len(model.asked) < 100
            return
        until(browser, lambda: one(browser, "#progress").text.startswith("12 rounds played"))
        assert len(model.asked) == 12
        assert len({ask.user_id for ask in model.asked}) == 3
        assert len(every(browser, "#reward svg .version")) == 1
        assert "changed in rounds 4." in one(browser, "#reward svg").get_attribute("aria-label")
        assert {(item, event) for item, event, _ in events(tmp_path / "log.db")} == {("i1", "buy")}
