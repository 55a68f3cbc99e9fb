"""Off-policy agreement: what a policy earns by the log's own evidence, against what the simulator says it earns.

The policies are "best of C": C items drawn at random from those that can be shown, and of these the one of the highest
predicted reward. With C = 1 that is random choice; the larger C, the harder the policy leans on the simulator. Every
item keeps a known probability, so importance weights exist for each impression of a log with propensities. The value
is that of *one* impression after the real session so far: over whole sessions the weights multiply, and no log of
usual size would hold enough like it.

Probabilities need no look at the whole catalogue. Let ``lower`` of ``others`` items, a random choice of all others, be
worth less than the item shown. The chance that all of C - 1 random others are worth less is, without bias,
``comb(lower, C - 1) / comb(others, C - 1)``, and the item is among the C in C of M cases.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import comb

from recsim_hrl.simulator.policies import reward_value
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.validity.intervals import Interval, UserBootstrap
from recsim_hrl.simulator.validity.log_sample import LogSample
from recsim_hrl.simulator.validity.replay import Player, still_on
from recsim_hrl.types import DEFAULT_REWARDS

CHOICES = (1, 2, 5, 10, 20)
"""Items that the policies choose from."""
POOL = 100
"""Random items of the catalogue that stand for all of it, per session."""
CUT = 50.0
"""Largest importance weight of SNIPS and the doubly robust value; what is cut off is told as what is not checked."""
ENOUGH_SUPPORT = 200
"""Effective sample size from which on a value is told."""
ENOUGH_CHECKED = 0.2
"""Share of a policy's impressions that the log must hold evidence on."""


@dataclass(frozen=True)
class OffPolicyValue:
    """Reward per impression of one policy, on the impressions of the log."""

    choices: int
    """Random items that it chooses the best of."""
    simulator: Interval
    """What the simulator says."""
    ips: Interval
    """Inverse propensity score: without bias, and wild where single weights are large."""
    snips: Interval
    """Self-normalised, with weights cut at ``CUT``."""
    doubly_robust: Interval
    """The simulator's value, corrected by its own weighted errors; weights cut and self-normalised. Its interval is
    that of the correction: the value is of the users of this log."""
    correction: Interval
    """The doubly robust value less the simulator's."""
    mean_weight: Interval
    """Of the uncut weights: 1 where the propensities are right and the log shows all that the policy would show."""
    checked: float
    """Mean of the cut weights: the share of the policy's impressions that the log has evidence on."""
    effective_sample_size: float
    """Impressions of the policy itself that the cut weights are worth."""

    @property
    def name(self) -> str:
        return "random" if self.choices == 1 else f"best of {self.choices} random items"

    @property
    def has_support(self) -> bool:
        """Whether the log holds enough of what the policy would show."""
        return self.effective_sample_size >= ENOUGH_SUPPORT and self.checked >= ENOUGH_CHECKED

    @property
    def shown_error(self) -> float:
        """The relative error of the simulator's value that is shown beyond chance."""
        return _relative(self.correction.excess, self.doubly_robust.value)

    @property
    def precision(self) -> float:
        """Half the width of the doubly robust interval, relative to its value."""
        return _relative((self.doubly_robust.high - self.doubly_robust.low) / 2.0, self.doubly_robust.value)


def _relative(size: float, value: float) -> float:
    return size / abs(value) if value else float("inf")


@dataclass(frozen=True)
class Weighed:
    """Impressions of the log as seen by policies; rows where some policy has too few items to choose from are out."""

    row: np.ndarray  # (m,) rows of the sample
    weights: np.ndarray  # (m, P) importance weights
    direct: np.ndarray  # (m, P) predicted reward of the policy's own choice
    predicted: np.ndarray  # (m,) predicted reward of the item shown


def off_policy_values(simulator: Simulator, sample: LogSample, seed: int = 0) -> tuple[OffPolicyValue, ...]:
    """The value of each policy by the log and by the simulator.

    Args:
        simulator: Predicts, and ranks for the policies.
        sample: Of a log with propensities: the probability with which the logger showed the item, given what it knew.
        seed: Draws the items that stand for the catalogue, and the users of the intervals.

    Returns:
        One value per entry of ``CHOICES`` that the catalogue is large enough for.
    """
    choices = tuple(size for size in CHOICES if 2 * size <= len(simulator.catalogue)) or CHOICES[:1]
    weighed = weigh(simulator, sample, choices, seed)
    reward = np.asarray(DEFAULT_REWARDS)[sample.response[weighed.row]]  # (m,)
    users = np.unique(sample.users[sample.session[weighed.row]], return_inverse=True)[1]
    bootstrap = UserBootstrap(users, seed)
    columns = zip(choices, weighed.weights.T, weighed.direct.T, strict=True)
    return tuple(
        estimate(size, weights, direct, weighed.predicted, reward, bootstrap) for size, weights, direct in columns
    )


