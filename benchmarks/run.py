"""Benchmarks agents in short and in long sessions: ``python -m benchmarks.run``.

Prints a table with intervals and leaves CSV files, a Markdown page and figures in a folder. Stop it whenever you
like: the same command goes on from the runs that are finished.
"""

import functools
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.aggregate import About, write_results
from benchmarks.commands import finish
from benchmarks.pools import check_workers
from benchmarks.records import finished_records, run_key, simulator_fingerprint
from benchmarks.sweep import sweep
from benchmarks.tables import TablesConfig, make_tables
from benchmarks.tasks import Preset, PresetName, Run, make_preset, training_log


@dataclass(frozen=True)
class RunConfig:
    """Benchmark agents in short (50 items) and long (200 items) sessions.

    Prints reward per session with 95% intervals and leaves CSV files, a Markdown page and figures in OUT/PRESET.
    Finished runs are kept: stop it whenever you like, the same command goes on from there.
    """

    preset: PresetName = "quick"
    """quick: under 3 minutes on 2 cores. full: the committed results, under 2 hours. movielens: real ratings."""
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
    bounds: Path | None = None
    """CSV file of bounds for normalised scores; by default the committed one of the market."""

    def __post_init__(self) -> None:
        check_workers(self.workers)


def run(config: RunConfig) -> str:
    """Do what is missing of a preset and write its results; returns the tables.

    Raises:
        ValueError: If the configuration names agents or tasks that the preset does not have.
        RuntimeError: If runs failed; the others are kept.
    """
    # Imported here: --help should not wait for torch.
    from benchmarks.training import agent_config, execute

    preset = make_preset(config.preset)
    folder, simulator = config.out / preset.name, preset.tasks[0].simulator
    fingerprint = simulator_fingerprint(simulator)
    configs = {entry: agent_config(entry) for entry in preset.entries}
    every = [(one, run_key(one, fingerprint, configs[one.entry])) for one in preset.runs()]
    chosen = _chosen(config, preset)
    wanted = [(one, key) for one, key in every if one in chosen]
    logs = (config.out / "logs").resolve()  # a worker may stand elsewhere
    # Before the sweep, so that no two workers write the same log.
    for task in {one.task for one in chosen if one.entry.needs_log}:
        training_log(task, logs)
    records = folder / "runs"
    try:
        work = functools.partial(execute, logs=logs, unfinished=records.resolve())
        sweep(wanted, records, work, config.workers, ray=config.ray)
    finally:
        finished = finished_records(every, records)
        if finished:
            write_results(finished, About(preset.name, simulator, _command(preset)), folder)
    return make_tables(TablesConfig(folder, config.bounds))


def _chosen(config: RunConfig, preset: Preset) -> list[Run]:
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
