"""How fast MaHRL learns, as in its Figure 6: ``python -m benchmarks.convergence``.

MaHRL with several goals to a period and with one (HRL-G), two of ours whose low level starts from the goal, and no high
level (DDPG+).
Follows the reward of exploring sessions, its part from orders and the mean Q of both levels while the agents learn, and
tells after how many environment steps each reaches 95% of where it ends. Stop it whenever you like: finished trainings
are kept.
"""

import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.aggregate import write_csv, write_text
from benchmarks.commands import finish
from benchmarks.jobs import Job, Workers, keep_jobs
from benchmarks.records import run_file
from benchmarks.run import make_plan
from benchmarks.sensitivity import SCALES, Scale, tasks_of
from benchmarks.settings import long_settings
from benchmarks.tables import Table, aligned, section
from benchmarks.tasks import Preset, Run, entry_of

AGENTS = ("mahrl", "hrl-g", "mahrl-anchored", "mahrl-items", "ddpg")
"""Those of the paper's figure, two of ours, and their low level alone."""
MEASURES = {
    "total_reward": "reward of exploring sessions",
    "order_reward": "orders' part of it",
    "q": "Q, low level",
    "high_q": "Q, high level",
}
"""What is followed, by its name in a learning curve, and what it is called."""
RECORDS = 40
"""Points of a curve."""
SEEDS = {"quick": 1, "full": 2}
"""By preset."""
TIMES_AS_LONG = {"quick": 1, "full": 3}
"""Length of a training, by preset, in trainings of ``benchmarks.sensitivity``, as which everything else is: after one
of the full benchmark's length, nobody is where it ends."""
SHARE = 0.95
"""Of the final value, at which a curve counts as there."""
TAIL = 0.1
"""Share of a curve's points, its last ones, whose mean is the final value."""


@dataclass(frozen=True)
class ConvergenceConfig:
    """Follow MaHRL, HRL-G, two agents of ours and DDPG+ while they learn.

    Prints how soon each is there and leaves convergence.csv, convergence.md and convergence.png in
    OUT/convergence-PRESET.
    """

    preset: Literal["quick", "full"] = "quick"
    """quick: half a minute on 2 cores, tells nothing. full: long sessions, 1,536,000 steps, two seeds."""
    out: Path = Path("runs")
    """Folder for results."""
    workers: int = os.cpu_count() or 1
    """Trainings at a time, one core each."""
    ray: str | None = None
    """Run on Ray: "local" starts it here, "auto" or "HOST:6379" joins a cluster."""


