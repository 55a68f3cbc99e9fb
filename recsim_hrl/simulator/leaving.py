"""When users leave: the chance that a session ends after an impression, given the session so far.

The model reads what a simulator keeps of a user anyway, the traces of all kinds of items together, and the number of
impressions so far. Its logit is a sum of these inputs, plus a small hidden layer over them; without hidden units it is
a logistic regression. :mod:`recsim_hrl.simulator.leave_fit` fits it to where the sessions of a log end.

The weights lie beside a simulator in a file of their own, so that a folder without them stays what it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_hrl.compiled import exact
from recsim_hrl.simulator.annex import read_annex
from recsim_hrl.simulator.weights import SURPRISES, ResponseConfig

LEAVING_FILE = "leaving.safetensors"
STEP_TERMS = 2
"""Inputs that depend on the number n of impressions alone: log(1 + n), and its square."""
FURTHEST = 4.0
"""An input counts as at most so many standard deviations from its mean in the log: beyond, the log says nothing."""


@dataclass(frozen=True)
class LeaveModel:
    """Weights in float64; there are X = W + STEP_TERMS inputs, and H hidden units, which may be none."""

    centre: np.ndarray  # (X,) mean of each input in the log
    scale: np.ndarray  # (X,) its standard deviation, above 0
    direct: np.ndarray  # (X,) what a scaled input adds to the logit by itself
    first: np.ndarray  # (X, H) what it adds to each hidden unit
    first_bias: np.ndarray  # (H,)
    last: np.ndarray  # (H,) what a hidden unit adds to the logit
    bias: np.ndarray  # (1,)

    def hazards(self, whole: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """The chance of leaving now, which does not depend, to the last bit, on who else is asked about.

        Args:
            whole: (B, W) float32 traces of all kinds together, after the impression; see ``Memory.whole``.
            steps: (B,) int64 impressions of the session so far, that one counted.

        Returns:
            (B,) float64.
        """
        found = np.empty(len(steps))
        _fill(*vars(self).values(), whole, steps, found)
        return found

    def problem(self, traces: int) -> str | None:
        """What is impossible about these weights for a memory of ``traces`` (W); None if nothing is."""
        inputs, hidden = traces + STEP_TERMS, self.last.size
        shapes = {"first": (inputs, hidden), "first_bias": (hidden,), "last": (hidden,), "bias": (1,)}
        shapes |= dict.fromkeys(("centre", "scale", "direct"), (inputs,))
        for name, shape in shapes.items():
            array = getattr(self, name)
            if array.dtype != np.float64 or array.shape != shape or not np.isfinite(array).all():
                return name
        return None if (self.scale > 0).all() else "scale"


def traces_of(config: ResponseConfig) -> int:
    """W, the width of ``Memory.whole`` under a response model of this shape."""
    return config.time_scales * (config.traces + SURPRISES)


def read_leaving(path: Path, tensors_sha256: str, config: ResponseConfig) -> LeaveModel:
    """Read the file of a leave model; it must fit the simulator with this checksum and this shape.

    Raises:
        ValueError: if the file is damaged, of another format, or of another simulator.
    """
    return read_annex(path, LeaveModel, tensors_sha256, lambda model: model.problem(traces_of(config)), "leaving")


@exact
def _fill(centre, scale, direct, first, first_bias, last, bias, whole, steps, found):
    """Fill ``found`` (B,), user by user, each sum in one order in float64."""
    width, (inputs, hidden) = whole.shape[1], first.shape
    scaled, layer = np.empty(inputs), np.empty(hidden)
    for user in range(steps.shape[0]):
        for w in range(width):
            scaled[w] = whole[user, w]
        scaled[width] = math.log1p(np.float64(steps[user]))
        scaled[width + 1] = scaled[width] * scaled[width]
        logit = bias[0]
        for j in range(hidden):
            layer[j] = first_bias[j]
        for i in range(inputs):
            value = min(max((scaled[i] - centre[i]) / scale[i], -FURTHEST), FURTHEST)
            logit += value * direct[i]
            for j in range(hidden):
                layer[j] += value * first[i, j]
        for j in range(hidden):
            logit += layer[j] / (1.0 + math.exp(-layer[j])) * last[j]
        found[user] = 1.0 / (1.0 + math.exp(-logit))
