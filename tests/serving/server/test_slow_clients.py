"""Clients that send slowly: they are told so, and hold no connection for ever."""

import json
import signal
import socket
import time

import pytest

from tests.serving.server.running import Server, start, stubbed
from tfrec_llm.serving.server import app, connection, gate

BODY = json.dumps({"user_id": "ann", "k": 1}).encode()


def connected(url):
    host, port = url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def head(length):
    return (
        f"POST /recommend HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    ).encode()


def answer(opened):
    """All that comes until the other side closes."""
    parts = []
    while part := opened.recv(65_536):
        parts.append(part)
    return b"".join(parts).decode()


@pytest.fixture
def url(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "BODY_SECONDS", 0.5)
    with stubbed(tmp_path / "log.db", {}) as address:
        yield address


@pytest.mark.parametrize("drip", [True, False])
def test_a_body_that_does_not_end_is_a_408_and_the_connection_is_closed(url, drip):
    with connected(url) as opened:
        opened.sendall(head(1_000) + b"{")
        began = time.monotonic()
        for _ in range(5 if drip else 0):
            opened.sendall(b" ")
            time.sleep(0.05)
        said = answer(opened)
    assert 0.4 < time.monotonic() - began < 20
    assert said.startswith("HTTP/1.1 408 ")
    assert json.loads(said.partition("\r\n\r\n")[2]) == {
        "error": "expected the whole body within 0.5 s, got less; send it faster."
    }


def test_a_body_that_comes_in_parts_but_in_time_is_answered(url):
    with connected(url) as opened:
        opened.sendall(head(len(BODY)) + BODY[:5])
        time.sleep(0.05)
        opened.sendall(BODY[5:])
        assert opened.recv(100).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("begun", [b"", b"POST /recommend HTTP/1.1\r\nHost: here\r\n"])
def test_a_head_that_does_not_end_ends_its_connection(url, monkeypatch, begun):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    with connected(url) as opened:
        began = time.monotonic()
        opened.sendall(begun)
        for _ in range(5 if begun else 0):
            opened.sendall(b"X-More: x\r\n")
            time.sleep(0.05)
        assert answer(opened) == ""
        assert 0.4 < time.monotonic() - began < 20


def test_the_second_head_of_a_connection_has_its_time_too(url, monkeypatch):
    monkeypatch.setattr(connection, "HEAD_SECONDS", 0.5)
    with connected(url) as opened:
        for _ in range(2):
            opened.sendall(head(len(BODY)) + BODY)
            said = b""
            while not said.endswith(b"}"):  # head and body may come apart
                said += opened.recv(65_536)
            assert said.startswith(b"HTTP/1.1 200 ")
            time.sleep(0.6)  # no head has begun: the connection is kept
        began = time.monotonic()
        opened.sendall(b"GET / HT")
        assert answer(opened) == ""
        assert 0.4 < time.monotonic() - began < 4  # uvicorn's own clock stands still from the first byte on


@pytest.mark.parametrize(
    "sent", [b"no HTTP at all\r\n\r\n", b"GET /healthz HTTP/1.1\r\n\r\n", b"GET / HTTP/1.1\r\nA\r\n\r\n"]
)
def test_what_is_no_http_is_one_json_error(url, sent):
    with connected(url) as opened:
        opened.sendall(sent)
        top, _, body = answer(opened).partition("\r\n\r\n")
    assert top.startswith("HTTP/1.1 400 ")
    assert "content-type: application/json" in top.lower()
    assert list(json.loads(body)) == ["error"]


def test_an_open_request_does_not_hold_the_end_up(smoke_run, tmp_path):
    process = start(smoke_run, tmp_path)
    try:
        server = Server(process, tmp_path / "said.txt", tmp_path / "log.db")
        with connected(server.url) as opened:
            opened.sendall(head(1_000) + b"{")
            time.sleep(0.5)
            process.send_signal(signal.SIGTERM)
            assert process.wait(app.END_SECONDS + 20) == 0
    finally:
        process.kill()
    assert "Traceback" not in server.said()
