"""Tables and figures of slates: in the terminal, as Markdown, and as CSV; made from committed files alone.

``python -m benchmarks.slate_tables --results benchmarks/results/slates-full`` makes all of them again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.aggregate import About, write_csv, write_text
from benchmarks.slate_ceilings import temper_ceiling
from benchmarks.slate_paper import NOTE, paper_table
from benchmarks.slate_results import (
    AGENT,
    BOUND,
    CURVE_MEASURES,
    MEASURES,
    SlateCurve,
    SlateResults,
    SlateRow,
    read_slate_results,
    slate_differences,
    slate_rows,
)
from benchmarks.slate_settings import SLATE_ABLATED
from benchmarks.slate_tasks import MAX_REQUESTS, SLATE_SIZE
from benchmarks.statistics import Bootstrap
from benchmarks.tables import Table, aligned, count, csv_cells, interval_text, section, write_differences

HEADER = ("", "total reward", "clicks", "orders", "depth", "items seen", "coverage", "Gini", "diversity", "score")
PUBLISHED = "temper"
"""The task under the published rules."""
LEGEND = (
    "Brackets are 95% bootstrap intervals over training seeds and users; those of the other columns are in "
    "summary.csv. Depth: requests of a session. Coverage: share of the items on offer that somebody saw in all "
    "sessions of one seed. Gini: how unevenly they were seen, 0 if all alike. Diversity: 1 - mean cosine within a "
    "slate. Score: 0 is random, 1 the planner. Agents learn on the train simulator and are judged on the test "
    "simulator, bounds look inside the latter. Clicks and orders are those a session paid 1 and 5 for, in "
    f"`{PUBLISHED}` as well, where the total is the published reward of requests instead."
)


@dataclass(frozen=True)
class SlateTablesConfig:
    """Make the tables and figures of a results folder of slates again from its CSV files."""

    results: Path
    """Folder of one preset, for example benchmarks/results/slates-full."""
    resamples: int = 2000
    """Bootstrap replicates of each interval."""


def make_slate_tables(config: SlateTablesConfig) -> str:
    """Write summary.csv, differences.csv, tables.md and the figures; returns the text for a terminal."""
    results, how = read_slate_results(config.results), Bootstrap(resamples=config.resamples)
    rows = slate_rows(results, how)
    write_slate_rows(rows, config.results)
    write_differences(slate_differences(results, how), config.results)
    _draw(results, rows, config.results)
    tables = [slate_table(task, rows) for task in results.tasks]
    notes = [LEGEND]
    if PUBLISHED in results.tasks:
        tables.append(_papers(rows))
        notes.append(NOTE)
    write_page(tables, notes, results.about, config.results)
    return "\n\n".join([*(aligned(*table) for table in tables), *notes])


def write_page(tables: Sequence[tuple[str, Table]], notes: Sequence[str], about: About, folder: Path) -> None:
    """Write tables.md, a part of a page of the documentation, with the command that made it underneath."""
    blocks = [*(section(*table) for table in tables), *notes, f"Made by `{about.command}`."]
    write_text(folder / "tables.md", "\n\n".join(blocks) + "\n")


def write_slate_rows(rows: Sequence[SlateRow], folder: Path) -> None:
    """Write every number of ``rows`` as summary.csv."""
    ends = [f"{name}{end}" for name in (*MEASURES, "score") for end in ("", "_low", "_high")]
    lines = [
        (row.task, row.agent, row.kind, row.seeds, row.sessions)
        + tuple(cell for value in (*(row.values[name] for name in MEASURES), row.score) for cell in csv_cells(value))
        for row in rows
    ]
    write_csv(folder / "summary.csv", ("task", "agent", "kind", "seeds", "sessions", *ends), lines)


def slate_table(task: str, rows: Sequence[SlateRow]) -> tuple[str, Table]:
    """Title and table of one task: agents, bounds, and what nobody can exceed."""
    here = [row for row in rows if row.task == task]
    table: Table = [HEADER, *(_line(row) for row in here)]
    if task == PUBLISHED:
        reward, depth = temper_ceiling(SLATE_SIZE, MAX_REQUESTS)
        table.append(("ceiling of the rule", f"{reward:.2f}", "", "", f"{depth:.2f}", *[""] * 5))
    seeds = count(max(row.seeds for row in here), "training seed")
    return f"Task {task}: {seeds}, {here[0].sessions} common users", table


def _line(row: SlateRow) -> tuple[str, ...]:
    def mean(name: str, form: str = "{:.2f}") -> str:
        return form.format(row.values[name].estimate)

    return (
        row.agent if row.kind == AGENT else f"bound: {row.agent}",
        interval_text(row.values["total_reward"]),
        mean("click_reward"),
        mean("order_reward"),
        interval_text(row.values["depth"]),
        mean("length", "{:.1f}"),
        mean("coverage", "{:.0%}"),
        mean("gini"),
        mean("diversity"),
        interval_text(row.score),
    )


def _papers(rows: Sequence[SlateRow]) -> tuple[str, Table]:
    """Title and table of the papers' numbers beside ours."""
    ours = {
        row.agent: (interval_text(row.values["total_reward"]), interval_text(row.values["depth"]))
        for row in rows
        if row.task == PUBLISHED and row.kind == AGENT
    }
    return f"Task {PUBLISHED} beside what the papers of HAC and KuaiSim print", paper_table(ours)


def _draw(results: SlateResults, rows: Sequence[SlateRow], folder: Path) -> None:
    from benchmarks.figures import draw_convergence  # imported here: tables need no matplotlib
    from benchmarks.slate_figures import Panel, draw_panels

    def panel(task: str, measure: str, told: str) -> Panel:
        here = [row for row in rows if row.task == task]
        agents = {row.agent: row.values[measure] for row in here if row.kind == AGENT}
        lines = {row.agent: row.values[measure].estimate for row in here if row.kind == BOUND}
        return Panel(task, told, {"agents, 95% interval": agents}, lines)

    panels = [[panel(task, *measure) for measure in CURVE_MEASURES.items()] for task in results.tasks]
    draw_panels(panels, folder / "slates.png")
    for curves, name in zip(_apart(results.curves), ("learning_curves.png", "ablations.png"), strict=True):
        if curves:
            draw_convergence(curves, CURVE_MEASURES, folder / name)


def _apart(curves: Sequence[SlateCurve]) -> tuple[list[SlateCurve], list[SlateCurve]]:
    """Curves of agents, and of ablations beside what they are ablations of: all in one figure would be too many."""
    whole = [curve for curve in curves if curve.agent not in SLATE_ABLATED]
    ablations = [curve for curve in curves if curve.agent in SLATE_ABLATED]
    compared = {(curve.task, SLATE_ABLATED[curve.agent][0]) for curve in ablations}
    return whole, [curve for curve in whole if (curve.task, curve.agent) in compared] + ablations


def main() -> None:
    """Command line."""
    import tyro

    print(make_slate_tables(tyro.cli(SlateTablesConfig, prog="python -m benchmarks.slate_tables")))


if __name__ == "__main__":
    main()
