"""What codes are made of: the nearest token at each level, and codes as single numbers that sort by their prefixes.

Shapes: ``L`` levels, ``V`` tokens to choose from at each, ``D`` width of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_CELLS = 1 << 20
"""Numbers that are looked at together: 8 MiB, whatever the catalogue."""


def blocks(rows: int, width: int) -> Iterator[slice]:
    """Parts of ``rows`` of ``width`` numbers that are small enough to be looked at together."""
    step = max(1, _CELLS // width)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def nearest_token(
    residuals: np.ndarray, codebook: np.ndarray, room: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The token whose vector is nearest, the first where some tie, and how far it is.

    Args:
        residuals: (n, D) what is left of embeddings.
        codebook: (V, D) vectors of the tokens.
        room: (V,) tokens with 0 are left out; all may be chosen without.

    Returns:
        (n,) int64 tokens, and (n,) float64 squared distances.
    """
    vectors = codebook.astype(np.float64)  # (V, D)
    lengths = np.square(vectors).sum(1)  # (V,)
    if room is not None:
        lengths = np.where(room > 0, lengths, np.inf)
    tokens, distances = np.empty(len(residuals), np.int64), np.empty(len(residuals))
    for part in blocks(len(residuals), sum(codebook.shape)):
        rows = residuals[part].astype(np.float64)  # (b, D)
        further = lengths - 2.0 * rows @ vectors.T  # (b, V), squared distances less the rows' own squared lengths
        tokens[part] = further.argmin(1)
        distances[part] = further.min(1) + np.square(rows).sum(1)
    return tokens, distances


def keys_of(codes: np.ndarray, codes_per_level: int) -> np.ndarray:
    """Codes or prefixes (..., l) as int64 numbers (...) with the tokens as digits: what begins alike sorts together."""
    keys = np.zeros(codes.shape[:-1], np.int64)
    for level in range(codes.shape[-1]):
        keys = keys * codes_per_level + codes[..., level]
    return keys


def count_below(keys: np.ndarray, prefixes: np.ndarray, codes_per_level: int, levels_below: int) -> np.ndarray:
    """How many of the sorted ``keys`` (n,) begin with each prefix and a token after it.

    Args:
        keys: Of whole codes.
        prefixes: (...) keys of prefixes of the same length.
        codes_per_level: V.
        levels_below: Levels after that token.

    Returns:
        (..., V) int64.
    """
    first = prefixes[..., None] * codes_per_level + np.arange(codes_per_level + 1)  # (..., V + 1)
    return np.diff(np.searchsorted(keys, first * codes_per_level**levels_below))
