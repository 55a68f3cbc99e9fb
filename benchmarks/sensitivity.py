"""What MaHRL's settings do, as in its Figures 8 and 9 and beyond: ``python -m benchmarks.sensitivity``.

A study varies one setting and leaves the others: alpha and M as in the paper, c, beta, the temperature and N (the
length of the histories), and ``choices``, where what differs from the paper is taken back, one by one and all at once:
MaHRL as written. Every variant is trained and judged like an agent of the benchmark. Stop it whenever you like:
finished runs are kept.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.aggregate import write_csv, write_text
from benchmarks.commands import finish
from benchmarks.records import RunRecord, finished_records
from benchmarks.run import Plan, make_plan
from benchmarks.settings import long_settings
from benchmarks.statistics import Interval, crossed_bootstrap
from benchmarks.tables import Table, aligned, count, interval_text, section
from benchmarks.tasks import Entry, Preset, Run, Task, make_preset

Number = int | float

HISTORY_LENGTH = "N"
"""The study of the one setting that is the environment's and not the agent's."""
CHOICES = "choices"
"""The study of everything that differs from the paper, whose values have no order."""

STUDIES: dict[str, tuple[Number, ...]] = {
    "alpha": (0.1, 0.3, 0.5, 0.7, 0.9),
    "M": (1, 2, 3, 4),
    "c": (10, 20, 30, 40),
    "beta": (0.0, 0.5, 1.0),
    "temperature": (0.0, 0.15, 0.3, 1.0),
    HISTORY_LENGTH: (5, 10, 20),
}
"""Values of each setting; alpha and M are those of Figures 8 and 9."""

AGENT = "mahrl-items"
BASE = long_settings(AGENT)
"""What every variant starts from."""

PERIOD = 24
"""c of the study of M: a multiple of all its values."""

_BY_ACTOR = {"search": 0, "temperature": 0.0}
_WRITTEN = _BY_ACTOR | {"high_histories": ("clicked", "ordered"), "products": False, "knows_internal": False}
_WRITTEN |= {"from_goal": False, "guide": "reward", "high_epsilon": 0.2, "noise": 1.0, "final_noise": 1.0}
CHOSEN: dict[str, dict[str, Any]] = {
    "as tuned": {},
    "high level does not see what was browsed": {"high_histories": ("clicked", "ordered")},
    "high critics add state and goal": {"products": False},
    "always the best goal": {"temperature": 0.0},
    "goals by the actor": _BY_ACTOR,
    "low critic learns the internal reward too": {"knows_internal": False},
    "low level does not start from its goal": {"from_goal": False},
    "critics learn from the items shown under a goal": {"realised": True},
    "all of these as written": _WRITTEN | {"realised": False},
    "as written, with the paper's alpha, beta, n-step and ReLU": _WRITTEN
    | {"realised": False, "alpha": 0.5, "beta": 1.0, "n_step": 1, "gamma": 0.95, "relu_output": True},
}
"""What of :data:`BASE` is taken back, by what a row of the table says."""


@dataclass(frozen=True)
class SensitivityConfig:
    """Train MaHRL under one setting after the other and show what it earns in long sessions, as in Figures 8 and
    9; the study of choices, what differs from the paper, is of short sessions, too.

    Prints a table for each study and leaves sensitivity.csv, sensitivity.md and sensitivity.png in
    OUT/sensitivity-PRESET.
    """

    preset: Literal["quick", "full"] = "quick"
    """quick: two minutes on 2 cores, tells nothing. full: as long as in the full benchmark, two seeds."""
    studies: tuple[str, ...] = (*STUDIES, CHOICES)
    """What is varied."""
    out: Path = Path("runs")
    """Folder for results."""
    workers: int = os.cpu_count() or 1
    """Runs at a time, one core each."""
    ray: str | None = None
    """Run on Ray: "local" starts it here, "auto" or "HOST:6379" joins a cluster."""

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.studies) - {*STUDIES, CHOICES}):
            raise ValueError(f"studies: got {unknown}, allowed {[*STUDIES, CHOICES]}; correct the name")


@dataclass(frozen=True)
class Scale:
    """How large a preset is."""

    steps: int
    seeds: int
    sessions: int
    parallel: int
    tasks: tuple[str, ...]
    """Of the study of choices."""
    varied: tuple[str, ...]
    """Tasks of the studies of one setting, as Figures 8 and 9 are of long sessions; and of convergence."""
    settings: tuple[tuple[str, Any], ...] = ()
    """Over those of every variant."""


_SMALL = (("warmup_steps", 500), ("steps_per_update", 64), ("high_buffer_size", 1000), ("batch_size", 32))
SCALES = {
    "quick": Scale(2_000, 1, 20, 32, ("short",), ("short",), _SMALL),
    "full": Scale(512_000, 2, 400, 512, ("short", "long"), ("long",)),
}


@dataclass(frozen=True)
class Variant:
    """One row of a table: a setting of a study in a task, and its runs from all seeds."""

    study: str
    value: str
    runs: tuple[Run, ...]


def variants(config: SensitivityConfig) -> list[Variant]:
    """All that is trained, in the order of the tables."""
    scale = SCALES[config.preset]
    return [
        Variant(study, value, tuple(Run(_task_of(task, study, value), entry, seed) for seed in range(scale.seeds)))
        for study in config.studies
        for task in tasks_of(scale, scale.tasks if study == CHOICES else scale.varied)
        for value, entry in _entries(study, scale)
    ]


def tasks_of(scale: Scale, names: Sequence[str]) -> list[Task]:
    """The benchmark's tasks of these names, as large as the preset wants them."""
    size = {"sessions": scale.sessions, "parallel": scale.parallel}
    return [replace(task, **size) for task in make_preset("full").tasks if task.name in names]


