"""MovieLens-100k from the publisher's files to a benchmark table: ``python -m benchmarks.movielens SOURCE``.

Everything goes to OUT. A stage whose output is there is skipped, so the command may be stopped and repeated; to do a
stage again, delete its output. The licence of MovieLens forbids redistribution: logs and simulators stay in OUT, and
only reports, bounds and tables are copied to a folder that is committed.
"""

import dataclasses
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import tyro
from tqdm import tqdm
from tyro.conf import Positional

from benchmarks import bounds
from benchmarks.aggregate import About, write_results
from benchmarks.bounds import BoundsConfig
from benchmarks.bounds_table import bounds_path
from benchmarks.commands import finish
from benchmarks.jobs import Workers
from benchmarks.offline import rank_plan
from benchmarks.pools import check_workers
from benchmarks.records import finished_records
from benchmarks.run import Plan, make_plan
from benchmarks.tables import TablesConfig, make_tables
from benchmarks.tasks import MOVIELENS, Preset, make_preset
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources.movielens import read_movielens
from recsim_hrl.data.splits import SPLITS, split_by_time
from recsim_hrl.simulator.fit import FitConfig, fit_simulator
from recsim_hrl.simulator.store import load_simulator
from recsim_hrl.simulator.validity.evaluate import evaluate_simulator
from recsim_hrl.simulator.validity.report import write_validity

FIT = FitConfig(passes=40, patience=8, learning_rate=2e-3, batch=2000, held_out=0.1, kinds=12, hidden=48)
"""Of both simulators; chosen by the held-out loss within the train half (docs/datasets/movielens.md)."""

COMMAND = "python -m benchmarks.movielens SOURCE"
"""What a reader types to make everything again."""


@dataclass(frozen=True)
class PipelineConfig:
    """Turn MovieLens-100k into simulators, hold them against its other half, and benchmark agents on them.

    A stage whose output is in OUT is skipped. To do a stage again, delete its output.
    """

    source: Positional[Path]
    """The publisher's ml-100k.zip or its folder, a folder with RecBole's atomic files, or RecBole's wheel."""
    out: Path = MOVIELENS
    """Folder of everything that is made."""
    fit: FitConfig = field(default_factory=lambda: FIT)
    """How both simulators are fitted."""
    benchmark: bool = True
    """Benchmark the agents, which takes most of the time; without, the rest is done."""
    offline: bool = False
    """Rank the sessions of the test half with those agents too, which needs the extra "offline"."""
    publish: Path | None = None
    """Copy reports, bounds and tables there, for example to benchmarks/results."""
    workers: int = os.cpu_count() or 1
    """Jobs at a time, one core each, for the bounds and the benchmark."""
    ray: str | None = None
    """Do those on Ray: "local" starts it here; nodes of a cluster must see OUT in the same place."""

    def __post_init__(self) -> None:
        check_workers(self.workers)


@dataclass(frozen=True)
class Layout:
    """Where things are in OUT."""

    out: Path

    @property
    def log(self) -> Path:
        """All ratings."""
        return self.out / "movielens-100k"

    @property
    def logs(self) -> Path:
        """What :func:`benchmarks.tasks.training_log` looks into."""
        return self.out / "logs"

    @property
    def halves(self) -> Path:
        """The logs ``train`` and ``test``: sessions before the boundary, and the others."""
        return self.logs / self.simulators.name

    @property
    def simulators(self) -> Path:
        """The simulators ``train`` and ``test``."""
        return self.out / "simulators" / "movielens"

    @property
    def validity(self) -> Path:
        """The report of the train simulator on the test half."""
        return self.out / "validity"

    @property
    def bounds(self) -> Path:
        """The table of bounds; its text stands beside it."""
        return self.out / bounds_path("movielens").name

    @property
    def tables(self) -> Path:
        """Results of the benchmark."""
        return self.out / "benchmark"


def make_logs(source: Path, layout: Layout) -> None:
    """Write the log of ``source`` and its two halves."""
    if not layout.log.exists():
        print(read_movielens(source, layout.log).report())
    if not all((layout.halves / side).exists() for side in SPLITS):
        log = InteractionLog.open(layout.log)
        for half in split_by_time(log, layout.halves, boundary=log.metadata["boundary"]):
            print(half.report())


