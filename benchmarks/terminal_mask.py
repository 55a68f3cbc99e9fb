"""What the inverted terminal mask costs: ``python -m benchmarks.terminal_mask``.

The code of HAC, HSRL and KuaiSim multiplies the next state's value by ``done`` where it should have been ``1 - done``.
Agents with the setting ``inverted_mask`` learn both ways, from the same seeds, and are judged on the same sessions;
nothing else differs. Stop it whenever you like: finished runs are kept.
"""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from recsim_hrl_agents.registry import agent_class

from benchmarks.aggregate import write_csv
from benchmarks.commands import finish
from benchmarks.jobs import Workers
from benchmarks.records import finished_records
from benchmarks.run import plan_of
from benchmarks.slate_bounds import measure_bounds
from benchmarks.slate_commands import SlateSweepConfig, on_simulator
from benchmarks.slate_results import (
    BOUND,
    CURVE_MEASURES,
    SlateResults,
    read_slate_results,
    write_slate_results,
)
from benchmarks.slate_settings import SLATE_ABLATED
from benchmarks.slate_tables import write_page
from benchmarks.slate_tasks import STEPS, slate_entry, slate_learners, slate_preset
from benchmarks.statistics import Bootstrap, Interval, crossed_bootstrap, paired_difference
from benchmarks.tables import Table, aligned, count, csv_cells, interval_text
from benchmarks.tasks import Preset, PresetName, Run

SETTING = "inverted_mask"
RIGHT, INVERTED = "right", "inverted"
_INVERTED_NAME = f" ({INVERTED})"
"""Behind the name of an agent that learned with the mistake."""
_COLUMNS = (RIGHT, INVERTED, "difference")
_ANCHORS = ("random", "reward_greedy")
"""Bounds that stand in the tables."""
_LEGEND = (
    "The same agents, from the same seeds, on the same environment, judged on the same sessions: with the right mask, "
    "`reward + gamma (1 - terminated) value`, and with the published one, `reward + gamma terminated value`. "
    "Differences are right less inverted, on the same users; brackets are 95% bootstrap intervals over training seeds "
    "and users, and one that leaves out 0 is a difference. Settings are those tuned with the right mask."
)


@dataclass(frozen=True)
class MaskConfig(SlateSweepConfig):
    """Train agents of slates with the right and with the inverted terminal mask, and tell the difference.

    Prints a table for each task and leaves CSV files, a page and a figure in OUT/terminal-mask-PRESET.
    """

    preset: PresetName = "quick"
    """quick: a look, as short as the quick benchmark. full: as long as the full benchmark, from five seeds.
    movielens: as that on real ratings."""


@dataclass(frozen=True)
class MaskRow:
    """One agent in one task: a measure with the right mask, with the inverted one, and their difference."""

    task: str
    agent: str
    measure: str
    right: Interval
    inverted: Interval
    difference: Interval


def mask_preset(name: PresetName) -> Preset:
    """The tasks of the benchmark of slates, with every agent but ablations that knows the mistake, both ways."""
    base = slate_preset(name)
    agents = [agent for agent in slate_learners() if agent not in SLATE_ABLATED and _knows(agent)]
    steps = STEPS[name]
    entries = [slate_entry(agent, steps, **settings) for agent in agents for settings in ({}, {SETTING: True})]
    return dataclasses.replace(base, name=f"terminal-mask-{name}", entries=tuple(entries))


def _knows(agent: str) -> bool:
    return SETTING in (field.name for field in dataclasses.fields(agent_class(agent).config_class))


def terminal_mask(config: MaskConfig) -> str:
    """Do what is missing and write the results of all that is finished; returns the tables.

    Raises:
        ValueError: If the configuration names agents or tasks that the preset does not have.
        RuntimeError: If runs failed; the others are kept.
    """
    preset = on_simulator(mask_preset(config.preset), config.simulator)
    plan = plan_of(config, preset)
    where = Workers(config.workers, config.ray)
    tasks = list(dict.fromkeys(run.task for run, _ in plan.wanted))
    bounds = measure_bounds(tasks, plan.folder / "bounds", where, _ANCHORS)
    try:
        plan.sweep(config.workers, config.ray)
    finally:
        agents = finished_records([pair for pair in plan.every if not _is_inverted(pair[0])], plan.records)
        others = finished_records([pair for pair in plan.every if _is_inverted(pair[0])], plan.records)
        agents += [dataclasses.replace(record, agent=record.agent + _INVERTED_NAME) for record in others]
        write_slate_results(agents, bounds, config.about("terminal_mask", preset), plan.folder)
    return make_mask_tables(plan.folder)


