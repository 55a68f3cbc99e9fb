"""Downloads from a server of the test: whole, cut, tampered with, interrupted, and without a connection."""

import hashlib
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from recsim_hrl.cli import main
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.download import DOWNLOADS, Download, download
from recsim_hrl.data.sources.movielens import read_movielens
from tests.data.sources.test_movielens import archive, publisher_files


class Publisher(HTTPServer):
    """Serves one file; ``stated`` is the length that it promises."""

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), _Answer)
        self.content, self.stated, self.status, self.asked = content, len(content), 200, 0
        self.url = f"http://127.0.0.1:{self.server_port}/data/ml-100k.zip"


class _Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked += 1
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(self.server.stated))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def publisher(tmp_path, monkeypatch):
    content = archive(tmp_path / "source.zip", publisher_files(), "ml-100k/").read_bytes()
    with Publisher(content) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
        monkeypatch.setitem(DOWNLOADS, "movielens-100k", Download(server.url, md5, "the terms"))
        yield server
        server.shutdown()


def fails(cache):
    with pytest.raises(LogError) as caught:
        download("movielens-100k", cache)
    assert caught.value.file == str(cache / "ml-100k.zip")
    assert "by hand and pass its path to the reader" in str(caught.value)
    return str(caught.value)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_fetched_once_and_read(publisher, tmp_path, capsys):
    cache = tmp_path / "cache"
    assert main(["download", "movielens-100k", "--cache", str(cache)]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{cache / 'ml-100k.zip'}\n"  # alone, so that a shell can pass it on
    assert "terms of use: the terms" in printed.err
    assert names_in(cache) == ["ml-100k.zip"]
    assert read_movielens(printed.out.strip(), tmp_path / "log").rows == 5
    assert download("movielens-100k", cache) == cache / "ml-100k.zip"
    assert publisher.asked == 1


def test_a_file_that_is_cut_is_not_kept(publisher, tmp_path):
    publisher.content = publisher.content[:-20]  # the connection ends before the stated length
    assert "did not arrive from http://127.0.0.1" in fails(tmp_path / "cache")
    publisher.stated -= 20  # a server that cut its own file
    assert "is not the file that was expected, of md5" in fails(tmp_path / "cache")
    assert names_in(tmp_path / "cache") == []


def test_a_file_that_was_tampered_with_is_not_kept(publisher, tmp_path):
    good = publisher.content
    publisher.content = good[:50] + bytes([good[50] ^ 1]) + good[51:]
    assert "is not the file that was expected" in fails(tmp_path / "cache")
    assert names_in(tmp_path / "cache") == []
    publisher.content = good
    assert download("movielens-100k", tmp_path / "cache").read_bytes() == good


def test_a_changed_file_in_the_cache_is_replaced_or_stays(publisher, tmp_path):
    path = download("movielens-100k", tmp_path / "cache")
    path.write_bytes(b"changed")
    assert download("movielens-100k", tmp_path / "cache").read_bytes() == publisher.content
    path.write_bytes(b"changed")
    publisher.status = 503
    assert "HTTPError: 503" in fails(tmp_path / "cache")
    assert path.read_bytes() == b"changed"  # and never returned


def test_without_a_connection(publisher, tmp_path, capsys):
    publisher.shutdown()
    publisher.server_close()
    assert "ConnectionError" in fails(tmp_path / "cache")
    assert main(["download", "movielens-100k", "--cache", str(tmp_path / "cache")]) == 2
    assert "check the connection and try again, or download" in capsys.readouterr().err


def test_an_interrupted_download_leaves_nothing(publisher, tmp_path, monkeypatch):
    import pooch

    def stop(self, url, output, pooch):
        with open(output, "wb") as file:
            file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(pooch.HTTPDownloader, "__call__", stop)
    with pytest.raises(KeyboardInterrupt):
        download("movielens-100k", tmp_path / "cache")
    assert names_in(tmp_path / "cache") == []


def test_unknown_names_blocked_caches_and_a_missing_library(publisher, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="download: got 'taobao', allowed movielens-100k, movielens-1m"):
        download("taobao", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LogError, match="not writable .*choose another --cache"):
        download("movielens-100k", tmp_path / "file")
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(LogError, match=r"pooch, which is not installed; run `pip install recsim-hrl\[data\]`"):
        download("movielens-100k", tmp_path)


def test_the_registry():
    assert list(DOWNLOADS) == [
        *(f"movielens-{size}" for size in ("100k", "1m", "20m", "25m")),
        "kuairand-pure",
        "kuairand-1k",
    ]
    for wanted in DOWNLOADS.values():
        assert wanted.url.startswith("https://") and wanted.licence.startswith("https://")
        assert len(wanted.md5) == 32 and int(wanted.md5, 16) >= 0
    assert DOWNLOADS["movielens-25m"].url == "https://files.grouplens.org/datasets/movielens/ml-25m.zip"
    assert DOWNLOADS["kuairand-1k"].url == "https://zenodo.org/records/10439422/files/KuaiRand-1K.tar.gz"
