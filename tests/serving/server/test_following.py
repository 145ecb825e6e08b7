"""A running server takes over what is labelled stable, and refuses what is not whole or answers nonsense."""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from tfrec_llm.serving import bundle, versions
from tfrec_llm.serving.saved_model import export_policy

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def run(smoke_run, tmp_path_factory):
    """A copy of the smoke run, whose versions the test may change."""
    return Path(shutil.copytree(smoke_run, tmp_path_factory.mktemp("following") / "run"))


@pytest.fixture(scope="module")
def client(run):
    settings = [
        "port=0",
        "engine=export",
        "threads=1",
        "timeout_ms=20000.0",
        "follow_seconds=0.2",
        "log_wait_ms=5000.0",
    ]
    command = [sys.executable, "-m", "pipelines.serve", "--config", "smoke", "--run", str(run), "--set"]
    said = run.parent / "said.txt"
    with said.open("w") as file:
        process = subprocess.Popen(
            command + [f"serving.{one}" for one in settings], cwd=ROOT, stdout=file, stderr=file, env={**os.environ}
        )
    try:
        with httpx.Client(base_url=wait_for(lambda: found(said, r"serving on (http://\S+)")), timeout=60) as opened:
            yield opened
    finally:
        process.terminate()
        assert process.wait(30) in (0, -signal.SIGTERM)


def found(said, pattern):
    match = re.search(pattern, said.read_text("utf-8", "replace"))
    return match and match[1]


def wait_for(what, seconds=120):
    for _ in range(10 * seconds):
        if value := what():
            return value
        time.sleep(0.1)
    raise AssertionError(f"nothing after {seconds} s")


def serves(client, version):
    return lambda: client.get("/healthz").json()["model_version"] == str(version)


def moved(run, scale):
    """The policy of version 1 with noise."""
    draw = np.random.default_rng(1)
    before = bundle.read_policy(run / "export" / "1")
    return {name: value + draw.normal(0, scale, value.shape).astype(value.dtype) for name, value in before.items()}


@pytest.fixture
def asking(client):
    """Requests without a pause in the background: their statuses."""
    statuses, over = [], threading.Event()

    def ask():
        while not over.is_set():
            statuses.append(client.post("/recommend", json={"user_id": "u", "k": 5}).status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    yield statuses
    over.set()
    thread.join()
    assert set(statuses) == {200}


def slate(client):
    answer = client.post("/recommend", json={"user_id": "u", "request_id": "", "request_time": 1, "k": 5}).json()
    return answer["model_version"], [(item["id"], round(item["score"], 4)) for item in answer["items"]]


def test_a_new_policy_is_taken_over_in_place_and_back(run, client, asking):
    version, before = slate(client)
    assert version == "1"
    export_policy(run / "export" / "1", moved(run, 1e-3))
    time.sleep(0.5)
    assert serves(client, 1)()  # a canary is not served
    versions.promote(run / "export", 2)
    wait_for(serves(client, 2))
    assert slate(client)[0] == "2"
    versions.roll_back(run / "export", "a person said so")
    wait_for(serves(client, 1))
    assert slate(client) == ("1", before)
    assert 'tfrec_llm_versions_total{way="in_place"} 2.0' in client.get("/metrics").text


def test_what_answers_nonsense_or_is_cut_short_is_rolled_back(run, client, asking):
    bad = {name: np.full_like(value, np.nan) for name, value in bundle.read_policy(run / "export" / "1").items()}
    nonsense = export_policy(run / "export" / "1", bad)
    cut = export_policy(run / "export" / "1", moved(run, 1e-3))
    data = cut / "variables" / "variables.data-00001-of-00002"
    data.write_bytes(data.read_bytes()[:-1])
    for folder, reason in ((nonsense, "golden queries: expected finite"), (cut, "as the manifest says")):
        versions.promote(run / "export", int(folder.name))
        refused = wait_for(lambda folder=folder: versions.read_labels(run / "export").refused.get(folder.name))
        assert reason in refused
        assert versions.read_labels(run / "export").stable == 1
    assert serves(client, 1)()
    assert slate(client)[0] == "1"


def test_another_graph_is_served_by_another_process(run, client, asking):
    folder = run / "export" / "9"
    shutil.copytree(run / "export" / "1", folder)
    manifest = folder / "manifest.json"
    (folder / "fingerprint.pb").unlink()  # a file less: not the same export
    manifest.write_text(re.sub(r'\s*"fingerprint.pb": "\w+",', "", manifest.read_text()))
    versions.promote(run / "export", 9)
    wait_for(serves(client, 9))
    assert 'way="full"} 1.0' in client.get("/metrics").text
    assert slate(client)[0] == "1"  # what its variables say: it is a copy
