"""Benchmarks agents in short and in long sessions: ``python -m benchmarks.run``.

Prints a table with intervals and leaves CSV files, a Markdown page and figures in a folder. Stop it whenever you
like: the same command goes on from the runs that are finished.
"""

import os
import sys
import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks.aggregate import About, write_results
from benchmarks.commands import finish
from benchmarks.pools import check_workers
from benchmarks.records import finished_records, run_key, simulator_fingerprint
from benchmarks.sweep import sweep
from benchmarks.tables import TablesConfig, make_tables
from benchmarks.tasks import Preset, PresetName, Run, make_preset, training_log


@dataclass(frozen=True)
class SweepConfig:
    """What a command asks of a preset, and where it does it."""

    preset: PresetName = "quick"
    """quick: under 3 minutes on 2 cores. full: every agent from five seeds, about 2 hours. movielens: real ratings."""
    out: Path = Path("runs")
    """Folder for results; those of this preset go into a folder of its name."""
    workers: int = os.cpu_count() or 1
    """Runs at a time, one core each; a cluster that is there already decides for itself."""
    ray: str | None = None
    """Run on Ray: "local" starts it here, "auto" or "HOST:6379" joins a cluster. The results are the same."""
    agents: tuple[str, ...] = ()
    """Only these agents, for example --agents random ddpg; all of the preset by default."""
    tasks: tuple[str, ...] = ()
    """Only these tasks, for example --tasks short; all of the preset by default."""

    def __post_init__(self) -> None:
        check_workers(self.workers)


@dataclass(frozen=True)
class RunConfig(SweepConfig):
    """Benchmark agents in short (50 items) and long (200 items) sessions.

    Prints reward per session with 95% intervals and leaves CSV files, a Markdown page and figures in OUT/PRESET.
    Finished runs are kept: stop it whenever you like, the same command goes on from there.
    """

    bounds: Path | None = None
    """CSV file of bounds for normalised scores; by default the committed one of the market."""


@dataclass(frozen=True)
class Plan:
    """The runs of a preset with their keys, and where they leave what they make."""

    preset: Preset
    folder: Path
    """Of the results."""
    logs: Path
    """Of the logs, as :func:`benchmarks.tasks.training_log` takes it."""
    every: list[tuple[Run, str]]
    """All runs of the preset."""
    wanted: list[tuple[Run, str]]
    """Those to do."""

    @property
    def records(self) -> Path:
        """Where finished runs are kept."""
        return self.folder / "runs"

    @property
    def agents(self) -> Path:
        """Where trained agents are saved."""
        return self.folder.resolve() / "agents"

    def without(self, agents: Collection[str]) -> "Plan":
        """The same but for the runs of these agents."""
        every, wanted = (
            [(one, key) for one, key in runs if one.entry.agent not in agents] for runs in (self.every, self.wanted)
        )
        return replace(self, every=every, wanted=wanted)

    def sweep(self, workers: int, ray: str | None) -> None:
        """Do the wanted runs that are missing, and save their agents.

        Raises:
            RuntimeError: If runs failed; the others are kept.
        """
        from benchmarks.training import execute  # imported here: --help should not wait for torch

        # Before the sweep, so that no two workers write the same log.
        for task in {run.task for run, _ in self.wanted if run.entry.needs_log}:
            training_log(task, self.logs)
        self.agents.mkdir(parents=True, exist_ok=True)
        places = {"logs": self.logs, "agents": self.agents, "unfinished": self.records.resolve()}
        sweep(self.wanted, self.records, partial(execute, **places), workers, ray=ray)


def make_plan(preset: Preset, folder: Path, logs: Path, wanted: Collection[Run] | None = None) -> Plan:
    """The runs of a preset, all of whose tasks are of one market; ``wanted``, or all of them, are to be done."""
    from benchmarks.training import agent_config  # imported here: --help should not wait for torch

    fingerprint = simulator_fingerprint(preset.tasks[0].simulator, any(task.users_leave for task in preset.tasks))
    configs = {entry: agent_config(entry) for entry in preset.entries}
    every = [(one, run_key(one, fingerprint, configs[one.entry])) for one in preset.runs()]
    chosen = every if wanted is None else [pair for pair in every if pair[0] in wanted]
    return Plan(preset, folder, logs.resolve(), every, chosen)  # a worker may stand elsewhere


def plan_of(config: SweepConfig, preset: Preset | None = None) -> Plan:
    """What a command is to do of ``preset``, by default the one that the configuration names.

    Raises:
        ValueError: If the configuration names agents or tasks that the preset does not have.
    """
    preset = preset or make_preset(config.preset)
    return make_plan(preset, config.out / preset.name, config.out / "logs", _chosen(config, preset))


def run(config: RunConfig) -> str:
    """Do what is missing of a preset and write its results; returns the tables.

    Raises:
        ValueError: If the configuration names agents or tasks that the preset does not have.
        RuntimeError: If runs failed; the others are kept.
    """
    plan = plan_of(config)
    preset = plan.preset
    try:
        plan.sweep(config.workers, config.ray)
    finally:
        finished = finished_records(plan.every, plan.records)
        if finished:
            write_results(finished, About(preset.name, preset.tasks[0].simulator, _command(preset)), plan.folder)
    return make_tables(TablesConfig(plan.folder, config.bounds))


def _chosen(config: SweepConfig, preset: Preset) -> list[Run]:
    agents, tasks = {entry.agent for entry in preset.entries}, {task.name for task in preset.tasks}
    for name, asked, allowed in (("agents", config.agents, agents), ("tasks", config.tasks, tasks)):
        unknown = sorted(set(asked) - allowed)
        if unknown:
            raise ValueError(f"{name}: got {unknown}, allowed {sorted(allowed)} in the preset {preset.name!r}")
    return [
        one
        for one in preset.runs()
        if (not config.agents or one.entry.agent in config.agents)
        and (not config.tasks or one.task.name in config.tasks)
    ]


def _command(preset: Preset) -> str:
    """What a reader types to get the whole table; where this one happened to be written is no part of it."""
    return f"python -m benchmarks.run --preset {preset.name}"


def main() -> int:
    """Command line; returns the exit status."""
    import tyro

    config = tyro.cli(RunConfig, prog="python -m benchmarks.run")
    started = time.monotonic()

    def work() -> str:
        tables = run(config)
        took = f"{time.monotonic() - started:.0f} s"
        return f"{tables}\n\nWritten to {config.out / config.preset} in {took}: rewards.png, tables.md"

    return finish(work, "Finished runs are")


if __name__ == "__main__":
    sys.exit(main())
