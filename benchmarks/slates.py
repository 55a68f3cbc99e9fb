"""Benchmarks agents of slates on RecSlate, with bounds: ``python -m benchmarks.slates``.

Stop it whenever you like: the same command goes on from the runs and bounds that are finished.
"""

import sys
import time
from dataclasses import dataclass

from benchmarks.commands import finish
from benchmarks.jobs import Workers
from benchmarks.records import finished_records
from benchmarks.run import plan_of
from benchmarks.slate_bounds import PlannerSearch, measure_bounds
from benchmarks.slate_commands import SlateSweepConfig, on_simulator
from benchmarks.slate_results import write_slate_results
from benchmarks.slate_tables import SlateTablesConfig, make_slate_tables
from benchmarks.slate_tasks import slate_preset
from benchmarks.tasks import PresetName

QUICK_SEARCH = PlannerSearch(rounds=2, population=6, sessions=32)
"""Of the planner in the quick preset."""


@dataclass(frozen=True)
class SlatesConfig(SlateSweepConfig):
    """Benchmark agents that show slates, with users who leave as the log's did, and under the published rules.

    Prints reward, depth, coverage and diversity with 95% intervals, beside bounds, and leaves CSV files, a Markdown
    page and figures in OUT/slates-PRESET. Finished runs are kept: the same command goes on from there.
    """

    preset: PresetName = "quick"
    """quick: a look, under 2 minutes on 2 cores. full: every agent from five seeds. movielens: real ratings, on the
    simulators that benchmarks.movielens makes."""


def slates(config: SlatesConfig) -> str:
    """Do what is missing of a preset and write its results; returns the tables.

    Raises:
        ValueError: If the configuration names agents or tasks that the preset does not have.
        RuntimeError: If runs or bounds failed; the others are kept.
    """
    preset = on_simulator(slate_preset(config.preset), config.simulator)
    plan = plan_of(config, preset)
    tasks = [task for task in preset.tasks if any(run.task == task for run, _ in plan.wanted)]
    search = QUICK_SEARCH if config.preset == "quick" else None
    bounds = measure_bounds(tasks, plan.folder / "bounds", Workers(config.workers, config.ray), search=search)
    try:
        plan.sweep(config.workers, config.ray)
    finally:
        agents = finished_records(plan.every, plan.records)
        write_slate_results(agents, bounds, config.about("slates", preset), plan.folder)
    return make_slate_tables(SlateTablesConfig(plan.folder))


def main() -> int:
    """Command line; returns the exit status."""
    import tyro

    config = tyro.cli(SlatesConfig, prog="python -m benchmarks.slates")
    started = time.monotonic()

    def work() -> str:
        tables = slates(config)
        took = f"{time.monotonic() - started:.0f} s"
        return f"{tables}\n\nWritten to {config.out / f'slates-{config.preset}'} in {took}: slates.png, tables.md"

    return finish(work, "Finished runs and bounds are")


if __name__ == "__main__":
    sys.exit(main())
