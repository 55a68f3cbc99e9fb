"""Policy-value fidelity: does a policy earn in the simulator what it earns in the true world?

Prediction measures say nothing about policies that the log does not cover; this does. Ten policies, four of which
exploit the simulator itself, serve the same users with the same luck in both markets.
"""

import pickle
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recsim_hrl.data.world import World
from recsim_hrl.simulator.coverage import Coverage
from recsim_hrl.simulator.market import Market, Policy, SimulatorMarket, WorldMarket, run_policy
from recsim_hrl.simulator.planner import tune_planner
from recsim_hrl.simulator.policies import (
    click_value,
    follow_clicks_policy,
    greedy_policy,
    random_goal_policy,
    random_policy,
    reward_value,
    static_policy,
    themed_policy,
)
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.validity.metrics import kendall_tau
from recsim_hrl.types import ORDER


@dataclass(frozen=True)
class FidelityConfig:
    """Size of the comparison."""

    lengths: tuple[int, ...] = (50, 200)
    """Session lengths in items."""
    impressions: int = 40_000
    """Impressions per policy, market and length; the number of users is this divided by the length."""
    candidates: int = 1000
    """Candidates offered, as many as the environments offer by default."""
    seed: int = 1
    """Luck of the users."""
    workers: int = 2
    """Processes; each takes one policy at one session length at a time."""

    def __post_init__(self) -> None:
        if not self.lengths or min(self.lengths) < 1:
            raise ValueError(f"fidelity lengths: got {self.lengths}, allowed one or more lengths of 1 or more items")
        if self.candidates < 1:
            raise ValueError(f"fidelity candidates: got {self.candidates}, allowed 1 or more")
        if self.impressions < 2 * max(self.lengths):
            raise ValueError(
                f"fidelity impressions: got {self.impressions}, allowed {2 * max(self.lengths)} or more: two sessions "
                "of the longest length, so that an error can be told"
            )

    def check(self, items: int) -> None:
        """Raise ValueError for sessions that a catalogue of ``items`` is too small for."""
        offered = min(self.candidates, items)
        if max(self.lengths) > offered:
            raise ValueError(
                f"fidelity lengths: got {self.lengths} with {offered} candidates, allowed lengths up to the number of "
                "candidates, as no item is shown twice; shorten the sessions"
            )


@dataclass(frozen=True)
class PolicyValue:
    """One policy at one length: mean reward per session in both markets, with standard errors."""

    policy: str
    length: int
    world: float
    world_error: float
    simulator: float
    simulator_error: float
    world_orders: float
    simulator_orders: float
    coverage: float = float("nan")
    """Share of the policy's impressions in the simulator that are of a sort that the log covers."""

    def __str__(self) -> str:
        return (
            f"{self.length:4d} items  {self.policy:24s} world {self.world:7.2f} ± {self.world_error:.2f}  "
            f"simulator {self.simulator:7.2f} ± {self.simulator_error:.2f}  error {self.relative_error:+.1%}"
        )

    @property
    def relative_error(self) -> float:
        """(simulator - world) / world."""
        return self.simulator / self.world - 1.0


@dataclass(frozen=True)
class Fidelity:
    """The whole comparison."""

    values: tuple[PolicyValue, ...]

    def at(self, length: int) -> list[PolicyValue]:
        return [value for value in self.values if value.length == length]

    def kendall_tau(self, length: int) -> float:
        """Agreement of the two rankings of policies."""
        values = self.at(length)
        return kendall_tau(np.array([v.world for v in values]), np.array([v.simulator for v in values]))

    def mean_error(self, length: int) -> float:
        """Mean absolute relative value error."""
        return float(np.mean([abs(v.relative_error) for v in self.at(length)]))

    def worst_error(self, length: int) -> float:
        return float(np.max([abs(v.relative_error) for v in self.at(length)]))

    def to_json(self) -> dict:
        lengths = sorted({v.length for v in self.values})
        summary = {
            str(length): {
                "kendall_tau": self.kendall_tau(length),
                "mean_absolute_error": self.mean_error(length),
                "worst_absolute_error": self.worst_error(length),
            }
            for length in lengths
        }
        return {"summary": summary, "values": [asdict(v) | {"relative_error": v.relative_error} for v in self.values]}


