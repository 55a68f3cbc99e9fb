"""Item vectors for a log that brings none: which items are shown in the same sessions."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, svds

_DAMPING = 5.0
"""Sessions' worth of doubt that pulls the vector of a rarely shown item towards 0."""
_DENSE = 4_000_000
"""Entries of a matrix up to which it is decomposed whole."""
_NOTHING = 1e-9
"""Singular values below this are rounding."""


def item_vectors(sessions: np.ndarray, items: np.ndarray, count: int, width: int, seed: int) -> np.ndarray:
    """Vectors of items by a truncated singular value decomposition of which session shows which item.

    What is decomposed is the difference to sessions that show items at random, each as often as it is shown, with rows
    and columns divided by the root of their counts (correspondence analysis, with damped counts). Responses have no
    part in it: factors of responses carry each of them into the item vectors, and a simulator fitted on them trusts
    them too much (docs/datasets/movielens.md has the numbers).

    Args:
        sessions: (n,) session of each impression, any integers; of training sessions only.
        items: (n,) index of its item, from 0.
        count: Items of the catalogue; an item that no session shows has a vector of zeros.
        width: Entries of a vector; those beyond what the sessions can tell are 0.
        seed: Starts the iteration for a large catalogue; the result differs in the last digits only.

    Returns:
        (I, D) float32 with a mean square norm of 1 over the items, or zeros where all sessions show the same items.
    """
    rows = np.unique(sessions, return_inverse=True)[1]
    pairs = np.unique(np.stack([rows, items], axis=1), axis=0)  # (m, 2) an item counts once in a session
    size = int(rows.max(initial=-1)) + 1
    by_session = np.bincount(pairs[:, 0], minlength=size)
    by_item = np.bincount(pairs[:, 1], minlength=count)
    session_scale, item_scale = 1.0 / np.sqrt(by_session + _DAMPING), 1.0 / np.sqrt(by_item + _DAMPING)
    weights = session_scale[pairs[:, 0]] * item_scale[pairs[:, 1]]
    shows = csr_array((weights, (pairs[:, 0], pairs[:, 1])), shape=(size, count))
    found = _directions(shows, by_session * session_scale, by_item * item_scale / max(len(pairs), 1), width, seed)
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=0, keepdims=True), axis=0)
    found = np.where(largest < 0.0, -found, found)  # a singular vector has no sign of its own
    found = np.pad(found, ((0, 0), (0, width - found.shape[1])))
    norm = np.sqrt((found**2).sum(axis=1).mean())
    return (found / norm if norm > _NOTHING else np.zeros_like(found)).astype(np.float32)


def _directions(shows: csr_array, left: np.ndarray, right: np.ndarray, wanted: int, seed: int) -> np.ndarray:
    """(I, wanted or fewer) right singular vectors of ``shows - outer(left, right)`` (S, I) times their singular values,
    largest first."""
    smaller = min(shows.shape)
    if smaller <= wanted or shows.shape[0] * shows.shape[1] <= _DENSE:
        _, sizes, directions = np.linalg.svd(shows.toarray() - np.outer(left, right), full_matrices=False)
    else:
        turned = shows.T.tocsr()
        difference = LinearOperator(
            shows.shape,
            matvec=lambda vector: shows @ vector.ravel() - left * (right @ vector.ravel()),
            rmatvec=lambda vector: turned @ vector.ravel() - right * (left @ vector.ravel()),
            dtype=np.float64,
        )
        start = np.random.default_rng(seed).standard_normal(smaller)
        _, sizes, directions = svds(difference, k=wanted, v0=start, return_singular_vectors="vh")
        order = np.argsort(-sizes)
        sizes, directions = sizes[order], directions[order]
    return (directions[:wanted] * np.where(sizes > _NOTHING, sizes, 0.0)[:wanted, None]).T
