"""The files of MovieLens-100k, found in a folder, an archive or a wheel, and parsed with every value checked."""

import re
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from recsim_hrl.data.archives import DOWNLOAD, members_of
from recsim_hrl.data.schema import LogError

GENRES = (
    *(
        "unknown",
        "Action",
        "Adventure",
        "Animation",
        "Children's",
        "Comedy",
        "Crime",
        "Documentary",
        "Drama",
        "Fantasy",
    ),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
"""The publisher's genres in the order of u.genre; RecBole's files name them without listing them."""

PUBLISHER_FILES = ("u.data", "u.item", "u.genre")
RECBOLE_FILES = ("ml-100k.inter", "ml-100k.item")

_INNER_FOLDERS = (".", "ml-100k", "dataset_example/ml-100k", "recbole/dataset_example/ml-100k")
_LARGEST_FILE = 64 << 20
"""Bytes; thirty times the largest file of the data set."""
_LONGEST_SPAN = 10 * 365 * 86_400
"""Seconds; the ratings span seven months, and a timestamp that lost a digit lies decades off."""
_WHOLE = re.compile(r"([0-9]{1,18})(\.0*)?")
_YEAR = re.compile(r"\(([0-9]{4})\)")


@dataclass(frozen=True)
class Ratings:
    """The data set as its publisher ships it: ``n`` ratings in file order, and ``I`` movies."""

    user_ids: np.ndarray  # (n,) int64
    item_index: np.ndarray  # (n,) int64 position of the movie in ``item_ids``
    stars: np.ndarray  # (n,) int64, 1 to 5
    seconds: np.ndarray  # (n,) int64 since 1970
    item_ids: np.ndarray  # (I,) int64
    genres: np.ndarray  # (I, G) bool, one or more True in each row
    years: np.ndarray  # (I,) float64 year of release, NaN where the files lack it
    genre_names: tuple[str, ...]


def read_ratings(source: str | Path) -> Ratings:
    """Read MovieLens-100k from wherever its files lie.

    Args:
        source: The publisher's ml-100k.zip, a folder with u.data, u.item and u.genre (or that folder's parent), a
            folder with RecBole's ml-100k.inter and ml-100k.item, RecBole's wheel, or the path of u.data or
            ml-100k.inter itself.

    Raises:
        LogError: a file is missing, damaged or of another kind; the message names file, column, row and the fix.
    """
    files = _find(Path(source))
    if PUBLISHER_FILES[0] in files.names:
        return _publisher(files)
    return _recbole(files)


@dataclass(frozen=True)
class _Files:
    """The files beside each other in one folder, on disk or inside an archive."""

    path: Path
    """The folder or archive."""
    prefix: str
    """Folder inside the archive, ending in a slash; empty at its top and for a folder on disk."""
    names: frozenset[str]

    def label(self, name: str) -> str:
        return f"{self.path}/{self.prefix}{name}"

    def lines(self, name: str, encoding: str) -> list[str]:
        """Lines of a file, without blank ones at its end."""
        if name not in self.names:
            wanted = PUBLISHER_FILES if name in PUBLISHER_FILES else RECBOLE_FILES
            raise LogError(
                f"{name} is missing; got {sorted(self.names)[:20]}, required {list(wanted)}; add it, or {DOWNLOAD}",
                self.path,
            )
        try:
            text = self._bytes(name).decode(encoding)
        except UnicodeDecodeError as error:
            raise LogError(f"not {encoding} text ({error}); {DOWNLOAD}", self.label(name)) from None
        # Not splitlines: latin-1 text may hold characters that it takes for line ends.
        lines = [line.removesuffix("\r") for line in text.split("\n")]
        while lines and not lines[-1].strip():
            lines.pop()
        if not lines:
            raise LogError(f"the file is empty, allowed one or more rows; {DOWNLOAD}", self.label(name))
        return lines

    def _bytes(self, name: str) -> bytes:
        try:
            if self.path.is_dir():
                size = (self.path / name).stat().st_size
                content = b"" if size > _LARGEST_FILE else (self.path / name).read_bytes()
            else:
                with zipfile.ZipFile(self.path) as archive:
                    size = archive.getinfo(self.prefix + name).file_size
                    content = b"" if size > _LARGEST_FILE else archive.read(self.prefix + name)
        # RuntimeError and its kind NotImplementedError: an encrypted member, or an unknown compression.
        except (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
            raise LogError(f"not readable ({error}); the file is damaged: {DOWNLOAD}", self.label(name)) from None
        if size > _LARGEST_FILE:
            raise LogError(
                f"got {size} bytes, allowed {_LARGEST_FILE}; not MovieLens-100k: check the path", self.label(name)
            )
        return content


def _find(source: Path) -> _Files:
    if not source.exists():
        raise LogError("no such file or folder; check the path, or download MovieLens-100k there", source)
    key_files = (PUBLISHER_FILES[0], RECBOLE_FILES[0])
    if source.is_dir() or source.name in key_files:
        folder = source if source.is_dir() else source.parent
        for inner in (folder / part for part in _INNER_FOLDERS):
            if any((inner / name).is_file() for name in key_files):
                return _Files(inner, "", frozenset(entry.name for entry in inner.iterdir()))
        found = sorted(entry.name for entry in folder.iterdir())
        raise _not_there(source, found)
    members = members_of(source, "zip archive or wheel")
    for key in key_files:
        prefixes = [name.removesuffix(key) for name in members if name == key or name.endswith(f"/{key}")]
        if len(prefixes) > 1:
            raise LogError(f"got {key} in {prefixes}, allowed once; extract the archive and pass one folder", source)
        if prefixes:
            inside = (name.removeprefix(prefixes[0]) for name in members if name.startswith(prefixes[0]))
            return _Files(source, prefixes[0], frozenset(name for name in inside if name and "/" not in name))
    raise _not_there(source, sorted(members))


def _not_there(source: Path, found: Sequence[str]) -> LogError:
    return LogError(
        f"not MovieLens-100k: got {list(found[:10])}, required {list(PUBLISHER_FILES)} or {list(RECBOLE_FILES)}; "
        "pass the publisher's ml-100k.zip or its folder, or RecBole's folder or wheel",
        source,
    )


@dataclass(frozen=True)
class _Table:
    """The fields of one file."""

    file: str
    names: tuple[str, ...]
    rows: list[list[str]]

    @staticmethod
    def split(file: str, lines: list[str], separator: str, names: tuple[str, ...]) -> "_Table":
        rows = [line.split(separator) for line in lines]
        for row, fields in enumerate(rows, start=1):
            if len(fields) != len(names):
                shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                raise LogError(
                    f"a broken row: got {len(fields)} fields, allowed {len(names)} ({shown}) separated by "
                    f"{separator!r}; correct the row, or {DOWNLOAD}",
                    file,
                    row=row,
                )
        return _Table(file, names, rows)

    def text(self, name: str) -> list[str]:
        if name not in self.names:
            raise LogError(f"the column is missing; got {list(self.names)}; {DOWNLOAD}", self.file, name)
        place = self.names.index(name)
        return [fields[place] for fields in self.rows]

    def whole(
        self, name: str, allowed: str = "a whole number of 0 or more", low: int = 0, high: int = 10**18
    ) -> np.ndarray:
        """(rows,) int64 numbers of a column, each in [low, high]; 3 and 3.0 are the same."""
        values = np.empty(len(self.rows), dtype=np.int64)
        for place, text in enumerate(self.text(name)):
            match = _WHOLE.fullmatch(text)
            if match is None or not low <= int(match[1]) <= high:
                raise self.error(f"got {text[:60]!r}, allowed {allowed}; correct the row, or {DOWNLOAD}", name, place)
            values[place] = int(match[1])
        return values

    def error(self, message: str, name: str | None, place: int) -> LogError:
        """The error for the row at 0-based ``place``."""
        return LogError(message, self.file, name, int(place) + 1)


@dataclass(frozen=True)
class _Movies:
    table: _Table
    genres: np.ndarray  # (I, G) bool
    years: np.ndarray  # (I,) float64
    genre_names: tuple[str, ...]

    @cached_property
    def item_ids(self) -> np.ndarray:
        """(I,) int64, each once."""
        ids = self.table.whole("item_id")
        place = _repeated(ids)
        if place is not None:
            raise self.table.error(f"item {ids[place]} is duplicated, allowed once; remove a row", "item_id", place)
        return ids


def _publisher(files: _Files) -> Ratings:
    genre_names = _genre_names(files)
    lines = files.lines("u.item", "latin-1")
    plain = ("item_id", "movie_title", "release_date", "video_release_date", "imdb_url")
    table = _Table.split(files.label("u.item"), lines, "|", (*plain, *genre_names))
    flags = [table.whole(name, "0 or 1", high=1) for name in genre_names]
    dated = zip(table.text("movie_title"), table.text("release_date"), strict=True)
    years = [_year_in(title) or _year_in(f"({date[-4:]})") for title, date in dated]
    movies = _Movies(table, np.stack(flags, axis=1).astype(bool), np.array(years, dtype=np.float64), genre_names)
    names = ("user_id", "item_id", "rating", "timestamp")
    ratings = _Table.split(files.label("u.data"), files.lines("u.data", "latin-1"), "\t", names)
    found = _ratings(ratings, movies)
    if "u.info" in files.names:
        _check_counts(files, found)
    return found


def _genre_names(files: _Files) -> tuple[str, ...]:
    table = _Table.split(files.label("u.genre"), files.lines("u.genre", "latin-1"), "|", ("genre", "number"))
    numbers, names = table.whole("number"), table.text("genre")
    wrong = np.flatnonzero(numbers != np.arange(len(numbers)))
    if len(wrong):
        place = wrong[0]
        raise table.error(f"got {numbers[place]}, allowed {place}: genres are numbered in order", "number", place)
    if len(set(names)) < len(names):
        raise LogError(f"got genres {names}, allowed each once; {DOWNLOAD}", table.file, "genre")
    return tuple(names)


def _check_counts(files: _Files, found: Ratings) -> None:
    """Raise LogError where u.info states other counts: the one sign of a file cut between two rows."""
    held = {"users": len(np.unique(found.user_ids)), "items": len(found.item_ids), "ratings": len(found.stars)}
    table = _Table.split(files.label("u.info"), files.lines("u.info", "latin-1"), " ", ("count", "of"))
    for stated, kind in zip(table.whole("count"), table.text("of"), strict=True):
        if held.get(kind, stated) != stated:
            raise LogError(
                f"states {stated} {kind}, but the files hold {held[kind]}; restore the missing rows, "
                "or remove u.info if the change was meant",
                table.file,
            )


def _recbole(files: _Files) -> Ratings:
    table = _atomic(files, "ml-100k.item")
    genres = np.zeros((len(table.rows), len(GENRES)), dtype=bool)
    for place, text in enumerate(table.text("class")):
        for name in text.split(" "):
            if name not in GENRES:
                raise table.error(f"got genre {name[:60]!r}, allowed {list(GENRES)}; correct it", "class", place)
            genres[place, GENRES.index(name)] = True
    # RecBole took the year from the end of the title, where one movie has "(V)" and one has nothing.
    dated = zip(table.text("movie_title"), table.text("release_year"), strict=True)
    years = np.array([_year_in(f"({year})") or _year_in(title) for title, year in dated], dtype=np.float64)
    return _ratings(_atomic(files, "ml-100k.inter"), _Movies(table, genres, years, GENRES))


def _atomic(files: _Files, name: str) -> _Table:
    """One of RecBole's atomic files: tabs, and a header of ``name:type`` fields."""
    header, *lines = files.lines(name, "utf-8")
    fields = header.removeprefix("\ufeff").split("\t")
    if not all(":" in field for field in fields):
        raise LogError(
            f"got the header {header[:80]!r}, allowed fields like item_id:token between tabs; {DOWNLOAD}",
            files.label(name),
        )
    names = tuple(field.split(":")[0] for field in fields)
    return _Table.split(files.label(name), lines, "\t", names)


def _year_in(text: str) -> float | None:
    """The last year in round brackets."""
    years = _YEAR.findall(text)
    return float(years[-1]) if years else None


def _ratings(table: _Table, movies: _Movies) -> Ratings:
    item_ids = movies.item_ids
    bare = np.flatnonzero(~movies.genres.any(axis=1))
    if len(bare):
        raise movies.table.error("the movie has no genre, allowed one or more; correct the row", None, bare[0])
    user_ids, rated = table.whole("user_id"), table.whole("item_id")
    stars = table.whole("rating", "a whole number of stars from 1 to 5", low=1, high=5)
    seconds = table.whole("timestamp", "a whole number of seconds since 1970")
    if not len(stars):
        raise LogError(f"the file holds no ratings, allowed one or more; {DOWNLOAD}", table.file)
    far = int(np.abs(seconds - np.median(seconds)).argmax())
    if np.ptp(seconds) > _LONGEST_SPAN:
        raise table.error(
            f"got {seconds[far]}, more than ten years from other ratings; correct the row, or {DOWNLOAD}",
            "timestamp",
            far,
        )
    order = np.argsort(item_ids)
    item_index = order[np.searchsorted(item_ids[order], rated).clip(max=len(order) - 1)]
    unknown = np.flatnonzero(item_ids[item_index] != rated)
    if len(unknown):
        message = f"got movie {rated[unknown[0]]}, which {movies.table.file} does not hold; add the movie there"
        raise table.error(message, "item_id", unknown[0])
    users = np.unique(user_ids, return_inverse=True)[1]
    place = _repeated(users * len(item_ids) + item_index)
    if place is not None:
        message = f"user {user_ids[place]} rated movie {rated[place]} in an earlier row too, allowed once; remove one"
        raise table.error(message, None, place)
    return Ratings(user_ids, item_index, stars, seconds, item_ids, movies.genres, movies.years, movies.genre_names)


def _repeated(keys: np.ndarray) -> int | None:
    """The first place whose key came before, or None."""
    first = np.unique(keys, return_index=True)[1]
    again = np.setdiff1d(np.arange(len(keys)), first)
    return int(again[0]) if len(again) else None
