"""Fits semantic ids to a catalogue by residual quantisation: k-means on what the levels above have left.

Ids of items by residual quantisation: Rajput et al., *Recommender Systems with Generative Retrieval* (2023).
"""

from __future__ import annotations

import warnings
from dataclasses import asdict, dataclass

import numpy as np

from recsim_hrl.semantic_ids.ids import MOST_CODES, SemanticIdError, SemanticIds, check_capacity
from recsim_hrl.semantic_ids.placing import place_items
from recsim_hrl.semantic_ids.tokens import nearest_token


@dataclass(frozen=True)
class SemanticIdConfig:
    """How semantic ids are fitted."""

    levels: int = 3
    """Tokens of a code, coarse to fine."""
    codes: int = 32
    """Tokens to choose from at each level."""
    sample: int = 20_000
    """Items, drawn once, that the codebooks are fitted to; all, where there are fewer."""
    iterations: int = 20
    """Passes of k-means over the sample."""
    starts: int = 4
    """Random beginnings of k-means at each level; the best end is kept."""
    seed: int = 0
    """Draws the sample and the beginnings."""

    def __post_init__(self) -> None:
        for name in ("levels", "codes", "sample", "iterations", "starts"):
            if getattr(self, name) < 1:
                raise SemanticIdError(f"semantic ids {name}: got {getattr(self, name)}, allowed 1 or more; raise it")
        if self.codes**self.levels > MOST_CODES:
            raise SemanticIdError(
                f"semantic ids: got {self.codes}**{self.levels} codes, allowed at most 2**62; lower levels or codes"
            )


def fit_semantic_ids(embeddings: np.ndarray, config: SemanticIdConfig | None = None) -> SemanticIds:
    """Give every item of a catalogue a code of its own.

    Args:
        embeddings: (I, D) of the items, in the order of the catalogue.
        config: The settings; the defaults without.

    Raises:
        SemanticIdError: if there are more items than codes, or none, or embeddings that are not finite.
    """
    config, embeddings = config or SemanticIdConfig(), np.asarray(embeddings, np.float32)
    if embeddings.ndim != 2 or not embeddings.size or not np.isfinite(embeddings).all():
        raise SemanticIdError(
            f"embeddings: got shape {embeddings.shape}, allowed finite numbers (I, D) of one item or more; "
            "pass those of a catalogue"
        )
    size = len(embeddings)
    check_capacity(size, config.levels, config.codes)
    rng = np.random.default_rng(config.seed)
    drawn = np.sort(rng.choice(size, min(config.sample, size), replace=False))
    left, codebooks = embeddings[drawn].astype(np.float64), []
    for _ in range(config.levels):
        codebooks.append(_codebook(left, config, rng))
        left -= codebooks[-1][nearest_token(left, codebooks[-1])[0]]
    stacked = np.stack(codebooks)
    codes = place_items(embeddings, stacked, np.empty(0, np.int64))
    return SemanticIds(stacked, codes, {"fit": asdict(config), "items": size})


def _codebook(residuals: np.ndarray, config: SemanticIdConfig, rng: np.random.Generator) -> np.ndarray:
    """(V, D) float32: centres of ``residuals`` (n, D), the fullest first.

    Where there are fewer different residuals than tokens, the fullest centres come again: items that are equal, or
    nearly, then have codes that differ and mean the same.
    """
    from scipy.cluster.vq import kmeans2  # takes longer to import than the rest of an environment

    distinct = np.unique(residuals, axis=0)
    size = min(config.codes, len(distinct))
    best, least = None, np.inf
    for _ in range(config.starts):
        start = distinct[rng.choice(len(distinct), size, replace=False)]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "One of the clusters is empty")  # it stays where it was
            centres, members = kmeans2(residuals, start, config.iterations, minit="matrix", check_finite=False)
        error = np.square(residuals - centres[members]).sum()
        if error < least:
            best, least, counts = centres, error, np.bincount(members, minlength=size)
    fullest = np.argsort(-counts, kind="stable")
    return best[np.resize(fullest, config.codes)].astype(np.float32)
