"""A free code for each of some items, so that no two items have the same.

At each level an item asks for the nearest token with a free code below it. A token takes those that fit best, as many
as it has free codes; the others ask again, for the nearest token that is left. So an item that cannot have its nearest
code keeps its first tokens as long as it can, and a code is found for every item as long as there are enough.
"""

from __future__ import annotations

import numpy as np

from recsim_hrl.semantic_ids.tokens import count_below, nearest_token


def place_items(embeddings: np.ndarray, codebooks: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Codes (n, L) int32 for ``embeddings`` (n, D), all different and none with one of the sorted keys ``taken`` (m,).

    There have to be n free codes; ``codebooks`` are (L, V, D).
    """
    codes = np.empty((len(embeddings), len(codebooks)), np.int32)
    _place(np.arange(len(embeddings)), embeddings, codebooks, taken, codes, prefix=0, level=0)
    return codes


def _place(
    items: np.ndarray,
    residuals: np.ndarray,
    codebooks: np.ndarray,
    taken: np.ndarray,
    codes: np.ndarray,
    prefix: int,
    level: int,
) -> None:
    """Fill the tokens from ``level`` on of ``items`` (n,) in ``codes``, all of which begin with ``prefix``."""
    levels, size, _ = codebooks.shape
    below = levels - level - 1
    room = size**below - count_below(taken, np.int64(prefix), size, below)  # (V,)
    tokens = seat(residuals, codebooks[level], room)
    codes[items, level] = tokens
    if not below or not len(items):
        return
    order = np.argsort(tokens, kind="stable")
    found, starts = np.unique(tokens[order], return_index=True)
    for token, group in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
        left = np.subtract(residuals[group], codebooks[level, token], dtype=np.float64)  # (g, D)
        _place(items[group], left, codebooks, taken, codes, prefix * size + token, level + 1)


def seat(residuals: np.ndarray, codebook: np.ndarray, room: np.ndarray) -> np.ndarray:
    """The token (n,) of each of ``residuals`` (n, D) where token v takes at most ``room[v]`` of them.

    Whoever is refused leaves a token full, so nobody asks more than V times.
    """
    assert room.sum() >= len(residuals), "somebody would ask forever"
    if len(residuals) and (residuals == residuals[0]).all():  # items without data of their own often are: one queue
        order = np.argsort(np.square(codebook.astype(np.float64) - residuals[0]).sum(1), kind="stable")
        full = np.minimum(room[order], len(residuals)).cumsum()  # (V,) how many have a token when the next one begins
        return order[np.searchsorted(full, np.arange(len(residuals)), side="right")]
    tokens, room, waiting = np.empty(len(residuals), np.int64), room.copy(), np.arange(len(residuals))
    while len(waiting):
        nearest, distances = nearest_token(residuals[waiting], codebook, room)
        order = np.lexsort((distances, nearest))  # by token, those that fit best first, then the first item
        asked = nearest[order]
        place = np.arange(len(asked)) - np.searchsorted(asked, asked)  # in the token's queue
        seated = place < room[asked]
        tokens[waiting[order[seated]]] = asked[seated]
        room -= np.bincount(asked[seated], minlength=len(room))
        waiting = np.sort(waiting[order[~seated]])
    return tokens