def _entries(study: str, scale: Scale) -> list[tuple[str, Entry]]:
    """(value, entry) pairs of a study."""
    if study == CHOICES:
        named = list(CHOSEN.items())
    elif study == HISTORY_LENGTH:
        named = [(str(length), {}) for length in STUDIES[study]]
    else:
        # A period is shared out evenly, so those of the studies of M and c suit all that they meet.
        period = {"c": PERIOD} if study == "M" else {}
        named = [(str(value), period | {study: value}) for value in STUDIES[study]]
    settings = [(value, BASE | own | dict(scale.settings)) for value, own in named]
    return [(value, Entry(AGENT, scale.steps, tuple(sorted(own.items())))) for value, own in settings]


def _task_of(task: Task, study: str, value: str) -> Task:
    """The task itself, or with histories of another length."""
    if study != HISTORY_LENGTH or int(value) == task.history:
        return task
    return replace(task, name=f"{task.name}-n{value}", history=int(value))


def plan_of(config: SensitivityConfig, wanted: Sequence[Variant]) -> Plan:
    """Every run once: studies meet where they leave everything as it is."""
    runs = dict.fromkeys(run for variant in wanted for run in variant.runs)
    tasks = tuple(dict.fromkeys(run.task for run in runs))
    entries = tuple(dict.fromkeys(run.entry for run in runs))
    preset = Preset(f"sensitivity-{config.preset}", tasks, entries, SCALES[config.preset].seeds)
    return make_plan(preset, config.out / preset.name, config.out / "logs", set(runs))


def sensitivity(config: SensitivityConfig) -> str:
    """Do what is missing and write the results of all that is finished; returns the tables.

    Raises:
        RuntimeError: If runs failed; the others are kept.
    """
    wanted = variants(config)
    plan = plan_of(config, wanted)
    try:
        plan.sweep(config.workers, config.ray)
    finally:
        keys = dict(plan.wanted)
        rows = [
            measured(variant, records)
            for variant in wanted
            if (records := finished_records([(run, keys[run]) for run in variant.runs], plan.records))
        ]
        tables = write_sensitivity(rows, config, plan.folder) if rows else ""
    return tables


@dataclass(frozen=True)
class Row:
    """What a variant earned per session."""

    study: str
    task: str
    value: str
    seeds: int
    total: Interval
    click: float
    order: float


def measured(variant: Variant, records: Sequence[RunRecord]) -> Row:
    """The row of a variant, from the seeds that are finished."""
    click = np.array([record.click_rewards for record in records])  # (S, U)
    order = np.array([record.order_rewards for record in records])  # (S, U)
    task = variant.runs[0].task.name.partition("-")[0]
    total = crossed_bootstrap(click + order)
    return Row(variant.study, task, variant.value, len(records), total, click.mean(), order.mean())


def write_sensitivity(rows: Sequence[Row], config: SensitivityConfig, folder: Path) -> str:
    """Write the CSV file, the page and the figure; returns the tables for a terminal."""
    header = ("study", "task", "value", "seeds", "total", "total_low", "total_high", "click", "order")
    cells = [
        (row.study, row.task, row.value, row.seeds)
        + tuple(f"{value:.6g}" for value in (row.total.estimate, row.total.low, row.total.high, row.click, row.order))
        for row in rows
    ]
    write_csv(folder / "sensitivity.csv", header, cells)
    groups = dict.fromkeys((row.study, row.task) for row in rows)
    tables = [
        (f"{study}, {task} sessions", _table([row for row in rows if (row.study, row.task) == (study, task)]))
        for study, task in groups
    ]
    scale = SCALES[config.preset]
    told = (
        f"Reward per session of MaHRL on users and a simulator that it was not trained on, with 95% intervals over "
        f"{count(scale.seeds, 'seed')} and {scale.sessions} common users; {scale.steps:,} environment steps each. All "
        "settings but the one that is named are those of `benchmarks/settings.py`."
    )
    command = f"python -m benchmarks.sensitivity --preset {config.preset}"
    if config.studies != SensitivityConfig.studies:
        command += f" --studies {' '.join(config.studies)}"
    drawn = [row for row in rows if row.study != CHOICES]
    blocks = ["# What MaHRL's settings do", told, *(["![Rewards by setting](sensitivity.png)"] if drawn else [])]
    wanted = len(variants(config))
    if missing := wanted - len(rows):
        blocks.append(f"Not finished: {count(missing, 'row')} of {wanted} are missing.")
    blocks += [section(title, table) for title, table in tables]
    write_text(folder / "sensitivity.md", "\n\n".join([*blocks, f"Made by `{command}`."]) + "\n")

    if drawn:
        from benchmarks.figures import draw_sensitivity  # imported here: the tables need no matplotlib

        draw_sensitivity(drawn, folder / "sensitivity.png")
    return "\n\n".join(aligned(title, table) for title, table in tables)


def _table(rows: Sequence[Row]) -> Table:
    lines = [("value", "seeds", "total", "click", "order")]
    for row in rows:
        parts = f"{row.click:.2f}", f"{row.order:.2f}"
        lines.append((row.value, str(row.seeds), interval_text(row.total), *parts))
    return lines


def main() -> int:
    """Command line; returns the exit status."""
    import tyro

    config = tyro.cli(SensitivityConfig, prog="python -m benchmarks.sensitivity")

    def work() -> str:
        return f"{sensitivity(config)}\n\nWritten to {config.out / f'sensitivity-{config.preset}'}: sensitivity.md"

    return finish(work, "Finished runs are")


if __name__ == "__main__":
    sys.exit(main())
