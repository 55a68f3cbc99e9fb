"""MovieLens-100k as an interaction log: real ratings in time order, cut into sessions, with item embeddings.

What the mapping means, and what it does not, is in ``docs/datasets/movielens.md``.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from recsim_hrl.data.item_vectors import positive_ends, standardised, unit_scale
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources.movielens_files import Ratings, read_ratings
from recsim_hrl.data.sources.sessions import cut_visits
from recsim_hrl.data.splits import boundary_of
from recsim_hrl.types import CLICK, NO_ITEM, ORDER, SKIP, Catalogue

RESPONSE_OF_STARS = np.array([NO_ITEM, SKIP, SKIP, SKIP, CLICK, ORDER])
"""Response by number of stars; there is no rating of 0 stars."""

_DAMPING = 5.0
"""Ratings' worth of doubt that pulls the mean and the factors of a rarely rated movie towards 0."""
_SCALARS = 2
"""Entries of an embedding between genres and factors: year of release and mean training rating."""


@dataclass(frozen=True)
class MovielensConfig:
    """How ratings become sessions and embeddings."""

    gap_seconds: int = 1800
    """A user who rates nothing for longer than this has left: the next rating begins a new visit."""
    session_length: int = 50
    """A visit of L ratings becomes round(L / session_length) sessions of equal length, at least one."""
    training_fraction: float = 0.5
    """Share of the sessions, earliest first, whose ratings the embeddings may use."""
    embedding_dim: int = 50
    """Width of the item embedding: the genres, two scalars, and the rest factors."""

    def __post_init__(self) -> None:
        for name, low in (("gap_seconds", 0), ("session_length", 1), ("embedding_dim", 1)):
            if getattr(self, name) < low:
                raise ValueError(f"movielens {name}: got {getattr(self, name)}, allowed {low} or more; raise it")
        if not 0.0 < self.training_fraction < 1.0:
            raise ValueError(
                f"movielens training_fraction: got {self.training_fraction}, allowed above 0 and below 1; change it"
            )


@dataclass(frozen=True)
class _Sessions:
    """The ratings in log order."""

    rows: np.ndarray  # (n,) which rating
    session: np.ndarray  # (n,) from 0, in order of start
    step: np.ndarray  # (n,)
    start_seconds: np.ndarray  # (n,) when the row's session starts


def read_movielens(source: str | Path, path: str | Path, config: MovielensConfig | None = None) -> InteractionLog:
    """Write MovieLens-100k as a log and open it.

    Ratings of 1 to 3 stars are skips, 4 a click, 5 an order. The log's metadata names the categories (genres) and
    holds the ``boundary`` in seconds before which a session is a training session; ``split_by_time(log, path,
    boundary=log.metadata["boundary"])`` makes that split, which is also the one of its default ``fraction``.

    Args:
        source: The publisher's ml-100k.zip or its folder, a folder with RecBole's atomic files, or RecBole's wheel.
        path: The folder to write; a log that is there is replaced.
        config: How ratings become sessions and embeddings.

    Raises:
        LogError: a file is missing or damaged, or ``path`` is in use; the message names file, row and fix.
    """
    config = config or MovielensConfig()
    ratings = read_ratings(source)
    factors = config.embedding_dim - len(ratings.genre_names) - _SCALARS
    if factors < 0:
        raise ValueError(
            f"movielens embedding_dim: got {config.embedding_dim}, allowed {config.embedding_dim - factors} or more: "
            f"{len(ratings.genre_names)} genres, year and mean rating; raise it"
        )
    sessions = _sessions(ratings, config)
    starts = sessions.start_seconds[sessions.step == 0]  # ascending
    boundary = boundary_of(starts, config.training_fraction)
    training = sessions.rows[sessions.start_seconds < boundary]
    catalogue = Catalogue(
        torch.from_numpy(ratings.item_ids),
        torch.from_numpy(_embeddings(ratings, training, factors)),
        torch.from_numpy(_rarest_genre(ratings.genres)),
        torch.zeros(len(ratings.item_ids)),  # prices: the data set has none
    )
    columns = {
        "session_id": sessions.session,
        "step": sessions.step,
        "user_id": ratings.user_ids[sessions.rows],
        "item_index": ratings.item_index[sessions.rows],
        "response": RESPONSE_OF_STARS[ratings.stars[sessions.rows]],
        "timestamp": ratings.seconds[sessions.rows],
    }
    metadata = {
        "name": "movielens-100k",
        "source": f"MovieLens-100k (GroupLens), read from {Path(source).name}",
        "reader": asdict(config),
        "boundary": int(boundary),
        "training_sessions": int((starts < boundary).sum()),
        "categories": list(ratings.genre_names),
    }
    return InteractionLog.from_arrays(columns, catalogue, path, metadata)


