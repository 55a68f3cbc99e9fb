"""Item embeddings of MovieLens: genres, year and mean rating of a movie, and who rated it in training sessions."""

from collections.abc import Callable, Iterable

import numpy as np

from recsim_hrl.data.blocks import Block, run_starts
from recsim_hrl.data.item_vectors import positive_ends, standardised, together_factors, unit_scale
from recsim_hrl.data.sources.movielens_files import Movies

SCALARS = 2
"""Entries of an embedding between genres and factors: year of release and mean training rating."""

_DAMPING = 5.0
"""Ratings' worth of doubt that pulls the mean and the factors of a rarely rated movie towards 0."""
_LARGEST_MATRIX = 1 << 22
"""Entries of the matrix of users and movies up to which it is decomposed as a whole, as that of 100k always was."""

Training = Callable[[], Iterable[Block]]
"""Begins a pass through the training ratings: blocks of whole users with ``session`` (the user), ``item_index`` and
``stars``."""


def movie_vectors(training: Training, movies: Movies, factors: int) -> np.ndarray:
    """(I, D) float32: genres, then year and mean training rating, then factors; each block with mean square norm 1.

    Equal blocks, so that none decides alone which movies are near each other.

    Args:
        training: The ratings that vectors may know of, a user rates a movie once.
        movies: The movies.
        factors: Number of factors.
    """
    known = ~np.isnan(movies.years)
    years = np.where(known, movies.years, movies.years[known].mean() if known.any() else 0.0)
    biases = _mean_ratings(training, len(years))  # (I,)
    blocks = (
        movies.genres / np.sqrt(movies.genres.sum(axis=1, keepdims=True)),  # (I, G)
        np.stack([standardised(years), standardised(biases)], axis=1),  # (I, 2)
        _item_factors(training, len(years), factors),  # (I, factors)
    )
    return np.concatenate([unit_scale(block) for block in blocks], axis=1).astype(np.float32)


def rarest_genre(genres: np.ndarray) -> np.ndarray:
    """(I,) of ``genres`` (I, G) the one of each movie that the fewest movies have: Animation says more than Drama."""
    return np.where(genres, genres.sum(axis=0), len(genres) + 1).argmin(axis=1)


def _mean_ratings(training: Training, items: int) -> np.ndarray:
    """(I,) mean rating of each movie, net of how generous its raters are, and pulled towards 0."""
    total, rows = 0.0, 0
    for block in training():
        total, rows = total + block["stars"].sum(), rows + len(block["stars"])
    sums, counts = np.zeros(items), np.zeros(items)
    for block in training():
        stars = block["stars"] - total / rows
        starts = run_starts(block["session"])
        user, firsts = np.cumsum(starts) - 1, np.flatnonzero(starts)
        generosity = np.add.reduceat(stars, firsts) / (np.bincount(user) + _DAMPING)  # (users of the block,)
        sums += np.bincount(block["item_index"], stars - generosity[user], items)
        counts += np.bincount(block["item_index"], minlength=items)
    return sums / (counts + _DAMPING)


def _item_factors(training: Training, items: int, factors: int) -> np.ndarray:
    """(I, factors) truncated singular value decomposition of who rated what, not how.

    Factors of the ratings themselves would carry each training response into the item vectors, and a simulator
    fitted on them trusts them too much (docs/datasets/movielens.md has the numbers). Rows and columns are divided by
    the root of their counts, and how often a movie was rated is left out: of a small matrix as the first direction,
    of a large one as what chance would put there.
    """
    users = sum(int(run_starts(block["session"]).sum()) for block in training())
    if users * items > _LARGEST_MATRIX:
        return together_factors(training, items, factors)
    rated, first = np.zeros((users, items)), 0
    for block in training():
        user = first + np.cumsum(run_starts(block["session"])) - 1
        rated[user, block["item_index"]] = 1.0
        first = int(user[-1]) + 1
    by_user, by_item = rated.sum(axis=1, keepdims=True), rated.sum(axis=0)
    scaled = rated / np.sqrt(by_user + _DAMPING) / np.sqrt(by_item + _DAMPING)
    _, sizes, directions = np.linalg.svd(scaled, full_matrices=False)
    chosen = slice(1, factors + 1)
    found = positive_ends((directions[chosen] * sizes[chosen, None]).T)  # (I, factors or fewer)
    return np.pad(found, ((0, 0), (0, factors - found.shape[1])))
