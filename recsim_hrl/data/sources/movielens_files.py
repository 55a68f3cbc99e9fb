"""The files of MovieLens, parsed with every value checked: movies at once, ratings as a stream."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsim_hrl.data.archives import DOWNLOAD, READ_ERRORS
from recsim_hrl.data.blocks import Block
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_files import Place, read_table
from recsim_hrl.data.sources.movielens_forms import NO_GENRES, Form, Found
from recsim_hrl.data.textfile import fields_of

_LARGEST_FILE = 64 << 20
"""Bytes of a file that is read at once; twenty times the movies of the largest data set."""
_WHOLE = re.compile(r"([0-9]{1,18})(\.0*)?")
_YEAR = re.compile(r"\(([0-9]{4})\)")
_GENRE_COLUMNS = ("class", "genre", "type", "genres", "Genres")
_TITLE_COLUMNS = ("movie_title", "movie_name", "title", "Title")
"""What the publisher, and RecBole in its several copies, call these columns."""


@dataclass(frozen=True)
class Movies:
    """The ``I`` movies in file order."""

    file: str
    item_ids: np.ndarray  # (I,) int64, each once
    genres: np.ndarray  # (I, G) bool, one or more True in each row
    years: np.ndarray  # (I,) float64 year of release, NaN where the files lack it
    genre_names: tuple[str, ...]

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(self.item_ids)

    def index(self, item_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions of ``item_ids`` (n,), and whether the movie is there at all: (n,) int64 and (n,) bool."""
        place = self._order[np.searchsorted(self.item_ids, item_ids, sorter=self._order).clip(max=len(self._order) - 1)]
        return place, self.item_ids[place] == item_ids


def rating_blocks(found: Found, movies: Movies) -> Iterator[Block]:
    """Stream the ratings in file order.

    Yields:
        int64 columns (rows,): ``user``, ``item`` (id), ``item_index``, ``half_stars`` (1 to 10), ``milliseconds``
        since 1970, and ``row``, 1-based.

    Raises:
        LogError: at the first row that is damaged, or rates a movie that is not known.
    """
    table = found.form.ratings
    user, item, stars, seconds = table.names
    for origin, columns in read_table(found.files[table.file], table):
        values = {name: column.to_numpy() for name, column in columns.items()}
        item_index, is_known = movies.index(values[item])
        if not is_known.all():
            at = int(is_known.argmin())
            message = f"got movie {values[item][at]}, which {movies.file} does not hold; add the movie there"
            raise origin.error(message, item, at)
        yield {
            "user": values[user],
            "item": values[item],
            "item_index": item_index,
            "half_stars": values[stars],
            "milliseconds": values[seconds] * 1000,
            "row": origin.first_row + np.arange(len(item_index)),
        }


def read_movies(found: Found) -> Movies:
    """Read the file of the movies, and what tells of it.

    Raises:
        LogError: a file is damaged or of another kind; the message names file, column, row and the fix.
    """
    form = found.form
    place = found.files[form.movies]
    if not form.genre_separator:
        _check_genre_names(found)
    table = _movie_table(place, form)
    item_id = "item_id" if "item_id" in table.names else table.names[0]
    ids = table.whole(item_id)
    again = _repeated(ids)
    if again is not None:
        raise table.error(f"item {ids[again]} is duplicated, allowed once; remove a row", item_id, again)
    genres = _listed_genres(table, form) if form.genre_separator else _flagged_genres(table, form)
    bare = np.flatnonzero(~genres.any(axis=1))
    if len(bare):
        raise table.error("the movie has no genre, allowed one or more; correct the row", None, bare[0])
    return Movies(table.file, ids, genres, _years(table), form.genres)


def check_counts(found: Found, held: dict[str, int]) -> None:
    """Raise LogError where u.info states other counts than ``held``: the one sign of a file cut between two rows.

    Args:
        found: The files.
        held: Number of ``users``, ``items`` and ``ratings``.
    """
    if "u.info" not in found.files:
        return
    place = found.files["u.info"]
    table = _Table.split(place.label, _lines(place, "latin-1"), " ", ("count", "of"))
    for stated, kind in zip(table.whole("count"), table.text("of"), strict=True):
        if held.get(kind, stated) != stated:
            raise LogError(
                f"states {stated} {kind}, but the files hold {held[kind]}; restore the missing rows, "
                "or remove u.info if the change was meant",
                table.file,
            )


@dataclass(frozen=True)
class _Table:
    """The fields of one small file."""

    file: str
    names: tuple[str, ...]
    rows: list[list[str]]
    is_headed: bool

    @staticmethod
    def split(file: str, lines: list[str], separator: str, names: tuple[str, ...], is_headed: bool = False) -> "_Table":
        rows = [fields_of(line) if separator == "," else line.split(separator) for line in lines]
        table = _Table(file, names, rows, is_headed)
        for place, fields in enumerate(rows):
            if len(fields) != len(names):
                shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
                raise table.error(
                    f"a broken row: got {len(fields)} fields, allowed {len(names)} ({shown}) separated by "
                    f"{separator!r}; correct the row, or {DOWNLOAD}",
                    None,
                    place,
                )
        return table

    def column(self, names: Sequence[str]) -> str:
        """The one of ``names`` that the table has."""
        found = [name for name in names if name in self.names]
        if not found:
            raise LogError(
                f"the column is missing; got {list(self.names)}, required one of {list(names)}; {DOWNLOAD}",
                self.file,
                names[0],
            )
        return found[0]

    def text(self, name: str) -> list[str]:
        place = self.names.index(name)
        return [fields[place] for fields in self.rows]

    def whole(self, name: str, allowed: str = "a whole number of 0 or more", high: int = 10**18) -> np.ndarray:
        """(rows,) int64 numbers of a column, each from 0 to ``high``; 3 and 3.0 are the same."""
        values = np.empty(len(self.rows), dtype=np.int64)
        for place, text in enumerate(self.text(name)):
            match = _WHOLE.fullmatch(text)
            if match is None or int(match[1]) > high:
                raise self.error(f"got {text[:60]!r}, allowed {allowed}; correct the row, or {DOWNLOAD}", name, place)
            values[place] = int(match[1])
        return values

    def error(self, message: str, name: str | None, place: int) -> LogError:
        """The error for the row at 0-based ``place``."""
        return LogError(message, self.file, name, int(place) + 1, self.is_headed)


