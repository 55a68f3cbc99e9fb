"""Coverage: which share of what a policy meets the log has seen often enough to teach a simulator.

What counts as one sort of impression, :mod:`recsim_hrl.simulator.support` says.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from recsim_hrl.simulator.market import SimulatorMarket, Values
from recsim_hrl.simulator.policies import item_order
from recsim_hrl.simulator.sequences import BLOCK, Sequences
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.support import (
    CATEGORY_WINDOW,
    CELLS,
    CLICK_WINDOW,
    ENOUGH,
    GOODNESS_GRID,
    GOODNESS_QUANTILES,
    GOODNESS_WINDOW,
    Support,
)
from recsim_hrl.types import CLICK

_ORDER_USERS = 64  # users that the goodness of items is averaged over


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
        nothing = np.zeros(CELLS, np.int64)
        self.support = Support(goodness.astype(np.float32), self._goodness_edges(sequences), nothing)
        seen = sum((np.bincount(self._cells(*block), minlength=CELLS) for block in _blocks(sequences)), nothing)
        self.support = replace(self.support, counts=seen)
        self._covered = seen >= enough

    def share(self, values: Values) -> float:
        """Share of the impressions of a rollout that fall in covered cells."""
        users, steps = values.items.shape
        step = np.tile(np.arange(steps), users)
        return float(self._covered[self._cells(values.items.ravel(), values.responses.ravel(), step)].mean())

    def _goodness_edges(self, sequences: Sequences) -> np.ndarray:
        """(5,) quantiles of the mean goodness in the log, in steps of its grid; the last is just above the largest."""
        lowest = math.floor(self._goodness.min() * GOODNESS_GRID)
        counts = np.zeros(math.ceil(self._goodness.max() * GOODNESS_GRID) - lowest + 1, np.int64)
        for items, _, step in _blocks(sequences):
            steps = np.rint(self._recent_goodness(items, step) * GOODNESS_GRID).astype(np.int64) - lowest
            counts += np.bincount(steps, minlength=len(counts))
        reached = np.cumsum(counts)
        inside = np.searchsorted(reached, np.array(GOODNESS_QUANTILES) * reached[-1])
        return np.append(inside, np.flatnonzero(counts)[-1] + 1).astype(np.float64) + lowest

    def _cells(self, items: np.ndarray, responses: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(n,) cell of each impression; whole sessions one after the other, ``step`` from 0 in each."""
        clicks = _window_sum(responses >= CLICK, step, CLICK_WINDOW, past=True)
        return self.support.cells(self._same_category(items, step), clicks, self._recent_goodness(items, step), step)

    def _same_category(self, items: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(n,) impressions of the item's category among those before it."""
        category = self._categories[items]
        count = np.zeros(len(items), dtype=np.int64)
        for back in range(1, min(CATEGORY_WINDOW, len(items) - 1) + 1):
            count[back:] += (category[back:] == category[:-back]) & (step[back:] >= back)
        return count

    def _recent_goodness(self, items: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(n,) mean goodness of the latest items, the present one among them."""
        total = _window_sum(self._goodness[items], step, GOODNESS_WINDOW, past=False)
        return total / np.minimum(step + 1, GOODNESS_WINDOW)


def log_coverage(simulator: Simulator, sequences: Sequences) -> Coverage:
    """What ``sequences`` covers, with the goodness of items as the simulator sees it."""
    users = torch.arange(min(_ORDER_USERS, len(simulator.visits)))
    goodness = item_order(SimulatorMarket(simulator, steps=1), users).order.nan_to_num()  # (I,); one item has no scale
    return Coverage(sequences, simulator.catalogue.categories.numpy(), goodness.numpy())


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
