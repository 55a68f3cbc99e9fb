"""Intervals of rates on a log: a bootstrap that draws whole users, as the impressions of one user resemble each other.

A user who clicks much does so on all of her impressions, so an interval that took impressions for independent would
be too narrow.
"""

from dataclasses import dataclass

import numpy as np

_AT_A_TIME = 50  # draws whose weights are in memory together


@dataclass(frozen=True)
class Interval:
    """A value and the interval that holds 95% of its bootstrap draws."""

    value: float
    low: float
    high: float

    @property
    def excess(self) -> float:
        """How far from zero the value is shown to be: zero where the interval holds it."""
        return max(self.low, -self.high, 0.0)

    def scaled(self, factor: float) -> "Interval":
        """The interval in another unit; ``factor`` is 0 or more."""
        return Interval(self.value * factor, self.low * factor, self.high * factor)


class UserBootstrap:
    """Draws users with replacement.

    Args:
        user: (n,) which user each row belongs to, numbered from 0.
        seed: Draws the users.
        draws: How often.
    """

    def __init__(self, user: np.ndarray, seed: int = 0, draws: int = 1000) -> None:
        self.user, self.seed, self.draws = user, seed, draws
        self.users = int(user.max()) + 1

    def ratios(self, tops: np.ndarray, bottoms: np.ndarray) -> list[Interval]:
        """The ratio of sums in each column.

        Args:
            tops: (n, m) what is summed above.
            bottoms: (n, m) what is summed below; (n, 1) for all columns alike.

        Returns:
            m intervals; ``nan`` where all below is zero, and drawn users of whom nothing is below do not count.
        """
        above, below = self._sums(tops), self._sums(bottoms)  # (U, m)
        generator, drawn = np.random.default_rng(self.seed), []
        for start in range(0, self.draws, _AT_A_TIME):
            size = min(_AT_A_TIME, self.draws - start)
            picked = generator.integers(0, self.users, (size, self.users))
            weights = np.stack([np.bincount(row, minlength=self.users) for row in picked]).astype(np.float64)
            drawn.append(_divide(weights @ above, weights @ below))
        draws = np.concatenate(drawn)  # (draws, m)
        values = _divide(above.sum(0), below.sum(0))  # (m,)
        return [_interval(value, column) for value, column in zip(values, draws.T, strict=True)]

    def mean(self, values: np.ndarray) -> Interval:
        """The mean of ``values`` (n,)."""
        return self.ratios(values[:, None], np.ones((len(values), 1)))[0]

    def _sums(self, values: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(self.user, column, self.users) for column in values.T], 1)  # (U, m)


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    above, below = np.broadcast_arrays(above, below)
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below != 0)


def _interval(value: float, draws: np.ndarray) -> Interval:
    draws = draws[np.isfinite(draws)]
    if len(draws) == 0:
        return Interval(float("nan"), float("nan"), float("nan"))
    low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    return Interval(float(value), low, high)