_Make = Callable[[Simulator, World, Market, Tensor, int], Policy]

POLICIES: dict[str, _Make] = {
    "random": lambda *_: random_policy(),
    "random_goal": lambda *_: random_goal_policy(),
    "follow_clicks": lambda *_: follow_clicks_policy(),
    "alluring_only": lambda simulator, world, *_: static_policy("alluring_only", world.allure),
    "good_only": lambda simulator, world, *_: static_policy("good_only", world.quality),
    "themed_good": lambda simulator, world, *_: themed_policy("themed_good", world.quality),
    "simulator_click_greedy": lambda simulator, world, learned, *_: greedy_policy(
        "simulator_click_greedy", learned, click_value
    ),
    "simulator_reward_greedy": lambda simulator, world, learned, *_: greedy_policy(
        "simulator_reward_greedy", learned, reward_value
    ),
    "simulator_order_greedy": lambda simulator, world, learned, *_: greedy_policy(
        "simulator_order_greedy", learned, lambda probs: probs[..., ORDER]
    ),
    "simulator_planner": lambda simulator, world, learned, candidates, length: tune_planner(
        "simulator_planner", learned, torch.arange(len(simulator.visits)), candidates[::4], length
    ),
}
"""Ten policies, the last four of which exploit the simulator, by name: how each is made for sessions of a length."""


def comparisons(config: FidelityConfig) -> list[tuple[str, int]]:
    """(policy, length) of every value, in the order of the report; none needs another."""
    return [(policy, length) for length in config.lengths for policy in POLICIES]


def compare_values(
    simulator: Simulator,
    world: World,
    config: FidelityConfig | None = None,
    log: Callable[[str], None] = print,
    coverage: Coverage | None = None,
) -> Fidelity:
    """Run the policies in the true world and in the simulator.

    Args:
        simulator: The simulator; its pool of users must come from ``world``.
        world: The true market.
        config: Size of the comparison.
        log: Receives one line per policy.
        coverage: What the log covers, to be told for each policy; None leaves it out.
    """
    config = config or FidelityConfig()
    config.check(len(simulator.catalogue))
    # From the last: the planners take longest, and the processes should end together.
    policies, lengths = zip(*reversed(comparisons(config)), strict=True)
    with ExitStack() as stack:
        if config.workers == 1:
            found = map(partial(policy_value, simulator, world, config, coverage), policies, lengths)
        else:
            # As bytes: multiprocessing would move the tensors to shared memory, away from the arrays that look at them.
            given = pickle.dumps((simulator, world, config, coverage))
            pool = ProcessPoolExecutor(min(config.workers, len(policies)), mp_context=get_context("spawn"))
            found = stack.enter_context(pool).map(partial(_unpacked_value, given), policies, lengths)
        values = tuple(tqdm(found, desc="policy values", total=len(policies), disable=None))[::-1]
    for value in values:
        log(str(value))
    return Fidelity(values)


def _unpacked_value(given: bytes, policy: str, length: int) -> PolicyValue:
    return policy_value(*pickle.loads(given), policy, length)


def policy_value(
    simulator: Simulator,
    world: World,
    config: FidelityConfig,
    coverage: Coverage | None,
    policy: str,
    length: int,
    market_of: Callable[[Simulator, int], Market] = SimulatorMarket,
) -> PolicyValue:
    """One entry of :func:`comparisons`: the value of ``policy`` in sessions of ``length`` items, in both markets.

    ``market_of`` makes the simulator's market for sessions of a length.
    """
    torch.set_num_threads(1)  # one process per core: two threads each would wait for one another
    candidates = simulator.recall_order[: config.candidates]
    learned, true = market_of(simulator, length), WorldMarket(world, simulator.visits)
    users = torch.arange(max(1, config.impressions // length)) % len(simulator.visits)
    made = POLICIES[policy](simulator, world, learned, candidates, length)
    in_world = run_policy(true, made, users, candidates, length, config.seed)
    in_simulator = run_policy(learned, made, users, candidates, length, config.seed)
    return PolicyValue(
        policy,
        length,
        in_world.mean,
        in_world.standard_error,
        in_simulator.mean,
        in_simulator.standard_error,
        float(in_world.orders.mean()),
        float(in_simulator.orders.mean()),
        float("nan") if coverage is None else coverage.share(in_simulator),
    )
