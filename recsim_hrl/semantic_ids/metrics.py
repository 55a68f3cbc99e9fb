"""How good semantic ids are: what codes leave of the embeddings, how evenly tokens are used, what uniqueness costs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsim_hrl.semantic_ids.ids import SemanticIdError, SemanticIds
from recsim_hrl.semantic_ids.tokens import blocks, keys_of


@dataclass(frozen=True)
class IdMetrics:
    """Measures of semantic ids on a catalogue; tuples have an entry for each level."""

    items: int
    """Items with a code."""
    possible: int
    """Codes that there are."""
    variance: float
    """Mean squared distance of embeddings to their mean."""
    nearest_error: tuple[float, ...]
    """Mean squared distance of embeddings to the sum of the first tokens of their nearest code."""
    unique_error: tuple[float, ...]
    """The same for the codes that the items have."""
    kept: tuple[float, ...]
    """Share of items whose first tokens are those of their nearest code."""
    usage: tuple[float, ...]
    """Share of the tokens that some item has."""
    perplexity: tuple[float, ...]
    """To how many tokens, used equally, the use of a level amounts: the exponential of its entropy."""
    collision_rate: float
    """Share of items that would be lost if each had its nearest code and a code named one item."""

    @property
    def moved(self) -> float:
        """Share of items that have another code than their nearest."""
        return 1.0 - self.kept[-1]

    def unexplained(self, errors: tuple[float, ...]) -> tuple[float, ...]:
        """``errors`` as shares of the variance; zeros where all embeddings are equal."""
        return tuple(error / self.variance if self.variance else 0.0 for error in errors)

    def lines(self) -> list[str]:
        """A table for people."""
        table = {
            "tokens in use": self.usage,
            "perplexity": self.perplexity,
            "nearest codes: unexplained variance": self.unexplained(self.nearest_error),
            "unique codes: unexplained variance": self.unexplained(self.unique_error),
            "first tokens are the nearest": self.kept,
        }
        lines = [f"{self.items:,} items, {self.possible:,} codes; variance of the embeddings {self.variance:.4g}"]
        lines.append(f"{'level':36}" + "".join(f"{level:>9}" for level in range(1, len(self.kept) + 1)))
        for name, values in table.items():
            form = "9.1f" if name == "perplexity" else "9.1%"
            lines.append(f"{name:36}" + "".join(f"{value:{form}}" for value in values))
        lines.append(f"nearest codes collide for {self.collision_rate:.1%} of the items; {self.moved:.1%} were moved")
        return lines


def measure_ids(ids: SemanticIds, embeddings: np.ndarray) -> IdMetrics:
    """Measure ``ids`` on the ``embeddings`` (I, D) of their catalogue, in bounded memory.

    Raises:
        SemanticIdError: if the embeddings are of another shape, or no item has a code.
    """
    embeddings, items = np.asarray(embeddings, np.float32), np.flatnonzero(ids.present)
    allowed = (len(ids), ids.codebooks.shape[2])
    if embeddings.shape != allowed or not len(items):
        raise SemanticIdError(
            f"embeddings: got shape {embeddings.shape} and {len(items):,} items with a code, allowed {allowed} and one "
            "or more; pass the embeddings of the ids' catalogue"
        )
    nearest = ids.nearest(embeddings[items])  # (n, L)
    codes = ids.codes[items]  # (n, L)
    counts = [np.bincount(level, minlength=ids.codes_per_level) for level in codes.T]
    mean = embeddings[items].mean(0, dtype=np.float64)  # (D,)
    total, errors = 0.0, np.zeros((2, ids.levels))
    for part in blocks(len(items), len(mean)):
        rows = embeddings[items[part]].astype(np.float64)  # (b, D)
        total += np.square(rows - mean).sum()
        for place, code in enumerate((nearest[part], codes[part])):
            left = rows.copy()
            for level in range(ids.levels):
                left -= ids.codebooks[level, code[:, level]]
                errors[place, level] += np.square(left).sum()
    return IdMetrics(
        items=len(items),
        possible=ids.codes_per_level**ids.levels,
        variance=total / len(items),
        nearest_error=tuple((errors[0] / len(items)).tolist()),
        unique_error=tuple((errors[1] / len(items)).tolist()),
        kept=tuple(np.logical_and.accumulate(nearest == codes, axis=1).mean(0).tolist()),
        usage=tuple(float((count > 0).mean()) for count in counts),
        perplexity=tuple(_perplexity(count) for count in counts),
        collision_rate=1.0 - len(np.unique(keys_of(nearest, ids.codes_per_level))) / len(items),
    )


def _perplexity(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))
