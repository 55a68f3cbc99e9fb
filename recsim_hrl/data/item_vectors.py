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


def item_vectors(
    sessions: Callable[[], Iterable[Block]], categories: np.ndarray, width: int, seed: int = 0
) -> np.ndarray:
    """Embed items by a truncated singular value decomposition of the sessions' items, in bounded memory.

    The right singular vectors of the matrix of sessions and items are the eigenvectors of the items' co-occurrence
    within sessions. They are found by subspace iteration (Halko, Martinsson and Tropp, *Finding Structure with
    Randomness*, 2011), which reads the sessions a few times and keeps ``width + 11`` numbers an item.

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
    counts = np.zeros(len(categories), dtype=np.int64)
    for block in sessions():
        counts += np.bincount(block["item_index"], minlength=len(counts))
    factors = _unit_rows(_factors(sessions, counts, width - 1, seed))  # (I, width - 1)
    factors = _with_category_means(factors, counts, categories)
    seen = standardised(np.log1p(counts))[:, None]  # (I, 1)
    return np.concatenate([unit_scale(factors), unit_scale(seen)], axis=1).astype(np.float32)


def _factors(sessions: Callable[[], Iterable[Block]], counts: np.ndarray, width: int, seed: int) -> np.ndarray:
    """(I, width) singular vectors times singular values, without the first, which is how often an item was seen."""
    followed = min(len(counts), width + 1 + _SPARE)
    directions = np.random.default_rng(seed).standard_normal((len(counts), followed), dtype=np.float32)
    for _ in range(_PASSES):
        directions = np.linalg.qr(directions)[0]  # (I, followed)
        product = _times_cooccurrence(sessions, counts, directions)
        last, directions = directions, product
    small = last.T.astype(np.float64) @ product  # (followed, followed)
    sizes, turns = np.linalg.eigh((small + small.T) / 2)  # ascending
    largest = slice(-2, -2 - min(width, followed - 1), -1)
    found = last @ turns[:, largest] * np.sqrt(sizes[largest].clip(min=0.0))
    return np.pad(positive_ends(found), ((0, 0), (0, width - found.shape[1])))


def _times_cooccurrence(
    sessions: Callable[[], Iterable[Block]], counts: np.ndarray, directions: np.ndarray
) -> np.ndarray:
    """(I, n) the items' scaled co-occurrence times ``directions`` (I, n), in one pass.

    Sessions and items are divided by the root of their size; sessions of one item say nothing and are left out.
    """
    by_item = (1.0 / np.sqrt(counts + _DAMPING)).astype(np.float32)[:, None]  # (I, 1)
    scaled = directions * by_item
    product = np.zeros_like(directions)
    for block in sessions():
        first, lengths = session_spans(block["session"])
        of_many = np.repeat(lengths > 1, lengths)
        lengths = lengths[lengths > 1]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        items = block["item_index"][of_many]
        by_session = np.repeat(1.0 / np.sqrt(lengths + _DAMPING), lengths).astype(np.float32)
        matrix = csr_array((by_session, items, offsets), shape=(len(lengths), len(counts)))
        product += matrix.T @ (matrix @ scaled)
    return product * by_item


def _with_category_means(factors: np.ndarray, counts: np.ndarray, categories: np.ndarray) -> np.ndarray:
    """(I, width) factors pulled towards the mean of the item's category, as far as the item is little known."""
    group = np.unique(categories, return_inverse=True)[1]
    members = csr_array((counts, (group, np.arange(len(group)))))  # (categories, I)
    means = members @ factors / np.maximum(members.sum(axis=1), 1)[:, None]  # (categories, width)
    weights = (counts / (counts + _DAMPING))[:, None]
    return weights * factors + (1.0 - weights) * means[group]


def _unit_rows(block: np.ndarray) -> np.ndarray:
    """``block`` (I, width) with rows of length 1; rows of zeros stay."""
    lengths = np.sqrt((block**2).sum(axis=1, keepdims=True))
    return block / np.where(lengths > 0.0, lengths, 1.0)


def positive_ends(directions: np.ndarray) -> np.ndarray:
    """Singular vectors (I, n) with signs on which machines agree: the largest entry of each is positive."""
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=0, keepdims=True), axis=0)
    return np.where(largest < 0.0, -directions, directions)


def standardised(values: np.ndarray) -> np.ndarray:
    """(n,) with mean 0 and standard deviation 1; zeros where all are equal."""
    centred = values - values.mean()
    return centred / (centred.std() or 1.0)


def unit_scale(block: np.ndarray) -> np.ndarray:
    """``block`` (I, width) times one number, so that its rows have a mean square norm of 1."""
    return block / (np.sqrt((block**2).sum(axis=1).mean()) or 1.0)