def _sessions(ratings: Ratings, config: MovielensConfig) -> _Sessions:
    """Cut each user's ratings, by time and then by movie id (half of them share their second with another one)."""
    order = np.lexsort((ratings.item_ids[ratings.item_index], ratings.seconds, ratings.user_ids))
    users, seconds = ratings.user_ids[order], ratings.seconds[order]
    leaves = (users[1:] != users[:-1]) | (np.diff(seconds) > config.gap_seconds)
    _, place = cut_visits(np.concatenate([[0], np.cumsum(leaves)]), config.session_length)  # (n,)
    starts = np.flatnonzero(place == 0)  # (S,)
    lengths = np.diff(np.append(starts, len(order)))  # (S,)
    by_time = np.argsort(seconds[starts], kind="stable")
    starts, lengths = starts[by_time], lengths[by_time]
    step = np.arange(len(order)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    rows = order[np.repeat(starts, lengths) + step]
    return _Sessions(rows, np.repeat(np.arange(len(starts)), lengths), step, np.repeat(seconds[starts], lengths))


def _rarest_genre(genres: np.ndarray) -> np.ndarray:
    """(I,) the genre of each movie that the fewest movies have: Animation says more than Drama."""
    return np.where(genres, genres.sum(axis=0), len(genres) + 1).argmin(axis=1)


def _embeddings(ratings: Ratings, training: np.ndarray, factors: int) -> np.ndarray:
    """(I, D) float32: genres, then year and mean training rating, then factors; each block with mean square norm 1.

    Equal blocks, so that none decides alone which movies are near each other.
    """
    items, stars = ratings.item_index[training], ratings.stars[training].astype(np.float64)
    users = np.unique(ratings.user_ids[training], return_inverse=True)[1]
    stars = stars - (stars.mean() if len(stars) else 0.0)
    user_bias = _damped_means(stars, users, int(users.max(initial=-1)) + 1)  # (users,)
    item_bias = _damped_means(stars - user_bias[users], items, len(ratings.item_ids))  # (I,)
    known = ~np.isnan(ratings.years)
    years = np.where(known, ratings.years, ratings.years[known].mean() if known.any() else 0.0)
    rated = np.zeros((len(user_bias), len(item_bias)))
    rated[users, items] = 1.0
    blocks = (
        ratings.genres / np.sqrt(ratings.genres.sum(axis=1, keepdims=True)),  # (I, G)
        np.stack([standardised(years), standardised(item_bias)], axis=1),  # (I, 2)
        _item_factors(rated, factors),  # (I, factors)
    )
    return np.concatenate([unit_scale(block) for block in blocks], axis=1).astype(np.float32)


def _damped_means(values: np.ndarray, groups: np.ndarray, size: int) -> np.ndarray:
    """(size,) mean of the ``values`` (n,) of each group, pulled towards 0."""
    return np.bincount(groups, values, size) / (np.bincount(groups, minlength=size) + _DAMPING)


def _item_factors(rated: np.ndarray, factors: int) -> np.ndarray:
    """(I, factors) truncated singular value decomposition of ``rated`` (users, I): who rated what, not how.

    Factors of the ratings themselves would carry each training response into the item vectors, and a simulator
    fitted on them trusts them too much (docs/datasets/movielens.md has the numbers). Rows and columns are divided by
    the root of their counts, and the first direction, which is how often a movie was rated, is left out.
    """
    by_user, by_item = rated.sum(axis=1, keepdims=True), rated.sum(axis=0)
    scaled = rated / np.sqrt(by_user + _DAMPING) / np.sqrt(by_item + _DAMPING)
    _, sizes, directions = np.linalg.svd(scaled, full_matrices=False)
    chosen = slice(1, factors + 1)
    found = (directions[chosen] * sizes[chosen, None]).T  # (I, factors or fewer)
    found = positive_ends(found)
    return np.pad(found, ((0, 0), (0, factors - found.shape[1])))
