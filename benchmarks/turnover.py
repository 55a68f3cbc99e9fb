"""What a catalogue that changes costs an agent: ``python -m benchmarks.turnover``.

Agents learn without turnover and are judged, as they then are, some sessions later, in a catalogue of which a share has
been replaced from each session to the next. What is on offer then was to a part, or all, not there when they learned.
All agents, seeds and bounds meet the same catalogue and the same users, so what they lose can be compared.

The other way, learning under turnover and being judged one session after the training's end, is no common measure:
every user has a calendar of its own, sessions are as many as an agent's users are quick to leave, so agents would be
judged on different catalogues; and a stock that is a ring comes round in a long training.

Stop it whenever you like: finished runs and judgements are kept.
"""

import dataclasses
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.aggregate import write_csv
from benchmarks.commands import finish
from benchmarks.exploitation import judge_again
from benchmarks.jobs import Job, Workers, job_key, keep_jobs
from benchmarks.records import RunRecord, agent_path, load_record, record_name, run_file
from benchmarks.run import Plan, plan_of
from benchmarks.slate_bounds import measure_bounds
from benchmarks.slate_commands import SlateSweepConfig, on_simulator
from benchmarks.slate_results import AGENT, BOUND, SlateResults, read_slate_results, slate_rows, write_slate_results
from benchmarks.slate_settings import SLATE_ABLATED
from benchmarks.slate_tables import write_page, write_slate_rows
from benchmarks.slate_tasks import SlateTask, slate_preset
from benchmarks.statistics import Bootstrap, Interval, crossed_bootstrap
from benchmarks.tables import Table, aligned, count, csv_cells, interval_text
from benchmarks.tasks import Preset, PresetName
from recsim_hrl.simulator.store import load_simulator

TURNOVERS = (0.0, 0.01, 0.05, 0.2)
"""Shares of the items on offer that are replaced from session to session."""
LATER = 5
"""Sessions from the end of the training to the judgement: of a fifth each, they replace all that is on offer."""
FORMS = ("hsrl-item-by-item", "hsrl-flat")
"""Ablations that enter: other ways to choose items, which may bear a changed catalogue worse or better."""
MOST_OFFERED = 1000
"""Items on offer at a time, where the catalogue has twice as many."""
_ORACLE = "reward_greedy"
_BOUNDS = ("random", "popularity", _ORACLE)
_LEGEND = (
    f"Agents learned without turnover and are judged, unchanged, {LATER} sessions later, in a catalogue of which the "
    "named share was replaced from each session to the next. Loss: how much less a session pays than without turnover, "
    "of the same agents and users; brackets are 95% bootstrap intervals over training seeds and users. Bounds know the "
    "new items, so what they lose or win says how good the catalogue of that day is; an agent loses what exceeds that."
)


@dataclass(frozen=True)
class TurnoverConfig(SlateSweepConfig):
    """Judge agents of slates in catalogues that have changed since they learned, and tell what each loses.

    Prints two tables and leaves CSV files, a page and a figure in OUT/turnover-PRESET.
    """

    preset: PresetName = "quick"
    """quick: a look, as short as the quick benchmark. full: as long as the full benchmark, three seeds. movielens: as
    that on real ratings."""


@dataclass(frozen=True)
class Loss:
    """What one agent, or bound, loses in one changed catalogue."""

    task: str
    agent: str
    kind: str
    absolute: Interval
    """Reward per session without turnover, less that with it."""
    relative: Interval | None
    """As a share of the former; absent where that is nothing."""


def turnover_preset(name: PresetName, simulator: str | None = None) -> Preset:
    """The benchmark of slates, with a stock of twice the items on offer, and of ablations :data:`FORMS` alone.

    Args:
        name: Of the preset.
        simulator: Name or folder of other simulators than the preset's.
    """
    base = on_simulator(slate_preset(name), simulator)
    offered = offered_of(len(load_simulator(base.tasks[0].simulator, "train").catalogue.embeddings))
    stocked = dataclasses.replace(base.tasks[0], name=task_name(0.0), candidates=offered, stock=2 * offered)
    entries = tuple(e for e in base.entries if e.agent not in SLATE_ABLATED or e.agent in FORMS)
    return dataclasses.replace(
        base, name=f"turnover-{name}", tasks=(stocked,), entries=entries, seeds=min(3, base.seeds)
    )


