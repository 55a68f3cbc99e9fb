"""MovieLens as an interaction log: real ratings in time order, cut into sessions, with item embeddings.

What the mapping means, and what it does not, is in ``docs/datasets/movielens.md``.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from recsim_hrl.data.archives import DOWNLOAD
from recsim_hrl.data.blocks import Block, run_starts, whole_runs
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_store import EventStore, StoreConfig, event_store
from recsim_hrl.data.sources.log_rows import LogForm, fill_sessions, write_logs
from recsim_hrl.data.sources.movielens_files import Movies, check_counts, rating_blocks, read_movies
from recsim_hrl.data.sources.movielens_forms import Found, find_movielens
from recsim_hrl.data.sources.movielens_items import SCALARS, movie_vectors, rarest_genre
from recsim_hrl.data.sources.sessions import cut_into_sessions, visits_of
from recsim_hrl.data.splits import boundary_of
from recsim_hrl.types import CLICK, ORDER, SKIP, Catalogue

_MILLISECONDS_A_YEAR = 365 * 86_400_000
_FORM = LogForm()


@dataclass(frozen=True)
class MovielensConfig(StoreConfig):
    """How ratings become sessions, responses and embeddings."""

    gap_seconds: int = 1800
    """A user who rates nothing for longer than this has left: the next rating begins a new visit."""
    session_length: int = 50
    """A visit of L ratings becomes round(L / session_length) sessions of equal length, at least one."""
    click_stars: float = 4.0
    """Fewest stars of a click; fewer are a skip."""
    order_stars: float = 5.0
    """Fewest stars of an order."""
    training_fraction: float = 0.5
    """Share of the sessions, earliest first, whose ratings the embeddings may use."""
    embedding_dim: int = 50
    """Width of the item embedding: the genres, two scalars, and the rest factors."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, low in (("gap_seconds", 0), ("session_length", 1), ("embedding_dim", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"movielens {name}: got {getattr(self, name)}, allowed {low} or more; raise it")
        if not 0.5 <= self.click_stars <= self.order_stars <= 5.0:
            raise ValueError(
                f"movielens click_stars and order_stars: got {self.click_stars} and {self.order_stars}, allowed 0.5 "
                "to 5, the first not above the second; change them"
            )
        if not 0.0 < self.training_fraction < 1.0:
            raise ValueError(
                f"movielens training_fraction: got {self.training_fraction}, allowed above 0 and below 1; change it"
            )


def read_movielens(source: str | Path, path: str | Path, config: MovielensConfig | None = None) -> InteractionLog:
    """Write MovieLens 100k, 1M, 20M or 25M as a log and open it.

    Ratings below 4 stars are skips, those below 5 clicks, 5 an order. The log's metadata names the categories
    (genres), tells under ``reading`` what was read, and holds the ``boundary`` in seconds before which a session is a
    training session; ``split_by_time(log, path, boundary=log.metadata["boundary"])`` makes that split, which is also
    the one of its default ``fraction``.

    Args:
        source: The publisher's archive or its folder, a folder with RecBole's atomic files, RecBole's wheel, or the
            file of the ratings with the others beside it.
        path: The folder to write; a log that is there is replaced.
        config: How ratings become sessions, responses and embeddings.

    Raises:
        LogError: a file is missing or damaged, ``path`` is in use, or DuckDB is not installed; the message names
            file, row and fix.
    """
    config, source, path = config or MovielensConfig(), Path(source), Path(path)
    _FORM.check(path)
    found = find_movielens(source)
    movies = read_movies(found)
    genres = len(movies.genre_names)
    if config.embedding_dim < genres + SCALARS:
        raise ValueError(
            f"movielens embedding_dim: got {config.embedding_dim}, allowed {genres + SCALARS} or more: {genres} "
            "genres, year and mean rating; raise it"
        )
    with event_store(path, config.memory_mb) as store:
        ratings = _load(found, movies, store)
        data_set = found.form.data_set(ratings)
        sessions = cut_into_sessions(_visits(found, movies, store, config), config.session_length)
        starts = fill_sessions(store, _FORM, sessions, "stars DOUBLE")
        boundary = int(boundary_of(starts, config.training_fraction))

        def training() -> Iterator[Block]:
            query = f"SELECT user AS session, item_index, stars FROM log_rows WHERE start < {boundary}"
            return whole_runs(store.blocks(query), "session")

        vectors = movie_vectors(training, movies, config.embedding_dim - genres - SCALARS)
        columns = map(torch.from_numpy, (movies.item_ids, vectors, rarest_genre(movies.genres)))
        catalogue = Catalogue(*columns, prices=torch.zeros(len(vectors)))  # the data set has no prices
        metadata = {
            "name": data_set.name,
            "source": f"{data_set.title} (GroupLens), read from {source.name}",
            "reader": asdict(config),
            "reading": {"ratings": ratings, "published": {one.title: one.ratings for one in found.form.data_sets}},
            "boundary": boundary // 1000,
            "training_sessions": int((starts < boundary).sum()),
            "categories": list(movies.genre_names),
        }
        (log,) = write_logs(store, _FORM, starts, catalogue, path, metadata)
        return log