def estimate(
    choices: int,
    weights: np.ndarray,
    direct: np.ndarray,
    predicted: np.ndarray,
    reward: np.ndarray,
    bootstrap: UserBootstrap,
) -> OffPolicyValue:
    """All estimates of one policy; the arrays are (m,), an impression each."""
    cut, ones = np.minimum(weights, CUT), np.ones_like(weights)
    surplus = cut * (reward - predicted)
    snips, error = bootstrap.ratios(np.stack([cut * reward, surplus], 1), np.stack([cut, cut], 1))
    ips, mean_weight, simulator = bootstrap.ratios(np.stack([weights * reward, weights, direct], 1), ones[:, None])
    robust = Interval(simulator.value + error.value, simulator.value + error.low, simulator.value + error.high)
    support = float(cut.sum() ** 2 / (cut**2).sum()) if cut.any() else 0.0
    return OffPolicyValue(choices, simulator, ips, snips, robust, error, mean_weight, float(cut.mean()), support)


def repeats_items(sample: LogSample) -> bool:
    """Whether a session of the sample shows an item twice; where none does, a policy may not either."""
    keys = sample.session * np.int64(sample.item.max() + 1) + sample.item
    return len(np.unique(keys)) < len(keys)


def weigh(simulator: Simulator, sample: LogSample, choices: tuple[int, ...], seed: int) -> Weighed:
    """Importance weights and predicted values of the policies on every impression of ``sample``."""
    player, repeats = Player(simulator, sample.sequences), repeats_items(sample)
    size, pool_size = len(simulator.catalogue), min(POOL, len(simulator.catalogue))
    parts = []
    for group in player.groups(sample.sessions):
        sessions = sample.sessions[group]
        memory = player.memory(sessions)
        pools = np.stack([_pool(size, pool_size, seed, session) for session in sessions.tolist()])  # (B, K)
        allowed = np.ones_like(pools, dtype=bool)
        for step, rows in player.steps(sessions):
            users = len(rows)
            memory, pool, left = still_on(memory, users), pools[:users], allowed[:users]
            item = sample.sequences.items[rows].astype(np.int64)  # (b,)
            probs = player.probs(memory, step, np.concatenate([pool, item[:, None]], 1))
            value = reward_value(probs).astype(np.float64)  # (b, K + 1)
            is_other = left & (pool != item[:, None])
            chance, direct = _chances(value, pool, item, left, is_other, choices, size if repeats else size - step)
            at = sample.starts[group[:users]] + step
            parts.append((at, chance / sample.propensity[at][:, None], direct, value[:, -1]))
            player.update(memory, step, item, sample.sequences.responses[rows].astype(np.int64))
            if not repeats:
                left &= is_other
    row, weights, direct, predicted = (np.concatenate(column) for column in zip(*parts, strict=True))
    kept = np.isfinite(weights).all(1) & np.isfinite(direct).all(1)
    order = np.argsort(row[kept])
    return Weighed(*(part[kept][order] for part in (row, weights, direct, predicted)))


def _pool(items: int, size: int, seed: int, session: int) -> np.ndarray:
    return np.random.default_rng([seed, session]).choice(items, size, replace=False, shuffle=False)


def _chances(
    value: np.ndarray,
    pool: np.ndarray,
    item: np.ndarray,
    allowed: np.ndarray,
    is_other: np.ndarray,
    choices: tuple[int, ...],
    candidates: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Probability of the item shown, and the predicted value of the choice, under each policy: (b, P) both.

    ``value`` (b, K + 1) is the predicted reward of the ``pool`` (b, K) and of the ``item`` (b,); equal items are ranked
    by their index. ``nan`` where there are too few items to choose from.
    """
    own = value[:, -1:]
    is_lower = (value[:, :-1] < own) | ((value[:, :-1] == own) & (pool > item[:, None]))
    lower, others, offered = ((is_other & is_lower).sum(1), is_other.sum(1), allowed.sum(1))  # (b,) each
    ranked = np.sort(np.where(allowed, value[:, :-1], -np.inf), 1)  # (b, K), what is not allowed first
    below = np.arange(pool.shape[1]) - (pool.shape[1] - offered)[:, None]  # (b, K) allowed ones that are worth less
    chances, direct = [], []
    for size in choices:
        with np.errstate(invalid="ignore", divide="ignore"):
            chance = size / candidates * comb(lower, size - 1) / comb(others, size - 1)
            share = comb(below, size - 1) / comb(offered, size)[:, None]  # (b, K) chance to be the best of `size`
        chances.append(np.where(others >= size - 1, chance, np.nan))
        terms = np.where(below >= 0, share * np.where(np.isfinite(ranked), ranked, 0.0), 0.0)
        direct.append(np.where(offered >= size, terms.sum(1), np.nan))
    return np.stack(chances, 1), np.stack(direct, 1)
