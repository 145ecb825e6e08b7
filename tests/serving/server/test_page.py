"""The page in headless Chromium, over the whole server of a real run."""

import sqlite3
import time

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.serving.server.running import browsing, every, one, until, whole
from tfrec_llm.feedback import EventLog, sqlite_url

# What a person with a screen reader would miss: names of fields, buttons and pictures, landmarks, order of headings.
NAMELESS = """
const name = (element) => (element.getAttribute("aria-label") || element.textContent).trim();
const labelled = (field) => [...(field.labels ?? [])].some((label) => label.textContent.trim());
const named = new Set([...document.querySelectorAll("h2")].map((heading) => heading.id));
const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((heading) => Number(heading.tagName[1]));
return [
  ...[...document.querySelectorAll("input, select, textarea")].filter((field) => !labelled(field)),
  ...[...document.querySelectorAll("button, a, summary, [role=img], [role=group]")]
    .filter((it) => it.checkVisibility() && !name(it)),
  ...[...document.querySelectorAll("img")].filter((image) => !image.hasAttribute("alt")),
  ...[...document.querySelectorAll("section")].filter((it) => !named.has(it.getAttribute("aria-labelledby"))),
  ...["h1", "main", "header", "footer", "[role=alert]"].filter((it) => document.querySelectorAll(it).length !== 1),
  ...levels.filter((level, place) => place && level > levels[place - 1] + 1),
  ...[...document.querySelectorAll("[tabindex]")].filter((it) => it.tabIndex > 0),
  ...(new Set([...document.querySelectorAll("[id]")].map((it) => it.id)).size
      === document.querySelectorAll("[id]").length ? [] : ["an id twice"]),
].map((found) => found.outerHTML ?? String(found));
"""


@pytest.fixture(scope="module")
def server(smoke_run, tmp_path_factory):
    with whole(smoke_run, tmp_path_factory.mktemp("page")) as started:
        yield started


@pytest.fixture(scope="module")
def browser():
    with browsing() as opened:
        yield opened


@pytest.fixture
def page(server, browser):
    """The page as somebody sees it who never was here."""
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.get(server.url)
    browser.execute_script("localStorage.clear()")
    browser.get(server.url)
    until(browser, lambda: one(browser, "#facts").text)
    yield browser
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def ask(browser, text):
    """Types, and waits for the list."""
    field = one(browser, "#utterance")
    field.clear()
    field.send_keys(text, Keys.ENTER)
    until(browser, lambda: "by version" in one(browser, "#status").text)


def events(server, count):
    """The newest events of the log, when there are so many of them at least."""
    log = EventLog(sqlite_url(server.database))
    for _ in range(200):
        kept = log.read_events()
        if len(kept.event_id) >= count:
            break
        time.sleep(0.05)
    log.close()
    assert len(kept.event_id) >= count
    return list(zip(kept.item_id.tolist(), kept.event.tolist(), kept.value.tolist(), strict=True))


def kept(server):
    return sqlite3.connect(server.database).execute("SELECT count(*) FROM events").fetchone()[0]


def test_said_seen_pressed_and_kept(server, page):
    before = kept(server)
    ask(page, "something funny for tonight")
    assert len(every(page, "#items li")) == 10
    assert [term.text for term in every(page, "#heard dt")] == ["Intent", "Emotion", "Sentiment"]
    assert "%" in one(page, "#heard dd").text
    assert all("probability" in row.text and "%" in row.text for row in every(page, "#items .propensity"))
    one(page, "#candidates summary").click()
    rows = every(page, "#candidates tbody tr")
    assert len(rows) == 20
    places = [row.text.rpartition("place ")[2] for row in rows if "place" in row.text]
    assert places
    assert set(places) <= {str(place) for place in range(1, 11)}
    for place, name in enumerate(("click", "like", "skip")):
        every(page, f"#items [data-act={name}]")[place].click()
    assert [name for _, name, _ in events(server, before + 3)[-3:]] == ["click", "like", "skip"]
    assert len(every(page, "#history li")) == 2
    assert "1.2" in one(page, "#reward svg").get_attribute("aria-label")
    user = one(page, "#user").get_attribute("value")
    ask(page, "手机")
    row = sqlite3.connect(server.database).execute("SELECT history FROM decisions ORDER BY sequence DESC").fetchone()
    assert row[0].count("item-") == 2
    page.refresh()
    until(page, lambda: len(every(page, "#history li")) == 2)
    assert one(page, "#user").get_attribute("value") == user
    one(page, "#forget").click()
    assert every(page, "#history li") == []


def test_reasons_are_titles_of_what_was_done(page):
    titles = []
    for text in ("a comedy", "", "", ""):
        ask(page, text)
        titles.append(one(page, "#items h3").text)
        one(page, "#items [data-act=like]").click()
    ask(page, "")
    reasons = [reason.text for reason in every(page, "#items .because")]
    assert reasons
    assert all(reason.startswith("because you liked The ") for reason in reasons)
    assert any(title in reason for reason in reasons for title in titles)


