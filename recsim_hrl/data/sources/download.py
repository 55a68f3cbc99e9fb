"""Downloads of public data sets whose publishers serve them to everybody, checked, into a cache (the extra ``data``).

A reader never downloads: it takes the path that ``download`` returns, or any other path to the same files.
"""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlparse

from recsim_hrl.data.schema import LogError

_GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_ZENODO = "https://zenodo.org/records/10439422"
_CHUNK_BYTES = 1 << 18
_WAIT_SECONDS = 30.0
"""Longest silence of a server."""


@dataclass(frozen=True)
class Download:
    """A file that its publisher serves, and how to know that it arrived whole."""

    url: str
    md5: str
    """As the publisher states it beside the file."""
    licence: str
    """Where its terms stand."""


DOWNLOADS = {
    name: Download(f"{_GROUPLENS}/ml-{size}.zip", md5, f"{_GROUPLENS}/ml-{size}-README.{kind}")
    for name, size, md5, kind in (
        ("movielens-100k", "100k", "0e33842e24a9c977be4e0107933c0723", "txt"),
        ("movielens-1m", "1m", "c4d9eecfca2ab87c1945afe126590906", "txt"),
        ("movielens-20m", "20m", "cd245b17a1ae2cc31bb14903e1204af3", "html"),
        ("movielens-25m", "25m", "6b51fb2759a8657d3bfcbfc42b592ada", "html"),
    )
} | {
    name: Download(f"{_ZENODO}/files/{file}.tar.gz", md5, _ZENODO)
    for name, file, md5 in (
        ("kuairand-pure", "KuaiRand-Pure", "0820331067a3784d9691136f772b35a7"),
        ("kuairand-1k", "KuaiRand-1K", "6b0b9c8222d67fcd4c676218edca3f1f"),
    )
}
"""By name. The checksums are those of public projects that state them, see docs/datasets/downloads.md."""


def download(name: str, cache: str | Path | None = None) -> Path:
    """The file of a data set, from the cache or from its publisher.

    A file arrives under another name, is checked and then moved to its place; what was interrupted begins anew. A file
    in the cache that was changed since is replaced.

    Args:
        name: One of ``DOWNLOADS``.
        cache: Folder of the files; without, the one that the system has for caches.

    Raises:
        ValueError: there is no download of this name.
        LogError: the publisher cannot be reached, what arrived is another file, the disk is full, or pooch is not
            installed.
    """
    if name not in DOWNLOADS:
        raise ValueError(f"download: got {name!r}, allowed {', '.join(DOWNLOADS)}; see docs/datasets/downloads.md")
    try:
        import pooch
        from requests import RequestException
    except ImportError as error:
        raise LogError(
            "files are downloaded with pooch, which is not installed; run `pip install recsim-hrl[data]`"
        ) from error
    wanted = DOWNLOADS[name]
    folder = Path(cache) if cache is not None else pooch.os_cache("recsim-hrl")
    file = Path(urlparse(wanted.url).path).name
    by_hand = f"or download {wanted.url} by hand and pass its path to the reader"
    fetch = pooch.HTTPDownloader(progressbar=True, chunk_size=_CHUNK_BYTES, timeout=_WAIT_SECONDS)
    try:
        found = pooch.retrieve(wanted.url, f"md5:{wanted.md5}", fname=file, path=folder, downloader=fetch)
    except RequestException as error:
        raise LogError(
            f"{name} did not arrive from {wanted.url} ({type(error).__name__}: {error}); check the connection and try "
            f"again, {by_hand}",
            folder / file,
        ) from error
    except ValueError as error:  # how pooch tells another checksum
        raise LogError(
            f"{wanted.url} is not the file that was expected, of md5 {wanted.md5}; try again, {by_hand}", folder / file
        ) from error
    except OSError as error:
        raise LogError(f"not writable ({error}); free the disk, or choose another --cache", folder / file) from error
    return Path(found)