def _is_inverted(run: Run) -> bool:
    return dict(run.entry.settings).get(SETTING, False)


def make_mask_tables(folder: Path, how: Bootstrap | None = None) -> str:
    """Write mask.csv, tables.md and mask.png from the CSV files in ``folder``; returns the text for a terminal."""
    results = read_slate_results(folder)
    rows = mask_rows(results, how or Bootstrap())
    cells = [
        (row.task, row.agent, row.measure)
        + tuple(cell for value in (row.right, row.inverted, row.difference) for cell in csv_cells(value))
        for row in rows
    ]
    ends = [f"{name}{end}" for name in _COLUMNS for end in ("", "_low", "_high")]
    write_csv(folder / "mask.csv", ("task", "agent", "measure", *ends), cells)
    _draw(results, rows, folder / "mask.png")
    tables = [_table(task, results, rows) for task in results.tasks]
    write_page(tables, [_LEGEND], results.about, folder)
    return "\n\n".join([*(aligned(*table) for table in tables), _LEGEND])


def mask_rows(results: SlateResults, how: Bootstrap) -> list[MaskRow]:
    """Every agent that learned both ways, in every task, in each of :data:`CURVE_MEASURES`."""
    found = {(result.task, result.agent): result.values for result in results.results}
    rows = []
    for (task, agent), right in found.items():
        inverted = found.get((task, agent + _INVERTED_NAME))
        for measure in CURVE_MEASURES if inverted else ():
            pair = (right[measure], inverted[measure])  # (S, U) each
            own = (crossed_bootstrap(values, "mean", how) for values in pair)
            rows.append(MaskRow(task, agent, measure, *own, paired_difference(*pair, how)))
    return rows


def _table(task: str, results: SlateResults, rows: Sequence[MaskRow]) -> tuple[str, Table]:
    here = [row for row in rows if row.task == task]
    table: Table = [("", *(f"{part}: {name}" for part in ("reward", "depth") for name in _COLUMNS))]
    for agent in dict.fromkeys(row.agent for row in here):
        values = {row.measure: (row.right, row.inverted, row.difference) for row in here if row.agent == agent}
        cells = (
            interval_text(value, form)
            for measure in CURVE_MEASURES
            for value, form in zip(values[measure], ("{:.2f}", "{:.2f}", "{:+.2f}"), strict=True)
        )
        table.append((agent, *cells))
    for name, anchor in _anchors(task, results).items():
        means = (f"{anchor[measure].mean():.2f}" for measure in CURVE_MEASURES)
        table.append((f"bound: {name}", *(cell for mean in means for cell in (mean, "", ""))))
    runs = next(result for result in results.results if result.task == task)
    return f"Task {task}: {count(len(runs.total), 'training seed')}, {runs.total.shape[1]} common users", table


def _anchors(task: str, results: SlateResults) -> dict[str, dict[str, np.ndarray]]:
    return {one.agent: one.values for one in results.results if one.task == task and one.kind == BOUND}


def _draw(results: SlateResults, rows: Sequence[MaskRow], path: Path) -> None:
    from benchmarks.slate_figures import Panel, draw_panels  # imported here: tables need no matplotlib

    def panel(task: str, measure: str, told: str) -> Panel:
        here = [row for row in rows if (row.task, row.measure) == (task, measure)]
        series = {name: {row.agent: getattr(row, name) for row in here} for name in (RIGHT, INVERTED)}
        lines = {name: anchor[measure].mean() for name, anchor in _anchors(task, results).items()}
        return Panel(task, told, series, lines)

    if rows:
        draw_panels([[panel(task, *measure) for measure in CURVE_MEASURES.items()] for task in results.tasks], path)


def main() -> int:
    """Command line; returns the exit status."""
    import tyro

    config = tyro.cli(MaskConfig, prog="python -m benchmarks.terminal_mask")

    def work() -> str:
        return f"{terminal_mask(config)}\n\nWritten to {config.out / f'terminal-mask-{config.preset}'}: tables.md"

    return finish(work, "Finished runs and bounds are")


if __name__ == "__main__":
    sys.exit(main())