def fit_simulators(layout: Layout, config: FitConfig) -> None:
    """Fit one simulator to each half."""
    for side in SPLITS:
        if not (layout.simulators / side).exists():
            print(f"fitting the simulator {side}")
            log = InteractionLog.open(layout.halves / side)
            fit_simulator(log, layout.simulators / side, config, f"movielens-{side}", tqdm.write)


def judge_simulator(layout: Layout) -> None:
    """Hold the train simulator against the test half."""
    # The figure is written last.
    if not (layout.validity / "validity.png").exists():
        test = InteractionLog.open(layout.halves / "test")
        evaluation = evaluate_simulator(load_simulator(layout.simulators, "train"), test)
        write_validity(evaluation, layout.validity)
        for target in evaluation.targets:
            print(target)


def measure_bounds(layout: Layout, config: BoundsConfig) -> None:
    """Measure the bounds of both simulators; ``config`` says how thoroughly."""
    # The text is written last.
    if not layout.bounds.with_suffix(".md").exists():
        bounds.main(dataclasses.replace(config, simulator=str(layout.simulators), out=layout.bounds))


def plan_of(layout: Layout, preset: Preset) -> Plan:
    """The runs of ``preset`` on the simulators of ``layout``."""
    tasks = tuple(dataclasses.replace(task, simulator=str(layout.simulators)) for task in preset.tasks)
    return make_plan(dataclasses.replace(preset, tasks=tasks), layout.tables, layout.logs)


def run_benchmark(layout: Layout, preset: Preset, workers: int, ray: str | None = None) -> str:
    """Do what is missing of ``preset`` on the simulators of ``layout``; returns the tables.

    Raises:
        RuntimeError: If runs failed; the others are kept.
    """
    plan = plan_of(layout, preset)
    plan.sweep(workers, ray)
    # The market goes by its name: where it happens to lie is nothing that a reader of the results can use.
    about = About(preset.name, layout.simulators.name, COMMAND)
    write_results(finished_records(plan.every, plan.records), about, layout.tables)
    return make_tables(TablesConfig(layout.tables, layout.bounds))


def rank_sessions(layout: Layout, preset: Preset, where: Workers) -> str:
    """Rank the sessions of the test half with the agents of ``preset``; returns the tables.

    Raises:
        RuntimeError: If runs or rankings failed; the others are kept.
    """
    return rank_plan(plan_of(layout, preset), where, f"{COMMAND} --offline")


def publish(layout: Layout, results: Path) -> None:
    """Copy what may be published, as far as it is there, to ``results`` and its folder ``movielens``."""
    target = results / layout.simulators.name
    target.mkdir(parents=True, exist_ok=True)
    for folder in (layout.validity, layout.tables):
        for path in sorted(folder.glob("[!.]*")):
            if path.is_file():
                shutil.copy(path, target)
    for path in (layout.bounds, layout.bounds.with_suffix(".md")):
        if path.exists():
            shutil.copy(path, results)


def run(config: PipelineConfig) -> None:
    """Do all stages that are not done."""
    layout = Layout(config.out)
    stages: list[tuple[str, Callable[[], None]]] = [
        ("logs", lambda: make_logs(config.source, layout)),
        ("simulators", lambda: fit_simulators(layout, config.fit)),
        ("validity", lambda: judge_simulator(layout)),
        ("bounds", lambda: measure_bounds(layout, BoundsConfig(workers=config.workers, ray=config.ray))),
    ]
    if config.benchmark:
        preset = make_preset("movielens")
        stages.append(("benchmark", lambda: print(run_benchmark(layout, preset, config.workers, config.ray))))
    if config.offline:
        where = Workers(config.workers, config.ray)
        stages.append(("offline", lambda: print(rank_sessions(layout, make_preset("movielens"), where))))
    if config.publish:
        stages.append(("publish", lambda: publish(layout, config.publish)))
    for name, stage in stages:
        print(f"== {name}", flush=True)
        stage()


def main() -> int:
    """Command line; returns the exit status."""
    config = tyro.cli(PipelineConfig, prog="python -m benchmarks.movielens")
    return finish(lambda: run(config), "Finished stages are")


if __name__ == "__main__":
    sys.exit(main())
