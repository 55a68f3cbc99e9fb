"""Item vectors for a log that brings none: which items are shown in the same sessions."""

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.linalg import LinearOperator, eigsh

_DAMPING = 5.0
"""Sessions' worth of doubt that pulls the vector of a rarely shown item towards 0."""
_WHOLE = 1000
"""Items up to which the decomposition is that of a whole matrix; beyond, it is an iteration."""
_NOTHING = 1e-6
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
        count: Items of the catalogue; one that no session shows together with another has a vector of zeros.
        width: Entries of a vector; those beyond what the sessions can tell are 0.
        seed: Starts the iteration for a large catalogue; the result differs in the last digits only.

    Returns:
        (I, D) float32 with a mean square norm of 1 over the items, or zeros where no session tells items apart.
    """
    rows = np.unique(sessions, return_inverse=True)[1]
    pairs = np.unique(rows * np.int64(count) + items)  # an item counts once in a session
    rows, items = np.divmod(pairs, count)
    several = np.bincount(rows)[rows] > 1
    rows, items = np.unique(rows[several], return_inverse=True)[1], items[several]
    by_session = np.bincount(rows)
    by_item = np.bincount(items, minlength=count)
    session_scale, item_scale = 1.0 / np.sqrt(by_session + _DAMPING), 1.0 / np.sqrt(by_item + _DAMPING)
    weights = session_scale[rows] * item_scale[items]
    shows = csr_array((weights, (rows, items)), shape=(len(by_session), count))
    found = _directions(shows, by_session * session_scale, by_item * item_scale / max(len(rows), 1), width, seed)
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=0, keepdims=True), axis=0)
    found = np.where(largest < 0.0, -found, found)  # a singular vector has no sign of its own
    found = np.pad(found, ((0, 0), (0, width - found.shape[1])))
    norm = np.sqrt((found**2).sum(axis=1).mean())
    return (found / norm if norm > _NOTHING else np.zeros_like(found)).astype(np.float32)


def _directions(shows: csr_array, left: np.ndarray, right: np.ndarray, wanted: int, seed: int) -> np.ndarray:
    """(I, wanted or fewer) right singular vectors of ``shows - outer(left, right)`` (S, I) times their singular values,
    largest first.

    By way of the eigenvectors of its square (I, I), so that nothing as long as there are sessions has to be kept.
    """
    count, turned = shows.shape[1], shows.T.tocsr()
    pulled, length = turned @ left, left @ left

    def square(vectors: np.ndarray) -> np.ndarray:
        """The square of the matrix times ``vectors`` (I, ...)."""
        along = right @ vectors
        back = pulled @ vectors
        return (
            turned @ (shows @ vectors)
            - np.multiply.outer(pulled, along)
            + np.multiply.outer(right, length * along - back)
        )

    if count <= max(_WHOLE, wanted):
        values, vectors = np.linalg.eigh(square(np.eye(count)))
    else:
        operator = LinearOperator((count, count), matvec=square, dtype=np.float64)
        values, vectors = eigsh(operator, k=wanted, v0=np.random.default_rng(seed).standard_normal(count))
    order = np.argsort(-values)[:wanted]
    sizes = np.sqrt(np.maximum(values[order], 0.0))
    return vectors[:, order] * np.where(sizes > _NOTHING, sizes, 0.0)
