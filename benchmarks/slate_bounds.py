"""The bounds of a task of slates: what chance, popularity, greed and a planner earn from the users that judge agents.

Each is judged as agents are, on the same sessions with the same luck, and kept as they are. The planner's weights are
tuned on the train simulator, whose users are others; the model that it plans with is that of the test simulator.
"""

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from gymnasium.vector import VectorEnv
from recsim_hrl_agents.loop import evaluate
from recsim_hrl_agents.registry import make_agent
from torch import Tensor

from benchmarks.jobs import Job, Workers, job_key, keep_jobs
from benchmarks.records import (
    RunRecord,
    load_record,
    package_versions,
    record_bytes,
    record_name,
    simulator_fingerprint,
)
from benchmarks.slate_evaluation import evaluate_slates
from benchmarks.slate_oracle import SlateOracle, order_of, slate_market
from benchmarks.slate_tasks import SlateTask
from benchmarks.tasks import Entry, Run
from benchmarks.training import make_env
from recsim_hrl.simulator.market import SimulatorMarket
from recsim_hrl.simulator.planner import search_weights
from recsim_hrl.simulator.policies import click_value, greedy_policy, planner_policy, reward_value, static_policy

BOUNDS = ("random", "popularity", "click_greedy", "reward_greedy", "planner")
"""By what they know: nothing, what sells on average, the users and now, the users and later."""
PLANNER_SEED = 30_000_000
"""Of the first user that the planner's weights are tried on."""
SEED_STEP = 10_000
"""From one round of the search to the next, so that no round meets the users of another."""


@dataclass(frozen=True)
class PlannerSearch:
    """How thoroughly the planner's weights are looked for; see :func:`search_weights`."""

    rounds: int = 6
    """Rounds of the search."""
    population: int = 16
    """Weight vectors tried in each round."""
    sessions: int = 64
    """Sessions of the train simulator that each of them is tried on."""


def measure_bounds(
    tasks: Sequence[SlateTask],
    folder: Path,
    where: Workers,
    names: Sequence[str] = BOUNDS,
    search: PlannerSearch | None = None,
) -> list[RunRecord]:
    """Records of the bounds ``names`` of ``tasks``, measured where they are not kept in ``folder`` yet.

    Raises:
        RuntimeError: If a measurement failed; the others are kept.
    """
    search, jobs = search or PlannerSearch(), []
    fingerprints = {task.simulator: simulator_fingerprint(task.simulator, with_leaving=True) for task in tasks}
    for task in tasks:
        for name in names:
            about = {"task": dataclasses.asdict(task), "simulators": fingerprints[task.simulator], "bound": name}
            about |= {"search": dataclasses.asdict(search), "versions": package_versions()}
            key = job_key(about)
            # The planner plays every weight vector's sessions, at a part of the candidates.
            tried = search.rounds * search.population * search.sessions // 4 if name == "planner" else 0
            cost = (task.sessions + tried) * task.session_length
            file = record_name(task.name, name, 0, key)
            jobs.append(Job(f"{task.name} bound {name}", file, (name, task, key, search), cost))
    keep_jobs(jobs, folder, measure_bound, where, noun="bounds")
    return [load_record(folder / job.file) for job in jobs]


def measure_bound(name: str, task: SlateTask, key: str, search: PlannerSearch) -> bytes:
    """A job: the record of one bound."""
    torch.set_num_threads(1)  # other jobs work beside this one
    started = time.monotonic()
    weights = planner_weights(task, search) if name == "planner" else None
    tuned = time.monotonic()
    env = _open(task, "test")
    try:
        found = evaluate_slates(_policy(name, env, weights), env, task.sessions, task.evaluation_seed)
    finally:
        env.close()
    seconds = {"train_seconds": tuned - started, "evaluate_seconds": time.monotonic() - tuned}
    record = RunRecord(key, task.name, name, 0, 0, **seconds, versions=package_versions(), **found.fields())
    return record_bytes(record)


def planner_weights(task: SlateTask, search: PlannerSearch) -> Tensor:
    """The planner's weights that earn most in sessions of the train simulator."""
    env = _open(task, "train")
    core = env.unwrapped.core
    market = slate_market(core)
    planner = partial(planner_policy, "planner", market, order_of(market, core.users))
    # A quarter of the candidates is enough to find the weights, if sessions do not use them up.
    every = max(1, min(4, core.offered // core.config.session_length))

    def values(tried: Tensor, number: int) -> list[float]:
        seed = PLANNER_SEED + SEED_STEP * number
        oracles = [SlateOracle(env, market, planner(weights), every) for weights in tried]
        return [float(evaluate(oracle, env, search.sessions, seed).total_reward.mean()) for oracle in oracles]

    try:
        return search_weights(values, search.rounds, search.population, torch.Generator().manual_seed(0))
    finally:
        env.close()


def _policy(name: str, env: VectorEnv, weights: Tensor | None):
    """What answers the requests of ``env`` as the bound ``name``."""
    if name == "random":
        return make_agent("slate-random", env)
    core = env.unwrapped.core
    market = slate_market(core)
    return SlateOracle(env, market, _item_policy(name, env, market, weights))


def _item_policy(name: str, env: VectorEnv, market: SimulatorMarket, weights: Tensor | None):
    core = env.unwrapped.core
    match name:
        case "popularity":
            return static_policy(name, torch.from_numpy(core.data.item_counts @ core.rewards))
        case "click_greedy":
            return greedy_policy(name, market, click_value)
        case "reward_greedy":
            return greedy_policy(name, market, reward_value)
        case "planner":
            return planner_policy(name, market, order_of(market, core.users), weights)
    raise ValueError(f"bound: got {name!r}, allowed {BOUNDS}; pass one of these names")


def _open(task: SlateTask, split: str) -> VectorEnv:
    return make_env(Run(task, Entry("slate-random", action="items"), 0), split)
