"""The page's routes, its files as they lie there, and answers that explain themselves; no browser needed."""

import re

import pytest

from tests.serving.server.running import ROOT
from tfrec_llm.serving.server.page.facts import read_page_facts
from tfrec_llm.serving.server.page.files import NAMES, PATHS

FOLDER = ROOT / "tfrec_llm" / "serving" / "server" / "page"


@pytest.mark.parametrize("path", PATHS)
def test_every_file_is_sent_as_what_it_is_and_may_run_no_other_script(client, path):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].split(";")[0] in {
        "text/html", "text/css", "text/javascript", "image/svg+xml",
    }  # fmt: skip
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_the_names_are_the_files(client):
    assert {path.name for path in FOLDER.iterdir() if path.suffix in {".js", ".css", ".svg"}} == set(NAMES)
    for name in ("index.html", "routes.py", "..%2fapp.py", "nothing.js"):
        assert client.get(f"/page/{name}").status_code == 404


def test_nothing_is_inline_and_nothing_reads_html():
    html = (FOLDER / "index.html").read_text("utf-8")
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html) == []
    for path in FOLDER.glob("*.js"):
        source = path.read_text("utf-8")
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", source)
        assert source.count("\n") < 300


def test_each_string_is_there_in_both_languages_and_used():
    words = (FOLDER / "words.js").read_text("utf-8")
    english, chinese = (
        {name: set(re.findall(r"\{(\w+)\}", said)) for name, said in re.findall(r'^    (\w+):\s+"(.*)",$', part, re.M)}
        for part in re.search(r"  en: \{\n(.*?)\n  \},\n  zh: \{\n(.*?)\n  \},", words, re.S).groups()
    )
    assert english == chinese
    assert len(english) > 80
    said = "".join(path.read_text("utf-8") for path in FOLDER.iterdir() if path.suffix in {".js", ".html"})
    asked = set(re.findall(r'data-(?:say|label|placeholder)="(\w+)"', said)) | set(re.findall(r'say\("(\w+)"', said))
    assert asked <= set(english)


def test_the_page_needs_no_key_and_its_facts_do(make_client):
    client = make_client(api_keys=("secret",))
    assert [client.get(path).status_code for path in PATHS] == [200] * len(PATHS)
    assert client.get("/page/facts").status_code == 401
    assert client.get("/page/facts", headers={"X-API-Key": "secret"}).status_code == 200


def test_facts(client):
    facts = client.get("/page/facts").json()
    assert [event["name"] for event in facts["events"]] == ["click", "buy", "reward"]
    assert (facts["model_version"], facts["candidates"], facts["max_k"], facts["max_history"]) == ("7", 40, 40, 50)


def test_the_facts_of_a_run(smoke_run, tmp_path):
    facts = read_page_facts(smoke_run)
    assert (facts.domain, facts.language, facts.exploration_floor) == ("video", "en", 0.02)
    assert (facts.rewards["like"], facts.rewards["click"], facts.rewards["skip"]) == (1.0, 0.2, 0.0)
    assert facts.user_attributes == ()  # they are off in this domain
    assert len(facts.item_attributes) == 120
    genre, decade, country = facts.item_attributes["item-000"]
    assert (genre, decade[-1], country) == (genre, "s", country)
    with pytest.raises(ValueError, match="make data"):
        read_page_facts(tmp_path)


def test_only_an_answer_that_is_asked_to_explain_itself_does(client):
    ask = {"user_id": "ann", "k": 2, "request_id": "r"}
    bare, told = (client.post("/recommend", json={**ask, "explain": explain}).json() for explain in (False, True))
    assert "candidates" not in bare
    assert [sorted(item) for item in bare["items"]] == [["because", "id", "propensity", "score", "title"]] * 2
    assert len(told["candidates"]) == 20
    assert [row["id"] for row in told["candidates"] if row["shown"]] == ["i1", "i2"]
    assert told["candidates"][0] == {"id": "i1", "title": "One", "attributes": [], "shown": True}
    assert client.post("/recommend", json={**ask, "explain": "yes"}).status_code == 422
