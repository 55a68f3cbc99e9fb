"""Item embeddings for logs whose items have none: from who was seen with whom in training sessions.

How the vectors are made, and why not from the responses, is in ``docs/datasets/events.md``.
"""

from collections.abc import Callable, Iterable

import numpy as np
from scipy.sparse import csr_array

from recsim_hrl.data.blocks import Block
from recsim_hrl.data.checks import session_spans

_DAMPING = 5.0
"""Impressions' worth of doubt that pulls a rarely seen item towards the mean of its category."""
_SPARE = 10
"""Directions that are followed beyond those that are kept, so that the last of these is found as well."""
_PASSES = 6
"""Times that the sessions are read to turn random directions into the largest ones."""
_ROUNDING = 1e-5
"""Squared singular values, which are 1 at most, that may be rounding alone."""


def item_vectors(
    sessions: Callable[[], Iterable[Block]], categories: np.ndarray, width: int, seed: int = 0
) -> np.ndarray:
    """Embed items by a truncated singular value decomposition of the sessions' items, in bounded memory.

    What is decomposed is the difference to sessions that show items at random, each as often as it is shown, with rows
    and columns divided by the root of their counts (correspondence analysis, with damped counts). The largest
    directions are found by subspace iteration (Halko, Martinsson and Tropp, *Finding Structure with Randomness*,
    2011), which reads the sessions a few times and keeps ``width + 9`` numbers an item.

    Args:
        sessions: Begins a pass through the training sessions, always in the same order: blocks of whole sessions
            with the columns ``session`` and ``item_index``; no item comes twice in a session.
        categories: (I,) category of each item.
        width: Entries of an embedding, 2 or more: ``width - 1`` factors, then how often the item was seen.
        seed: Draws the directions that the iteration begins with.

    Returns:
        (I, width) float32; factors and the scalar have a mean square norm of 1 each. An item without training
        impressions has the mean factors of its category, zeros where its category has no training impressions.
    """
    counts, together = np.zeros((2, len(categories)), dtype=np.int64)
    for block in sessions():
        counts += np.bincount(block["item_index"], minlength=len(counts))
        together += np.bincount(_shown_together(block)[0], minlength=len(counts))
    factors = _unit_rows(_factors(sessions, together, width - 1, seed))  # (I, width - 1)
    factors = _with_category_means(factors, counts, categories)
    seen = standardised(np.log1p(counts))[:, None]  # (I, 1)
    return np.concatenate([unit_scale(factors), unit_scale(seen)], axis=1).astype(np.float32)


def together_factors(sessions: Callable[[], Iterable[Block]], items: int, width: int, seed: int = 0) -> np.ndarray:
    """(I, width) factors alone, of ``items`` I: singular vectors times singular values, the largest first.

    Args:
        sessions: As those of ``item_vectors``; a session may also be all that a user was shown.
        items: Number of items.
        width: Number of factors; zeros where there are fewer.
        seed: Draws the directions that the iteration begins with.
    """
    together = np.zeros(items, dtype=np.int64)
    for block in sessions():
        together += np.bincount(_shown_together(block)[0], minlength=items)
    return _factors(sessions, together, width, seed)


def _shown_together(block: Block) -> tuple[np.ndarray, np.ndarray]:
    """Items (n,) of the sessions of more than one, and the lengths (S,) of these; one item alone says nothing."""
    _, lengths = session_spans(block["session"])
    return block["item_index"][np.repeat(lengths > 1, lengths)], lengths[lengths > 1]


def _factors(sessions: Callable[[], Iterable[Block]], together: np.ndarray, width: int, seed: int) -> np.ndarray:
    """(I, width) singular vectors times singular values, the largest first."""
    followed = min(len(together), width + _SPARE)
    directions = np.random.default_rng(seed).standard_normal((len(together), followed), dtype=np.float32)
    for _ in range(_PASSES):
        last = np.linalg.qr(directions)[0]  # (I, followed)
        directions = _times_square(sessions, together, last)
    small = last.T.astype(np.float64) @ directions  # (followed, followed)
    sizes, turns = np.linalg.eigh((small + small.T) / 2)  # ascending
    largest = slice(-1, -1 - min(width, followed), -1)
    sizes = np.where(sizes > _ROUNDING, sizes, 0.0)[largest]
    found = last @ turns[:, largest] * np.sqrt(sizes)
    return np.pad(positive_ends(found), ((0, 0), (0, width - found.shape[1])))


def _times_square(sessions: Callable[[], Iterable[Block]], together: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """(I, n) the square (I, I) of the matrix that is decomposed times ``directions`` (I, n), in one pass.

    The matrix is A - l c, where A (S, I) holds 1 / sqrt(own counts) for each item of a session, and l (S,) and c (I,)
    what chance would put there.
    """
    by_item = 1.0 / np.sqrt(together + _DAMPING)  # (I,)
    chance = together * by_item / max(together.sum(), 1)  # (I,) c
    scaled, along = (directions * by_item[:, None]).astype(np.float32), chance @ directions  # (I, n), (n,)
    product, back = np.zeros_like(directions), np.zeros(directions.shape[1])
    for block in sessions():
        items, lengths = _shown_together(block)
        by_session = 1.0 / np.sqrt(lengths + _DAMPING)  # (S,)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        values = np.repeat(by_session, lengths).astype(np.float32)
        matrix = csr_array((values, items, offsets), shape=(len(lengths), len(together)))
        sums = matrix @ scaled - np.outer(lengths * by_session, along).astype(np.float32)  # (S, n)
        product += matrix.T @ sums
        back += (lengths * by_session) @ sums
    return (product * by_item[:, None] - np.outer(chance, back)).astype(np.float32)


def _with_category_means(factors: np.ndarray, counts: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """(I, width) factors pulled towards the mean of the item's category, as far as the item is little known."""
    group = np.unique(categories, return_inverse=True)[1]
    members = csr_array((counts, (group, np.arange(len(group)))))  # (categories, I)
    means = members @ factors / np.maximum(members.sum(axis=1), 1)[:, None]  # (categories, width)
    weights = (counts / (counts + _DAMPING))[:, None]
    return weights * factors + (1.0 - weights) * means[group]


def _unit_rows(block: np.ndarray) -> np.ndarray:
    """``block`` (I, width) with rows of length 1, or of zeros where there is nothing but rounding."""
    lengths = np.sqrt((block**2).sum(axis=1, keepdims=True))
    return block / np.where(lengths > _ROUNDING, lengths, np.inf)


def positive_ends(directions: np.ndarray) -> np.ndarray:
    """Singular vectors (I, n) with signs on which machines agree: the largest entry of each is positive."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0, keepdims=True), axis=0)
    return np.where(largest < 0.0, -directions, directions)


def standardised(values: np.ndarray) -> np.ndarray:
    """(n,) with mean 0 and standard deviation 1; zeros where all are equal but for rounding."""
    centred = values - values.mean()
    spread = centred.std()
    return centred / spread if spread > 1e-12 else np.zeros_like(centred)


def unit_scale(block: np.ndarray) -> np.ndarray:
    """``block`` (I, width) times one number, so that its rows have a mean square norm of 1."""
    return block / (np.sqrt((block**2).sum(axis=1).mean()) or 1.0)