def offered_of(items: int) -> int:
    """Items on offer in a market of ``items``: 1,000, or half of them, in whole hundreds if there are as many."""
    half = min(MOST_OFFERED, items // 2)
    return half - half % 100 if half >= 100 else half


def task_name(turnover: float) -> str:
    """What tables call the task of judging with this share replaced."""
    return f"turnover {turnover:.0%}"


def judged_in(task: SlateTask) -> list[SlateTask]:
    """The ``task`` without turnover, and the same some sessions later with it."""
    changed = [
        dataclasses.replace(task, name=task_name(share), turnover=share, sessions_later=LATER)
        for share in TURNOVERS
        if share > 0
    ]
    return [task, *changed]


def turnover(config: TurnoverConfig) -> str:
    """Do what is missing and write the results of all that is finished; returns the tables.

    Raises:
        ValueError: If the configuration names agents that the preset does not have.
        RuntimeError: If runs, bounds or judgements failed; the others are kept.
    """
    preset, where = turnover_preset(config.preset, config.simulator), Workers(config.workers, config.ray)
    plan = plan_of(config, preset)
    tasks = judged_in(preset.tasks[0])
    bounds = measure_bounds(tasks, plan.folder / "bounds", where, _BOUNDS)
    plan.sweep(config.workers, config.ray)
    agents = judge_all(plan, tasks, where)
    write_slate_results(agents, bounds, config.about("turnover", preset), plan.folder)
    return make_turnover_tables(plan.folder)


def judge_all(plan: Plan, tasks: Sequence[SlateTask], where: Workers) -> list[RunRecord]:
    """Records of the finished runs of ``plan`` in each of the ``tasks``, of which the first is their own."""
    records, jobs = [], []
    for run, key in plan.wanted:
        record = load_record(plan.records / run_file(run, key))
        records.append(record)
        for task in tasks[1:]:
            judged = dataclasses.replace(run, task=task)
            name = job_key({"run": key, "task": dataclasses.asdict(task)})
            file = record_name(task.name, run.entry.agent, run.seed, name)
            arguments = (agent_path(run, key, plan.agents), judged, record, "test")
            jobs.append(Job(judged.name, file, arguments, task.session_length))
    folder = plan.folder / "judged"
    keep_jobs(jobs, folder, judge_again, where, noun="judgements")
    return records + [dataclasses.replace(load_record(folder / job.file), curve=(), depth_curve=()) for job in jobs]


def make_turnover_tables(folder: Path, how: Bootstrap | None = None) -> str:
    """Write summary.csv, turnover.csv, tables.md and turnover.png from the files in ``folder``; returns the tables."""
    how = how or Bootstrap()
    results = read_slate_results(folder)
    write_slate_rows(slate_rows(results, how), folder)
    found = losses(results, how)
    cells = [(loss.task, loss.agent, loss.kind, *csv_cells(loss.absolute), *csv_cells(loss.relative)) for loss in found]
    ends = [f"{name}{end}" for name in ("loss", "relative_loss") for end in ("", "_low", "_high")]
    write_csv(folder / "turnover.csv", ("task", "agent", "kind", *ends), cells)
    _draw(found, folder / "turnover.png")
    tables = [_table(results, found)]
    write_page(tables, [_LEGEND], results.about, folder)
    return "\n\n".join([*(aligned(*table) for table in tables), _LEGEND])


def losses(results: SlateResults, how: Bootstrap) -> list[Loss]:
    """What every agent and bound loses; a replicate draws seeds, and users, once for both catalogues."""
    found = {(result.task, result.agent, result.kind): result.total for result in results.results}
    rows = []
    for (task, agent, kind), later in found.items():
        before = found.get((task_name(0.0), agent, kind))
        if task == task_name(0.0) or before is None:
            continue
        absolute = crossed_bootstrap(before - later, "mean", how)
        # The level before is taken as known exactly, as anchors of normalised scores are.
        relative = absolute.scaled(0.0, before.mean()) if before.mean() > 0 else None
        rows.append(Loss(task, agent, kind, absolute, relative))
    return rows


def _table(results: SlateResults, found: Sequence[Loss]) -> tuple[str, Table]:
    first, *later = results.tasks
    rows = [result for result in results.results if result.task == first]
    table: Table = [("", "no turnover", *(f"loss at {task.split()[-1]}" for task in later))]
    relative = {(loss.task, loss.agent, loss.kind): loss.relative for loss in found}
    for result in sorted(rows, key=lambda result: (result.kind, result.total.mean())):
        name = result.agent if result.kind == AGENT else f"bound: {result.agent}"
        cells = (interval_text(relative.get((task, result.agent, result.kind)), "{:+.1%}") for task in later)
        table.append((name, f"{result.total.mean():.2f}", *cells))
    seeds = count(max(len(row.total) for row in rows), "training seed")
    return f"Reward per session and what of it is lost: {seeds}, {rows[0].total.shape[1]} common users", table


def _draw(found: Sequence[Loss], path: Path) -> None:
    from benchmarks.slate_figures import Panel, draw_panels  # imported here: tables need no matplotlib

    def panel(task: str) -> Panel:
        here = {(loss.kind, loss.agent): loss.relative for loss in found if loss.task == task and loss.relative}
        agents = {agent: loss for (kind, agent), loss in here.items() if kind == AGENT}
        lines = {"no loss": 0.0}
        lines |= {agent: loss.estimate for (kind, agent), loss in here.items() if kind == BOUND and agent == _ORACLE}
        return Panel(task, "share of the reward that is lost", {"agents, 95% interval": agents}, lines)

    panels = [panel(task) for task in dict.fromkeys(loss.task for loss in found)]
    if panels and any(panels[0].series.values()):
        draw_panels([panels], path)


def main() -> int:
    """Command line; returns the exit status."""
    import tyro

    config = tyro.cli(TurnoverConfig, prog="python -m benchmarks.turnover")

    def work() -> str:
        return f"{turnover(config)}\n\nWritten to {config.out / f'turnover-{config.preset}'}: turnover.png, tables.md"

    return finish(work, "Finished runs, bounds and judgements are")


if __name__ == "__main__":
    sys.exit(main())
