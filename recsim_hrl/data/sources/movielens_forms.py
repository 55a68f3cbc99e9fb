"""The forms in which MovieLens is published, and which of them lies in a folder, an archive or a wheel."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from recsim_hrl.data.archives import members_of
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_fields import Field, pointed, whole
from recsim_hrl.data.sources.event_files import Place, TextTable, find_files, find_some

NO_GENRES = "(no genres listed)"

_GENRES = (
    *("Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama", "Fantasy"),
    *("Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
GENRES_100K = ("unknown", *_GENRES)
"""In the order of u.genre; RecBole's files name them without listing them."""
GENRES_1M = _GENRES
GENRES_20M = (*("Children" if name == "Children's" else name for name in _GENRES), "IMAX", NO_GENRES)
"""Also those of 25M."""

_RATINGS = ("user_id", "item_id", "rating", "timestamp")
_CSV_RATINGS = ("userId", "movieId", "rating", "timestamp")


@dataclass(frozen=True)
class DataSet:
    """One of the data sets of MovieLens."""

    name: str
    """What its log is called."""
    title: str
    """What people call it."""
    ratings: int | None
    """Ratings that the publisher states, None for one that is not known."""


M100K = DataSet("movielens-100k", "MovieLens-100k", 100_000)
M1M = DataSet("movielens-1m", "MovieLens-1M", 1_000_209)
M20M = DataSet("movielens-20m", "MovieLens-20M", 20_000_263)
M25M = DataSet("movielens-25m", "MovieLens-25M", 25_000_095)
_OTHER = DataSet("movielens", "MovieLens", None)


@dataclass(frozen=True)
class Form:
    """Files of one form: where the ratings and the movies are, and what may stand in them."""

    ratings: TextTable
    """Fields: user, movie, stars (as half stars) and seconds since 1970, in this order."""
    movies: str
    """The file of the movies."""
    movie_columns: tuple[str, ...]
    """Its columns; none where its first line names them, as in RecBole's."""
    separator: str
    """Between the columns of the movies; commas are those of CSV, which may be quoted."""
    encoding: str
    genres: tuple[str, ...]
    """Allowed genres; categories are numbered in their order."""
    genre_separator: str
    """Between the genres of a movie; nothing where each genre has a column of its own."""
    data_sets: tuple[DataSet, ...]
    """The data sets of this form."""
    years: int
    """Years that ratings span at most; a timestamp that lost a digit lies decades off."""
    others: tuple[str, ...] = ()
    """Files that are needed too."""
    optional: tuple[str, ...] = ()
    """Files that are looked at where they are there."""

    @property
    def label(self) -> str:
        """What error messages call it."""
        return " or ".join(data_set.title for data_set in self.data_sets)

    @property
    def files(self) -> tuple[str, ...]:
        """The files that are needed."""
        return (self.ratings.file, self.movies, *self.others)

    def data_set(self, ratings: int) -> DataSet:
        """The data set of so many ratings; of two of one form, neither where the number is another one."""
        if len(self.data_sets) == 1:
            return self.data_sets[0]
        return next((data_set for data_set in self.data_sets if data_set.ratings == ratings), _OTHER)


@dataclass(frozen=True)
class Found:
    """A form and where its files lie."""

    form: Form
    files: dict[str, Place]


def _stars(name: str, steps: range, allowed: str) -> Field:
    """A number of stars, whose value is ``steps`` half stars."""
    texts = pa.array([f"{step / 2:g}" for step in steps])
    values = pa.array(steps, pa.int64())
    return pointed(Field(name, allowed, lambda found: values.take(pc.index_in(found, texts))))


def _ratings(
    file: str, names: tuple[str, ...], has_halves: bool, separator: str, headings: tuple[str, ...]
) -> TextTable:
    user, item, stars, seconds = names
    rating = (
        _stars(stars, range(1, 11), "a number of stars from 0.5 to 5 in steps of 0.5")
        if has_halves
        else _stars(stars, range(2, 11, 2), "a whole number of stars from 1 to 5")
    )
    # Milliseconds of it have to fit into 64 bits.
    time = whole(seconds, "a whole number of seconds since 1970", high=10**15)
    fields = (pointed(whole(user)), pointed(whole(item)), rating, pointed(time))
    return TextTable(file, fields, bool(headings), separator, headings)


def _recbole(name: str, genres: tuple[str, ...], data_set: DataSet, has_halves: bool, years: int) -> Form:
    """RecBole's atomic files: tabs, and a header of ``name:type`` fields."""
    headings = ("user_id:token", "item_id:token", "rating:float", "timestamp:float")
    ratings = _ratings(f"{name}.inter", _RATINGS, has_halves, "\t", headings)
    return Form(ratings, f"{name}.item", (), "\t", "utf-8", genres, " ", (data_set,), years)


FORMS = (
    Form(
        _ratings("u.data", _RATINGS, False, "\t", ()),
        "u.item",
        ("item_id", "movie_title", "release_date", "video_release_date", "imdb_url", *GENRES_100K),
        "|",
        "latin-1",
        GENRES_100K,
        "",
        (M100K,),
        years=10,
        others=("u.genre",),
        optional=("u.info",),
    ),
    Form(
        _ratings("ratings.dat", ("UserID", "MovieID", "Rating", "Timestamp"), False, "::", ()),
        "movies.dat",
        ("MovieID", "Title", "Genres"),
        "::",
        "latin-1",
        GENRES_1M,
        "|",
        (M1M,),
        years=10,
    ),
    Form(
        _ratings("ratings.csv", _CSV_RATINGS, True, ",", _CSV_RATINGS),
        "movies.csv",
        ("movieId", "title", "genres"),
        ",",
        "utf-8",
        GENRES_20M,
        "|",
        (M20M, M25M),
        years=30,
    ),
    _recbole("ml-100k", GENRES_100K, M100K, False, 10),
    _recbole("ml-1m", GENRES_1M, M1M, False, 10),
    _recbole("ml-20m", GENRES_20M, M20M, True, 30),
    _recbole("ml-25m", GENRES_20M, M25M, True, 30),
)
"""All of them; the file of the ratings tells which one it is."""


def find_movielens(source: Path) -> Found:
    """Find out which form of MovieLens lies in a source, and where.

    Args:
        source: A folder with the files of one form in it or below it; an archive or RecBole's wheel; or the file of
            the ratings, with the others beside it.

    Raises:
        LogError: nothing, or more than one, is there, or a file is missing; the message says what was found.
    """
    forms = {form.ratings.file: form for form in FORMS}
    found = find_some(source, [source.name] if source.name in forms and source.is_file() else list(forms), "MovieLens")
    if not found:
        held = sorted(path.name for path in source.iterdir()) if source.is_dir() else sorted(members_of(source))
        raise LogError(
            f"not MovieLens: got {held[:10]}, required the ratings as one of {list(forms)}; pass the publisher's "
            "archive or folder, or RecBole's",
            source,
        )
    if len(found) > 1:
        raise LogError(
            f"got {[place.label for place in found.values()]}, allowed one of them; pass the file itself, or extract "
            "the archive and pass one folder",
            source,
        )
    ((name, place),) = found.items()
    form = forms[name]
    beside = source if place.member else place.path.parent
    return Found(form, find_files(beside, form.files, form.label, optional=form.optional))