@dataclass(frozen=True)
class LearningCurve:
    """What one training left: (environment steps, value) pairs of each measure."""

    task: str
    agent: str
    seed: int
    measures: dict[str, list[tuple[float, float]]]
    cpu_seconds: float
    """Processor time of the training."""

    def of(self, measure: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
        """Environment steps and values of a measure; None if there are none."""
        pairs = self.measures[measure]
        return tuple(zip(*pairs, strict=True)) if pairs else None


def steps_until_there(steps: Sequence[float], values: Sequence[float]) -> float:
    """Environment steps after which a curve first reaches :data:`SHARE` of its final value, the mean of its tail."""
    tail = max(1, round(TAIL * len(values)))
    final = float(np.mean(values[-tail:]))
    near = [value >= final - (1 - SHARE) * abs(final) for value in values]
    return float(steps[near.index(True)])


def training_preset(config: ConvergenceConfig) -> Preset:
    """All trainings, in the order of the table."""
    scale = SCALES[config.preset]
    entries = (entry_of(agent, _steps(config), long_settings(agent) | _smaller(agent, scale)) for agent in AGENTS)
    return Preset(
        f"convergence-{config.preset}", tuple(tasks_of(scale, scale.varied)), tuple(entries), SEEDS[config.preset]
    )


def _steps(config: ConvergenceConfig) -> int:
    """Environment steps of a training."""
    return TIMES_AS_LONG[config.preset] * SCALES[config.preset].steps


def _smaller(agent: str, scale: Scale) -> dict[str, Any]:
    """Settings of the preset, as far as the agent has them: an agent of one level has none of a high level."""
    from recsim_hrl_agents.registry import agent_config  # imported here: --help should not wait for torch

    known = dataclasses.asdict(agent_config(agent))
    return {name: value for name, value in scale.settings if name in known}


def follow(run: Run) -> bytes:
    """A job: train on the ``train`` simulator and keep the curve."""
    import torch
    from recsim_hrl_agents import train

    from benchmarks.training import agent_of, make_env

    torch.set_num_threads(1)  # other jobs work beside this one
    env = make_env(run, "train")
    started = time.process_time()
    try:
        every = max(1, run.entry.steps // RECORDS)
        records = train(agent_of(run, env), env, run.entry.steps, run.training_seed, record_every=every)
    finally:
        env.close()
    measures = {
        name: [(record["env_steps"], record[name]) for record in records if name in record] for name in MEASURES
    }
    curve = LearningCurve(run.task.name, run.entry.agent, run.seed, measures, time.process_time() - started)
    return json.dumps(dataclasses.asdict(curve)).encode()


def convergence(config: ConvergenceConfig) -> str:
    """Do what is missing and write the results of all that is finished; returns the table.

    Raises:
        RuntimeError: If trainings failed; the others are kept.
    """
    preset = training_preset(config)
    plan = make_plan(preset, config.out / preset.name, config.out / "logs")
    jobs = [Job(run.name, run_file(run, key), (run,), run.entry.steps) for run, key in plan.every]
    try:
        keep_jobs(jobs, plan.records, follow, Workers(config.workers, config.ray), _reward, "trainings")
    finally:
        paths = [plan.records / job.file for job in jobs]
        curves = [LearningCurve(**json.loads(path.read_text(encoding="utf-8"))) for path in paths if path.exists()]
        table = write_convergence(curves, config, plan.folder) if curves else ""
    return table


def _reward(content: bytes) -> str:
    rewards = json.loads(content)["measures"]["total_reward"]
    return f"total reward {rewards[-1][1]:.2f}" if rewards else "no session ended"


def write_convergence(curves: Sequence[LearningCurve], config: ConvergenceConfig, folder: Path) -> str:
    """Write the CSV file, the page and the figure; returns the table for a terminal."""
    header = ("task", "agent", "seed", "measure", "env_steps", "value")
    rows = [
        (one.task, one.agent, one.seed, measure, f"{steps:.0f}", f"{value:.6g}")
        for one in curves
        for measure in MEASURES
        for steps, value in one.measures[measure]
    ]
    write_csv(folder / "convergence.csv", header, rows)
    title, table = f"Environment steps until {SHARE:.0%} of the final value", _table(curves)
    told = (
        "While MaHRL, HRL-G (one goal to a period), two agents of ours whose low level starts from the goal, and DDPG+ "
        "(no high level) learn on the `train` simulator: reward of exploring sessions, and mean Q of the sampled steps "
        "and periods. The low "
        "level's Q counts internal rewards as well, so it compares within an agent only. The final value is the "
        f"mean of the last {TAIL:.0%} of a curve's points; a number stands for each seed. A training is of "
        f"{_steps(config):,} environment steps."
    )
    command = f"python -m benchmarks.convergence --preset {config.preset}"
    blocks = ["# How fast MaHRL learns", told, "![Learning curves](convergence.png)", section(title, table)]
    write_text(folder / "convergence.md", "\n\n".join([*blocks, f"Made by `{command}`."]) + "\n")

    from benchmarks.figures import draw_convergence  # imported here: the tables need no matplotlib

    draw_convergence(curves, MEASURES, folder / "convergence.png")
    return aligned(title, table)


def _table(curves: Sequence[LearningCurve]) -> Table:
    lines = [("task", "agent", *MEASURES.values(), "seconds of one core until the reward is there", "in all")]
    for task, agent in dict.fromkeys((one.task, one.agent) for one in curves):
        own = [one for one in curves if (one.task, one.agent) == (task, agent)]
        cells = [
            ", ".join(f"{steps_until_there(*pair):,.0f}" for one in own if (pair := one.of(measure)))
            for measure in MEASURES
        ]
        seconds = (_seconds_until_there(own), [one.cpu_seconds for one in own])
        lines.append((task, agent, *cells, *(", ".join(f"{one:,.0f}" for one in each) for each in seconds)))
    return lines


def _seconds_until_there(curves: Sequence[LearningCurve]) -> list[float]:
    """Processor time after which the total reward of each training is at :data:`SHARE` of its final value."""
    pairs = [(one, one.of("total_reward")) for one in curves]
    return [one.cpu_seconds * steps_until_there(*pair) / pair[0][-1] for one, pair in pairs if pair]


def main() -> int:
    """Command line; returns the exit status."""
    import tyro

    config = tyro.cli(ConvergenceConfig, prog="python -m benchmarks.convergence")

    def work() -> str:
        return f"{convergence(config)}\n\nWritten to {config.out / f'convergence-{config.preset}'}: convergence.md"

    return finish(work, "Finished trainings are")


if __name__ == "__main__":
    sys.exit(main())
