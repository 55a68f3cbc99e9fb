"""The support of a log: of which sorts of impressions it holds how many, so that an environment can tell at each step.

A log teaches only what it covers, and prediction measures on that log cannot show what is missing. Impressions are
put into cells by what a response depends on in any market: how much of the same category came just before, how
lively the user has been, how good the items have been of late, and how long the session has lasted.

The counts lie beside a simulator in a file of their own, so that a folder without them stays what it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from recsim_hrl.arrays_file import arrays_bytes, read_arrays

SUPPORT_FILE = "support.safetensors"
ENOUGH = 200
"""Impressions in the log from which on a cell counts as covered."""
CATEGORY_WINDOW, CLICK_WINDOW, GOODNESS_WINDOW = 10, 20, 10
GOODNESS_GRID = 10_000
"""Steps of the grid that a mean goodness is rounded to: running sums and sums of ten then find the same cell."""
GOODNESS_QUANTILES = (0.2, 0.8, 0.95, 0.99)  # fine at the top, where policies go; beyond the best is unknown
_SAME_EDGES = (1, 3, 5, 8)  # impressions of the item's category among the last 10: 0, 1-2, 3-4, 5-7, 8-10
_CLICK_EDGES = (1, 2, 3, 5)  # clicks among the last 20: 0, 1, 2, 3-4, 5 or more
_STEP_EDGES = (25, 50, 100, 200)
_GOODNESS_EDGES = len(GOODNESS_QUANTILES) + 1
_SHAPE = (len(_SAME_EDGES) + 1, len(_CLICK_EDGES) + 1, _GOODNESS_EDGES + 1, len(_STEP_EDGES) + 1)
CELLS = math.prod(_SHAPE)
_FORMAT_VERSION = 1


@dataclass(frozen=True)
class Support:
    """What a log holds."""

    goodness: np.ndarray  # (I,) float32, what an average user makes of each item, on any scale
    edges: np.ndarray  # (5,) float64 between bins of the mean goodness, in steps of the grid, not falling
    counts: np.ndarray  # (CELLS,) int64 impressions of the log

    def cells(self, same: np.ndarray, clicks: np.ndarray, goodness: np.ndarray, step: np.ndarray) -> np.ndarray:
        """The cell (n,) of impressions.

        Args:
            same: (n,) impressions of the item's category among the ten before it.
            clicks: (n,) clicks among the twenty responses before it.
            goodness: (n,) mean goodness of the last ten items with this one; NaN where one is unknown to the log.
            step: (n,) place in the session, from 0.
        """
        bins = (
            np.digitize(same, _SAME_EDGES),
            np.digitize(clicks, _CLICK_EDGES),
            np.digitize(np.rint(goodness * GOODNESS_GRID), self.edges),
            np.digitize(step, _STEP_EDGES),
        )
        return np.ravel_multi_index(bins, _SHAPE)

    def problem(self, items: int) -> str | None:
        """What is impossible about these values for a catalogue of ``items``; None if nothing is."""
        wrong = {
            "goodness": self.goodness.shape != (items,) or not np.isfinite(self.goodness).all(),
            "edges": self.edges.shape != (_GOODNESS_EDGES,) or not (np.diff(self.edges) >= 0).all(),
            "counts": self.counts.shape != (CELLS,) or (self.counts < 0).any(),
        }
        return next((name for name, is_wrong in wrong.items() if is_wrong), None)


def support_bytes(support: Support, tensors_sha256: str) -> bytes:
    """The file of ``support`` that belongs to the simulator whose tensors have this checksum."""
    return arrays_bytes(vars(support), {"tensors_sha256": tensors_sha256}, _FORMAT_VERSION)


def read_support(path: Path, tensors_sha256: str, items: int) -> Support:
    """Read a file of :func:`support_bytes`.

    Args:
        path: The file.
        tensors_sha256: Checksum of the simulator that the file must belong to.
        items: Size of its catalogue.

    Raises:
        ValueError: if the file is damaged, of another format, or of another simulator.
    """
    fix = "delete it, or make it again with `recsim-hrl support`"
    arrays, about = read_arrays(path, [field.name for field in fields(Support)], _FORMAT_VERSION, fix)
    if about.get("tensors_sha256") != tensors_sha256:
        raise ValueError(f"{path}: belongs to another simulator; {fix}")
    support = Support(*arrays)
    if problem := support.problem(items):
        raise ValueError(f"{path}: does not fit the simulator ({problem}); {fix}")
    return support
