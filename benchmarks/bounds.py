"""The bounds of a market: what random choice, greed and a planner earn, in the true world and in both simulators.

    python -m benchmarks.bounds --out benchmarks/results/bounds.csv

The greedy oracles know the user completely (in the world: taste, trust and all) and maximise what they get now. The
planner knows as much and values tomorrow. Its weights are tuned on one half of the users; all values are of the other.
What exploits a simulator may be paid for the simulator's mistakes: each of its policies also serves the same users in
the true world, where there is one, and that value stands beside the other.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from benchmarks.aggregate import write_csv, write_text
from benchmarks.bounds_table import COLUMNS
from benchmarks.jobs import Job, Workers, job_key, keep_jobs, parts_folder
from benchmarks.records import package_versions, simulator_fingerprint
from recsim_hrl.data.world import World
from recsim_hrl.simulator.market import Market, Policy, SimulatorMarket, Values, WorldMarket, run_policy
from recsim_hrl.simulator.planner import tune_planner
from recsim_hrl.simulator.policies import (
    click_value,
    greedy_policy,
    random_goal_policy,
    random_policy,
    reward_value,
)
from recsim_hrl.simulator.store import Simulator, load_simulator
from recsim_hrl.simulator.validity.evaluate import world_of

TASKS = (("short", 50), ("long", 200))
BOUNDS = ("random", "random_goal", "click_greedy", "reward_greedy", "planner")


@dataclass(frozen=True)
class BoundsConfig:
    """What is measured."""

    simulator: str = "default"
    """Name or folder of a simulator with the splits train and test."""
    out: Path = Path("benchmarks/results/bounds.csv")
    """The table, as CSV; the text table stands beside it."""
    impressions: int = 20_000
    """Impressions per policy; the number of sessions is this divided by the session length."""
    candidates: int = 1000
    """Candidates offered."""
    rounds: int = 6
    """Rounds of the planner's search."""
    workers: int = 2
    """Jobs at a time, one core each: a job is a market and a task."""
    ray: str | None = None
    """Run on Ray: "local" starts it here, "auto" or "HOST:6379" joins a cluster."""


def world_behind(simulator: Simulator) -> World | None:
    """The world whose log a simulator was fitted to; None for a log of another origin."""
    metadata = simulator.provenance.get("log", {}).get("metadata", {})
    return world_of(metadata, simulator.catalogue, f"the simulator {simulator.name!r}")


def open_markets(name: str, simulator: Simulator, length: int) -> tuple[Market, Market | None]:
    """The market ``name`` (a split, or "world") with the users of ``simulator``, and the true world, if it differs."""
    world = world_behind(simulator)
    true = None if world is None else WorldMarket(world, simulator.visits)
    return (true, None) if name == "world" else (SimulatorMarket(simulator, length), true)