def ratings_report(log: InteractionLog) -> str:
    """How many ratings were read, and how many the publisher states, in a line."""
    reading = log.metadata["reading"]
    stated = " and ".join(f"{ratings:,} for {title}" for title, ratings in reading["published"].items())
    return f"read {reading['ratings']:,} ratings (the publisher states {stated})"


def _load(found: Found, movies: Movies, store: EventStore) -> int:
    """Fill the table ``ratings``; how many there are."""
    first, last = np.iinfo(np.int64).max, 0
    columns = "user BIGINT, item BIGINT, item_index BIGINT, half_stars TINYINT, milliseconds BIGINT, row BIGINT"
    with store.filled("ratings", columns) as add:
        for block in rating_blocks(found, movies):
            first, last = min(first, block["milliseconds"].min()), max(last, block["milliseconds"].max())
            add(block)
    if last - first > found.form.years * _MILLISECONDS_A_YEAR:
        raise _far_off(found, store)
    counts = store.whole("SELECT count(*) AS ratings, count(DISTINCT user) AS users FROM ratings")
    held = {name: int(values[0]) for name, values in counts.items()} | {"items": len(movies.item_ids)}
    check_counts(found, held)
    return held["ratings"]


def _far_off(found: Found, store: EventStore) -> LogError:
    """The error for the rating that is farthest from the middle one."""
    table = found.form.ratings
    worst = store.whole(
        "SELECT row, milliseconds // 1000 AS seconds FROM ratings, (SELECT median(milliseconds) AS middle FROM ratings)"
        " ORDER BY abs(milliseconds - middle) DESC, row LIMIT 1"
    )
    return LogError(
        f"got {worst['seconds'][0]}, more than {found.form.years} years from other ratings; correct the row, "
        f"or {DOWNLOAD}",
        found.files[table.file].label,
        table.names[-1],
        int(worst["row"][0]),
        table.is_headed,
    )


def _visits(found: Found, movies: Movies, store: EventStore, config: MovielensConfig) -> Iterator[Block]:
    """Ratings in blocks of whole visits, by time and then by movie id (half of them share their second).

    Raises:
        LogError: at the end, where a user rated a movie twice.
    """
    again: list[np.ndarray] = []
    query = (
        "SELECT user, milliseconds, item, item_index, half_stars, row FROM ratings ORDER BY user, milliseconds, item"
    )
    for block in whole_runs(store.blocks(query), "user"):
        again.append(_rated_again(block, len(movies.item_ids)))
        stars = block["half_stars"] / 2
        yield {
            "visit": visits_of(block["user"], block["milliseconds"], config.gap_seconds * 1000),
            "user": block["user"],
            "item_index": block["item_index"],
            "moment": block["milliseconds"],
            "part": np.zeros(len(stars), dtype=np.int8),
            "response": np.where(stars < config.click_stars, SKIP, np.where(stars < config.order_stars, CLICK, ORDER)),
            "stars": stars,
        }
    rows = np.concatenate(again)  # (rows, 3)
    if len(rows):
        row, user, item = rows[rows[:, 0].argmin()].tolist()
        table = found.form.ratings
        message = f"user {user} rated movie {item} in an earlier row too, allowed once; remove one"
        raise LogError(message, found.files[table.file].label, None, row, table.is_headed)


def _rated_again(block: Block, items: int) -> np.ndarray:
    """(n, 3) row, user and movie id of each rating of a block whose movie its user rated in an earlier row."""
    keys = np.cumsum(run_starts(block["user"])) * items + block["item_index"]
    order = np.lexsort((block["row"], keys))
    again = order[~run_starts(keys[order])]
    return np.stack([block[name][again] for name in ("row", "user", "item")], axis=1)