def _lines(place: Place, encoding: str) -> list[str]:
    """Lines of a small file, without blank ones at its end."""
    try:
        with place.open() as file:
            content = file.read(_LARGEST_FILE + 1)
    except READ_ERRORS as error:
        raise LogError(f"not readable ({error}); the file is damaged: {DOWNLOAD}", place.label) from None
    if len(content) > _LARGEST_FILE:
        raise LogError(f"got more than {_LARGEST_FILE} bytes, allowed fewer; check the path", place.label)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise LogError(f"not {encoding} text ({error}); {DOWNLOAD}", place.label) from None
    # Not splitlines: latin-1 text may hold characters that it takes for line ends.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise LogError(f"the file is empty, allowed one or more rows; {DOWNLOAD}", place.label)
    return lines


def _movie_table(place: Place, form: Form) -> _Table:
    lines = _lines(place, form.encoding)
    if not form.ratings.is_headed:
        return _Table.split(place.label, lines, form.separator, form.movie_columns)
    header, *lines = lines
    fields = tuple(header.removeprefix("\ufeff").split(form.separator))
    allowed = form.separator.join(form.movie_columns) or "fields like item_id:token between tabs"
    if fields != form.movie_columns and (form.movie_columns or not all(":" in field for field in fields)):
        raise LogError(f"got the header {header[:80]!r}, allowed {allowed}; {DOWNLOAD}", place.label)
    if not lines:
        raise LogError(f"the file holds no rows, allowed one or more; {DOWNLOAD}", place.label)
    names = tuple(field.split(":")[0] for field in fields)
    return _Table.split(place.label, lines, form.separator, names, is_headed=True)


def _check_genre_names(found: Found) -> None:
    """Raise LogError unless u.genre lists the genres in the order in which u.item has columns for them."""
    place, genres = found.files["u.genre"], found.form.genres
    table = _Table.split(place.label, _lines(place, "latin-1"), "|", ("genre", "number"))
    numbers, names = table.whole("number"), table.text("genre")
    for at, (number, name) in enumerate(zip(numbers, names, strict=True)):
        if number != at:
            raise table.error(f"got {number}, allowed {at}: genres are numbered in order", "number", at)
        if at >= len(genres) or name != genres[at]:
            allowed = genres[at] if at < len(genres) else f"{len(genres)} genres"
            raise table.error(f"got {name[:60]!r}, allowed {allowed}; {DOWNLOAD}", "genre", at)
    if len(names) < len(genres):
        raise LogError(f"got {len(names)} genres, allowed {len(genres)}; {DOWNLOAD}", table.file, "genre")


def _flagged_genres(table: _Table, form: Form) -> np.ndarray:
    """(I, G) bool from one column for each genre."""
    return np.stack([table.whole(name, "0 or 1", high=1) for name in form.genres], axis=1).astype(bool)


def _listed_genres(table: _Table, form: Form) -> np.ndarray:
    """(I, G) bool from one column that lists them; nothing is no genre, where the data set has that."""
    column = table.column(_GENRE_COLUMNS)
    places = {name: place for place, name in enumerate(form.genres)}
    genres = np.zeros((len(table.rows), len(places)), dtype=bool)
    for at, text in enumerate(table.text(column)):
        bare = NO_GENRES in places and text in ("", NO_GENRES)
        for name in [NO_GENRES] if bare else text.split(form.genre_separator):
            if name not in places:
                raise table.error(f"got genre {name[:60]!r}, allowed {list(places)}; correct it", column, at)
            genres[at, places[name]] = True
    return genres


def _years(table: _Table) -> np.ndarray:
    """(I,) float64 from the columns that have a year, the surest first; NaN where none has.

    RecBole took the year from the first brackets of a title, where some movies have something else.
    """
    titles = table.text(table.column(_TITLE_COLUMNS))
    years = [_year_in(title) for title in titles]
    if "release_year" in table.names:
        told = [_year_in(f"({year})") for year in table.text("release_year")]
        years = [first or second for first, second in zip(told, years, strict=True)]
    if "release_date" in table.names:
        dates = [_year_in(f"({date[-4:]})") for date in table.text("release_date")]
        years = [first or second for first, second in zip(years, dates, strict=True)]
    return np.array(years, dtype=np.float64)


def _year_in(text: str) -> float | None:
    """The last year in round brackets."""
    years = _YEAR.findall(text)
    return float(years[-1]) if years else None


def _repeated(keys: np.ndarray) -> int | None:
    """The first place whose key came before, or None."""
    first = np.unique(keys, return_index=True)[1]
    again = np.setdiff1d(np.arange(len(keys)), first)
    return int(again[0]) if len(again) else None
