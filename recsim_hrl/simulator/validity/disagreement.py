"""Where the simulator does not know: what the log covers of a policy's impressions, and where simulators disagree.

Policies play in the simulator, as agents do. Simulators that were fitted to other sessions of the same market then
predict the same impressions. Where the log taught them enough, they say the same; where they do not, the simulator
guesses, and a policy that goes there may be paid for what is not so.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from recsim_hrl.simulator.coverage import Coverage
from recsim_hrl.simulator.market import Policy, SimulatorMarket, Values, run_policy
from recsim_hrl.simulator.policies import (
    click_value,
    follow_clicks_policy,
    greedy_policy,
    random_goal_policy,
    random_policy,
    reward_value,
)
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.validity.log_sample import LogSample
from recsim_hrl.simulator.validity.measures import predict_log
from recsim_hrl.types import NO_ITEM, ORDER, Visits

_FAR = 0.95
"""Quantile of the disagreement on the log beyond which an impression counts as far from it."""


@dataclass(frozen=True)
class PlayConfig:
    """How policies play in the simulator."""

    length: int = 50
    """Items of a session, at the most; a small catalogue has shorter ones."""
    users: int = 100
    """Sessions per policy."""
    candidates: int = 1000
    """Candidates offered, as many as the environments offer by default."""
    seed: int = 1
    """Luck of the users."""

    def __post_init__(self) -> None:
        for name, least in (("length", 1), ("users", 2), ("candidates", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"play {name}: got {getattr(self, name)}, allowed {least} or more; raise it")


@dataclass(frozen=True)
class Whereabouts:
    """What is known of the places that one policy goes to; the log itself has one too."""

    policy: str
    reward: float
    """Per session that the simulator paid; nan for the log, whose sessions have other lengths."""
    standard_error: float
    coverage: float
    """Share of its impressions that are of a sort that the log holds often; nan for the log."""
    promised: tuple[float, ...]
    """Reward per impression that each simulator predicts for its impressions, the judged simulator first."""
    disagreement: float
    """Mean over impressions and pairs of simulators: the share of responses that they would give differently; nan for
    one simulator."""
    far: float
    """Share of its impressions on which they disagree more than on 95% of the log's."""

    @property
    def spread(self) -> float:
        """The largest promise less the smallest, relative to the mean."""
        return (max(self.promised) - min(self.promised)) / float(np.mean(self.promised))


@dataclass(frozen=True)
class Disagreement:
    """What is known of where policies go."""

    members: tuple[str, ...]
    """Names of the simulators, the judged one first."""
    length: int
    log: Whereabouts
    policies: tuple[Whereabouts, ...]

    @property
    def largest_ratio(self) -> float:
        """The largest disagreement of a policy, in units of that on the log."""
        return max(policy.disagreement for policy in self.policies) / self.log.disagreement


def disagreement(
    simulators: list[Simulator], sample: LogSample, coverage: Coverage, config: PlayConfig | None = None
) -> Disagreement:
    """Let policies play in the first of ``simulators`` and all of them predict what happens.

    Args:
        simulators: One or more, of the same catalogue; the first is judged.
        sample: Of the log.
        coverage: What the log covers.
        config: How policies play.
    """
    config = config or PlayConfig()
    judged = simulators[0]
    candidates = judged.recall_order[: config.candidates]
    length, users = min(config.length, len(candidates)), torch.arange(config.users) % len(judged.visits)
    market = SimulatorMarket(judged, length)
    on_log = _Said.of(simulators, sample.sequences, sample.sessions)
    usual = np.quantile(on_log.apart, _FAR)
    played = []
    for policy in _policies(market):
        values = run_policy(market, policy, users, candidates, length, config.seed)
        sequences = after_visits(judged.visits.take(users), values)
        said = _Said.of(simulators, sequences, np.arange(len(sequences) - len(users), len(sequences)))
        played.append(said.whereabouts(policy.name, values.total, coverage.share(values), usual))
    names = tuple(simulator.name for simulator in simulators)
    return Disagreement(names, length, on_log.whereabouts("the log", None, math.nan, usual), tuple(played))


def _policies(market: SimulatorMarket) -> list[Policy]:
    return [
        random_policy(),
        random_goal_policy(),
        follow_clicks_policy(),
        greedy_policy("simulator_click_greedy", market, click_value),
        greedy_policy("simulator_reward_greedy", market, reward_value),
        greedy_policy("simulator_order_greedy", market, lambda probs: probs[..., ORDER]),
    ]


def after_visits(visits: Visits, values: Values) -> Sequences:
    """The sessions of a rollout as a log, each after the visit of ``visits`` (B,) that it started from.

    The visits come first, as sessions of their own where they hold anything, then the ``B`` sessions in order.
    """
    shown = visits.items.numpy() != NO_ITEM  # (B, P)
    users, (size, length) = np.arange(len(shown)), values.items.shape
    known = users[shown.any(1)]
    lengths = np.concatenate([shown[known].sum(1), np.full(size, length)])
    return Sequences.build(
        np.concatenate([visits.items.numpy()[shown], values.items.ravel()]),
        np.concatenate([visits.responses.numpy()[shown], values.responses.ravel()]),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([known, users]),
        np.concatenate([np.zeros(len(known)), np.ones(size)]),
    )


@dataclass(frozen=True)
class _Said:
    """What simulators say of the same impressions."""

    apart: np.ndarray  # (n,) share of responses that two of them would give differently, mean over pairs
    promised: tuple[float, ...]

    @staticmethod
    def of(simulators: list[Simulator], sequences: Sequences, sessions: np.ndarray) -> "_Said":
        found = [predict_log(simulator, sequences, None, sessions).probs for simulator in simulators]  # (n, R) each
        pairs = [np.abs(one - other).sum(1) / 2.0 for one, other in itertools.combinations(found, 2)]
        apart = np.mean(pairs, 0) if pairs else np.full(len(found[0]), np.nan)
        return _Said(apart, tuple(float(reward_value(probs).mean()) for probs in found))

    def whereabouts(self, policy: str, totals: np.ndarray | None, coverage: float, usual: float) -> Whereabouts:
        """With the ``totals`` (S,) of its sessions, and what is ``usual`` on the log at the most."""
        reward = error = math.nan
        if totals is not None:
            reward, error = float(totals.mean()), float(totals.std(ddof=1) / np.sqrt(len(totals)))
        far = float(np.mean(self.apart > usual)) if np.isfinite(usual) else math.nan
        return Whereabouts(policy, reward, error, coverage, self.promised, float(self.apart.mean()), far)
