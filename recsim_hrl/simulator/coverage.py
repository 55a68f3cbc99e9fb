"""Coverage: which share of what a policy meets the log has seen often enough to teach a simulator.

A log teaches only what it covers, and prediction measures on that log cannot show what is missing. Impressions are
put into cells by what a response depends on in any market: how much of the same category came just before, how
lively the user has been, how good the items have been of late, and how long the session has lasted.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from recsim_hrl.simulator.market import Values
from recsim_hrl.simulator.sequences import BLOCK, Sequences
from recsim_hrl.types import CLICK

_SAME_EDGES = (1, 3, 5, 8)  # impressions of the item's category among the last 10: 0, 1-2, 3-4, 5-7, 8-10
_CLICK_EDGES = (1, 2, 3, 5)  # clicks among the last 20: 0, 1, 2, 3-4, 5 or more
_STEP_EDGES = (25, 50, 100, 200)
_GOODNESS_QUANTILES = (0.2, 0.8, 0.95, 0.99, 1.0)  # fine at the top, where policies go; beyond the best is unknown
_SHAPE = tuple(len(edges) + 1 for edges in (_SAME_EDGES, _CLICK_EDGES, _GOODNESS_QUANTILES, _STEP_EDGES))
_CATEGORY_WINDOW, _CLICK_WINDOW, _GOODNESS_WINDOW = 10, 20, 10
ENOUGH = 200
"""Impressions in the log from which on a cell counts as covered."""


class Coverage:
    """The cells that a log covers.

    Args:
        sequences: The log.
        categories: (I,) category of each item.
        goodness: (I,) what an average user makes of each item, on any scale; see ``policies.item_order``.
        enough: Impressions from which on a cell counts as covered.
    """

    def __init__(
        self, sequences: Sequences, categories: np.ndarray, goodness: np.ndarray, enough: int = ENOUGH
    ) -> None:
        self._categories, self._goodness = categories, goodness.astype(np.float64)
        recent = np.concatenate([self._recent_goodness(items, step) for items, _, step in _blocks(sequences)])
        self._goodness_edges = np.quantile(recent, _GOODNESS_QUANTILES, overwrite_input=True)
        self._goodness_edges[-1] += 1e-9  # the best itself is known, whatever the rounding of running sums
        seen = np.zeros(math.prod(_SHAPE), np.int64)
        for block in _blocks(sequences):
            seen += np.bincount(self._cells(*block), minlength=len(seen))
        self._covered = seen >= enough

    def share(self, values: Values) -> float:
        """Share of the impressions of a rollout that fall in covered cells."""
        users, steps = values.items.shape
        step = np.tile(np.arange(steps), users)
        return float(self._covered[self._cells(values.items.ravel(), values.responses.ravel(), step)].mean())

    def _cells(self, items: np.ndarray, responses: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(n,) cell of each impression; whole sessions one after the other, ``step`` from 0 in each."""
        bins = (
            np.digitize(self._same_category(items, step), _SAME_EDGES),
            np.digitize(_window_sum(responses >= CLICK, step, _CLICK_WINDOW, past=True), _CLICK_EDGES),
            np.digitize(self._recent_goodness(items, step), self._goodness_edges),
            np.digitize(step, _STEP_EDGES),
        )
        return np.ravel_multi_index(bins, _SHAPE)

    def _same_category(self, items: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(n,) impressions of the item's category among those before it."""
        category = self._categories[items]
        count = np.zeros(len(items), dtype=np.int64)
        for back in range(1, min(_CATEGORY_WINDOW, len(items) - 1) + 1):
            count[back:] += (category[back:] == category[:-back]) & (step[back:] >= back)
        return count

    def _recent_goodness(self, items: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(n,) mean goodness of the latest items, the present one among them."""
        total = _window_sum(self._goodness[items], step, _GOODNESS_WINDOW, past=False)
        return total / np.minimum(step + 1, _GOODNESS_WINDOW)


def _blocks(sequences: Sequences) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Items, responses and steps from 0 of a log, some sessions at a time: the work arrays of a long log are large."""
    offsets = sequences.offsets
    cuts = np.unique(np.searchsorted(offsets, np.arange(0, offsets[-1], BLOCK)))  # positions of sessions
    for first, end in itertools.pairwise([*cuts.tolist(), len(sequences)]):
        rows = slice(offsets[first], offsets[end])
        step = np.arange(rows.start, rows.stop) - np.repeat(offsets[first:end], sequences.lengths[first:end])
        yield sequences.items[rows], sequences.responses[rows], step


def _window_sum(values: np.ndarray, step: np.ndarray, width: int, past: bool) -> np.ndarray:
    """(n,) sum over the last ``width`` impressions of the session, before the present one or with it."""
    running = np.concatenate([[0.0], np.cumsum(values, dtype=np.float64)])
    end = np.arange(len(values)) + (0 if past else 1)
    return running[end] - running[np.maximum(end - width, np.arange(len(values)) - step)]