def test_the_other_language_is_everywhere_and_remembered(page):
    ask(page, "手机")
    one(page, "[data-language=zh]").click()
    assert one(page, "html").get_attribute("lang") == "zh-Hans"
    assert one(page, "#ask-title").text == "提问"
    assert one(page, "#items [data-act=like]").text.startswith("喜欢")
    assert "概率" in one(page, "#items .propensity").text
    assert one(page, "#reward h3").text == "每轮奖励"
    assert one(page, "#items h3 span").get_attribute("lang") == "en"
    assert "undefined" not in page.page_source
    page.refresh()
    until(page, lambda: "版本" in one(page, "#facts").text)
    assert one(page, "#utterance").get_attribute("placeholder").startswith("像对朋友")


def test_with_the_keyboard_alone(server, page):
    before, hands = kept(server), ActionChains(page)

    def walk_to(selector):
        for _ in range(60):
            hands.send_keys(Keys.TAB).perform()
            focused = page.switch_to.active_element
            style = page.execute_script("return getComputedStyle(arguments[0]).outlineStyle", focused)
            assert style == "solid", focused.get_attribute("outerHTML")
            if focused in every(page, selector):
                return
        raise AssertionError(selector)

    walk_to(".skip")
    walk_to("#utterance")
    hands.send_keys("a drama", Keys.ENTER).perform()
    until(page, lambda: len(every(page, "#items li")) == 10)
    walk_to("#items [data-act=click]")
    hands.send_keys(Keys.SPACE).perform()
    assert [name for _, name, _ in events(server, before + 1)[-1:]] == ["click"]
    focused = page.switch_to.active_element
    assert (focused.get_attribute("data-act"), focused.get_attribute("aria-pressed")) == ("click", "true")
    hands.send_keys(Keys.SPACE).perform()
    walk_to("#count")
    hands.send_keys(Keys.CONTROL, "a").key_up(Keys.CONTROL).send_keys("2", Keys.ENTER).perform()
    until(page, lambda: one(page, "#progress").text.startswith("2 rounds played"))
    assert len([row for row in events(server, before + 1) if row[1] == "click"][-1:]) == 1


def test_everything_has_a_name(page):
    assert page.execute_script(NAMELESS) == []
    ask(page, "something funny for tonight")
    one(page, "#items [data-act=like]").click()
    for details in every(page, "details summary"):
        details.click()
    assert page.execute_script(NAMELESS) == []
    assert [one(page, selector).get_attribute("role") for selector in ("#status", "#trouble")] == ["status", "alert"]
    label = every(page, "#items [data-act=like]")[3].get_attribute("textContent")
    assert label == f"Like: {every(page, '#items h3')[3].text}"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_is_wider_than_a_small_telephone(page, language):
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    ask(page, "something funny for tonight")
    one(page, "#items [data-act=like]").click()
    one(page, f"[data-language={language}]").click()
    for details in every(page, "details summary"):
        details.click()
    assert page.execute_script("return [document.documentElement.scrollWidth, innerWidth]") == [360, 360]
    small = [
        button.text for button in every(page, "button") if button.is_displayed() and min(button.size.values()) < 24
    ]
    assert small == []


def luminance(colour):
    """Relative luminance of #rrggbb, WCAG 2."""
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one_colour, other):
    light, dark = sorted((luminance(one_colour), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_stand_out_in_both_schemes(page, scheme):
    page.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    names = ("paper", "sheet", "ink", "muted", "edge", "accent", "on-accent", "wash", "alarm")
    read = "return arguments[0].map((name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`))"
    colour = dict(zip(names, map(str.strip, page.execute_script(read, names)), strict=True))
    assert (luminance(colour["paper"]) > 0.5) == (scheme == "light")
    texts = [("ink", "paper"), ("muted", "paper"), ("muted", "sheet"), ("accent", "paper"), ("accent", "wash")]
    texts += [("alarm", "paper"), ("on-accent", "accent"), ("paper", "ink")]
    assert [pair for pair in texts if contrast(*(colour[name] for name in pair)) < 4.5] == []
    assert contrast(colour["edge"], colour["paper"]) >= 3


def test_rounds_are_played_drawn_and_told(server, page):
    before = kept(server)
    one(page, "#count").clear()
    one(page, "#count").send_keys("6", Keys.ENTER)
    until(page, lambda: one(page, "#progress").text.startswith("6 rounds played"))
    assert len(every(page, "#reward svg .dot")) == len(every(page, "#chance svg .dot")) == 6
    assert "6 rounds" in one(page, "#chance svg").get_attribute("aria-label")
    one(page, "#reward summary").click()
    cells = [float(row.text.split()[1]) for row in every(page, "#reward tbody tr")]
    assert len(cells) == 6
    assert sum(cells) == kept(server) - before
    for wrong in ("0", "201", "1.5"):
        one(page, "#count").clear()
        one(page, "#count").send_keys(wrong, Keys.ENTER)
        assert "1 to 200" in one(page, "#progress").text
    assert len(every(page, "#reward svg .dot")) == 6
