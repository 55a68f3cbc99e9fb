"""Memory of the items shown in the running sessions, for agents that rank candidates and never repeat one."""

import numpy as np


class ShownItems:
    """Which candidates each of ``B`` users has been shown by the agent in the running session."""

    def __init__(self, candidates: int) -> None:
        self._candidates = candidates
        self._shown = np.zeros((0, candidates), bool)  # (B, C)

    def begin(self, starting: np.ndarray) -> None:
        """Forget the users at ``starting`` (B,)."""
        if len(starting) != len(self._shown):
            self._shown = np.zeros((len(starting), self._candidates), bool)
        self._shown[starting] = False

    def best(self, scores: np.ndarray) -> np.ndarray:
        """(B,) the highest-scoring candidate not shown yet, from ``scores`` (B, C) or (C,); remembers it as shown.

        Where everything has been shown, the best of all.
        """
        scores = np.atleast_2d(scores)
        size = len(self._shown)
        scores = np.broadcast_to(scores, (size, self._candidates))
        spent = self._shown.all(-1, keepdims=True)  # (B, 1)
        choices = np.where(self._shown & ~spent, -np.inf, scores).argmax(-1)  # (B,)
        self._shown[np.arange(size), choices] = True
        return choices

    def fit_batch(self, size: int) -> None:
        """Start afresh if nobody said how many sessions there are: ``act`` was called without ``begin``."""
        if len(self._shown) == 0:
            self.begin(np.ones(size, bool))
        if len(self._shown) != size:
            raise ValueError(
                f"observations: got {size} users, allowed {len(self._shown)} as in the last begin(); "
                "call begin(starting) with one entry per user when sessions start"
            )