def measure(name: str, task: str, length: int, config: BoundsConfig) -> list[dict]:
    """The rows of one market and task."""
    torch.set_num_threads(1)
    judged = load_simulator(config.simulator, "test" if name == "world" else name)
    market, true = open_markets(name, judged, length)
    candidates = judged.recall_order[: config.candidates]
    half = len(judged.visits) // 2
    tuned_on, users = torch.arange(half), half + torch.arange(max(1, config.impressions // length)) % half
    # A quarter of the candidates is enough to find the weights.
    planner = tune_planner("planner", market, tuned_on, candidates[::4], length, rounds=config.rounds)
    policies = [
        random_policy(),
        random_goal_policy(),
        greedy_policy("click_greedy", market, click_value),
        greedy_policy("reward_greedy", market, reward_value),
        planner,
    ]
    rows = []
    for policy in policies:
        values = run_policy(market, policy, users, candidates, length, seed=2)
        in_world = run_policy(true, policy, users, candidates, length, seed=2) if true else None
        rows.append(_row(name, task, policy, values, in_world))
    return rows


def _row(market: str, task: str, policy: Policy, values: Values, in_world: Values | None) -> dict:
    numbers = (*_interval(values), values.clicks.mean(), 5.0 * values.orders.mean())
    true = _interval(in_world) if in_world else ()
    written = [f"{x:.4f}" for x in (*numbers, *true)] + [""] * (3 - len(true))
    return dict(zip(COLUMNS, (market, task, policy.name, len(values.total), *written), strict=True))


def _interval(values: Values) -> tuple[float, float, float]:
    """Mean total reward with its 95% interval."""
    margin = 1.96 * values.standard_error
    return values.mean, values.mean - margin, values.mean + margin


def gaps(rows: list[dict]) -> list[str]:
    """The patience gap and the exploration gap of each market and task, in words."""
    lines = []
    for market in dict.fromkeys(row["market"] for row in rows):
        for task in dict.fromkeys(row["task"] for row in rows):
            here = {row["policy"]: row for row in rows if (row["market"], row["task"]) == (market, task)}
            if len(here) < len(BOUNDS):
                continue
            total = {policy: float(row["total_reward"]) for policy, row in here.items()}
            orders = {policy: float(row["order_reward"]) for policy, row in here.items()}
            lines.append(
                f"{market:6s} {task:6s} patience gap: planner over reward-greedy "
                f"{total['planner'] / total['reward_greedy'] - 1:+.0%}, over click-greedy "
                f"{total['planner'] / total['click_greedy'] - 1:+.0%}; exploration gap: random goals find "
                f"{orders['random_goal'] / max(orders['random'], 1e-9):.1f}x the orders of random choice"
            )
    return lines


def _reward_text(row: dict, name: str) -> str:
    if not row[name]:
        return "–"
    mean, low, high = (float(row[name + end]) for end in ("", "_low", "_high"))
    return f"{mean:.2f} ({low:.2f}–{high:.2f})"


def to_text(rows: list[dict]) -> str:
    """The table for people."""
    lines = ["| market | task | policy | sessions | total reward (95% interval) | click | order | in the true world |"]
    lines.append("|---|---|---|---:|---:|---:|---:|---:|")
    for row in rows:
        cells = (row["market"], row["task"], row["policy"], row["sessions"], _reward_text(row, "total_reward"))
        parts = (f"{float(row['click_reward']):.2f}", f"{float(row['order_reward']):.2f}")
        lines.append(f"| {' | '.join(map(str, (*cells, *parts, _reward_text(row, 'true_reward'))))} |")
    return "\n".join(lines + ["", *[f"- {line}" for line in gaps(rows)]])


def _measured(market: str, task: str, length: int, config: BoundsConfig) -> bytes:
    return json.dumps(measure(market, task, length, config)).encode()


def _told(part: bytes) -> str:
    return f"\n{to_text(json.loads(part))}\n"


def main(config: BoundsConfig) -> None:
    """Measure all bounds and write the table; what was measured before an interruption is not measured again."""
    has_world = world_behind(load_simulator(config.simulator, "test")) is not None
    markets = (("world",) if has_world else ()) + ("train", "test")
    jobs = [
        Job(f"{market} {task}", f"{market}-{task}.json", (market, task, length, config), cost=length)
        for market in markets
        for task, length in TASKS
    ]
    asked = dataclasses.replace(config, out=Path(), workers=1, ray=None)  # what decides the numbers
    about = {"config": str(asked), "tasks": TASKS, "simulators": simulator_fingerprint(config.simulator)}
    rows = []
    with parts_folder(config.out, job_key(about | {"versions": package_versions()})) as parts:
        keep_jobs(jobs, parts, _measured, Workers(config.workers, config.ray), _told)
        for job in jobs:
            rows += json.loads((parts / job.file).read_bytes())
        rows.sort(key=lambda row: (markets.index(row["market"]), row["task"] != "short", BOUNDS.index(row["policy"])))
        command = f"python -m benchmarks.bounds --simulator {config.simulator} --out {config.out}"
        write_csv(config.out, COLUMNS, ([row[column] for column in COLUMNS] for row in rows))
        write_text(config.out.with_suffix(".md"), f"{to_text(rows)}\n\nMade by `{command}`.\n")
    print("\n".join(gaps(rows)))


if __name__ == "__main__":
    main(tyro.cli(BoundsConfig, description=__doc__))
