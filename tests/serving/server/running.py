"""Servers for tests: the whole one as `make serve` starts it, and the app over a stub in a thread; and a browser."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from tests.serving.server.conftest import Stub
from tfrec_llm.config import Serving
from tfrec_llm.feedback import sqlite_url
from tfrec_llm.serving.server import Parts, make_app
from tfrec_llm.serving.server.connection import Connection
from tfrec_llm.serving.server.measures import Measures
from tfrec_llm.serving.server.page.facts import PageFacts
from tfrec_llm.serving.server.recorder import Recorder

ROOT = Path(__file__).parents[3]
SECRET = "a secret of the tests"
START_SECONDS = 240
BROWSER = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--no-first-run", "--window-size=1280,1000", "--lang=en",
)  # fmt: skip


class Server:
    """A started server: its address, its log, its database."""

    def __init__(self, process, said, database):
        self.process, self._said, self.database = process, said, database
        self.url = self._wait_for(r"serving on (http://\S+)")

    def said(self):
        """All that it has printed."""
        return self._said.read_text("utf-8", "replace")

    def worker(self):
        """The process number of the newest worker."""
        return int(re.findall(r"served by process (\d+)", self.said())[-1])

    def _wait_for(self, pattern):
        for _ in range(10 * START_SECONDS):
            if found := re.search(pattern, self.said()):
                return found[1]
            assert self.process.poll() is None, self.said()
            time.sleep(0.1)
        raise AssertionError(self.said())


def start(run, place, *more):
    """A run's server in a process of its own, which the caller ends."""
    settings = ["port=0", f"log={sqlite_url(place / 'log.db')}", "engine=export", "threads=1", "timeout_ms=20000.0"]
    settings += ["log_wait_ms=1000.0", *more]
    command = [sys.executable, "-m", "pipelines.serve", "--config", "smoke", "--run", str(run), "--set"]
    environment = {**os.environ, "TFREC_LLM_SECRET": SECRET}
    with (place / "said.txt").open("w") as said:
        return subprocess.Popen(
            command + [f"serving.{setting}" for setting in settings],
            cwd=ROOT,
            env=environment,
            stderr=said,
            stdout=said,
        )


@contextmanager
def whole(run, place):
    """A run's server in a process of its own, until the block ends."""
    process = start(run, place)
    try:
        yield Server(process, place / "said.txt", place / "log.db")
    finally:
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)


@contextmanager
def stubbed(database, titles, model=None, attributes=(), **settings):
    """The app over a stub, listening; yields its address."""
    made, measures = Serving(**{"timeout_ms": 10_000.0, "log_wait_ms": 2_000.0, **settings}), Measures()
    page = PageFacts("video", {"click": 0.2, "buy": 1.0}, attributes, {"i1": ("<b>Comedy</b>",)}, "en", 0.02)
    parts = Parts(
        made, model or Stub(), Recorder(sqlite_url(database), made, measures), measures, b"0123456789abcdef",
        ("click", "buy", "reward"), titles, page,
    )  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(make_app(parts), http=Connection, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def browsing():
    """A headless Chromium; without one the test fails, and says how to get it."""
    found = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in found:
        pytest.fail("expected chromium and chromedriver on the path: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for argument in BROWSER:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(found[1]))
    try:
        yield driver
    finally:
        driver.quit()


def one(browser, selector):
    """The first element of a page that a selector finds."""
    return browser.find_element(By.CSS_SELECTOR, selector)


def every(browser, selector):
    """All of them."""
    return browser.find_elements(By.CSS_SELECTOR, selector)


def until(browser, true):
    """Waits until something is true of a page."""
    return WebDriverWait(browser, 30, 0.05).until(lambda _: true())
