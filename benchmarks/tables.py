"""Tables of a benchmark: in the terminal, as Markdown, and as CSV; made from committed files alone.

``python -m benchmarks.tables --results benchmarks/results/quick`` makes all of them, and the figures, again.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.aggregate import Difference, Summary, SummaryRow, read_results, summarise, write_csv, write_text
from benchmarks.bounds_table import bounds_path, read_bounds
from benchmarks.figures import draw_curves, draw_rewards
from benchmarks.paper import REFERENCE, online_gain
from benchmarks.statistics import Bootstrap, Interval

_INTERVALS = ("total_reward", "total_reward_iqm", "click_reward", "order_reward", "normalised_score")
_HEADER = ("", "total reward", "click reward", "order reward", "normalised score")

Table = list[tuple[str, ...]]
"""Rows of cells, the first of them the header."""


@dataclass(frozen=True)
class TablesConfig:
    """Make the tables and figures of a results folder again from its CSV files."""

    results: Path
    """Folder of one preset, for example benchmarks/results/quick."""
    bounds: Path | None = None
    """CSV file of bounds; by default the committed one of the folder's market."""
    resamples: int = 2000
    """Bootstrap replicates of each interval."""


def make_tables(config: TablesConfig) -> str:
    """Write the CSV files of a summary, tables.md and the figures; returns the text for a terminal."""
    results = read_results(config.results)
    bounds = read_bounds(config.bounds or bounds_path(results.about.simulator))
    summary = summarise(results, bounds, Bootstrap(resamples=config.resamples))
    write_summary(summary, config.results)
    draw_rewards(summary, config.results / "rewards.png")
    if results.curves:
        draw_curves(results.curves, config.results / "learning_curves.png")
    write_text(config.results / "tables.md", markdown(summary, bool(results.curves)))
    return terminal(summary)


def write_summary(summary: Summary, folder: Path) -> None:
    """Write the numbers of ``summary`` as summary.csv, differences.csv, gains.csv and overall.csv."""
    ends = [f"{name}{end}" for name in _INTERVALS for end in ("", "_low", "_high")]
    rows = [
        (row.task, row.agent, row.kind, row.seeds, row.sessions)
        + tuple(
            cell for value in (row.total, row.total_iqm, row.click, row.order, row.score) for cell in csv_cells(value)
        )
        for row in summary.rows
    ]
    write_csv(folder / "summary.csv", ("task", "agent", "kind", "seeds", "sessions", *ends), rows)
    write_differences(summary.differences, folder)
    gains = [(row.task, row.agent, *csv_cells(row.total), *csv_cells(row.order)) for row in summary.gains]
    header = ("task", "agent", *(f"{part}_gain{end}" for part in ("total", "order") for end in ("", "_low", "_high")))
    write_csv(folder / "gains.csv", header, gains)
    overall = [(row.agent, row.tasks, *csv_cells(row.mean), *csv_cells(row.iqm)) for row in summary.overall]
    header = ("agent", "tasks", *(f"{name}{end}" for name in ("mean", "iqm") for end in ("", "_low", "_high")))
    write_csv(folder / "overall.csv", header, overall)


def write_differences(differences: Sequence[Difference], folder: Path) -> None:
    """Write differences.csv."""
    rows = [(row.task, row.agent, row.reference, *csv_cells(row.total)) for row in differences]
    header = ("task", "agent", "reference", "difference", "difference_low", "difference_high")
    write_csv(folder / "differences.csv", header, rows)


def terminal(summary: Summary) -> str:
    """The tables as aligned text."""
    return "\n\n".join([*(aligned(title, table) for title, table in _tables(summary)), _legend(summary)])


def aligned(title: str, table: Table) -> str:
    """A table for a terminal."""
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
    lines.insert(1, "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join([title, "", *(line.rstrip() for line in lines)])


def section(title: str, table: Table) -> str:
    """A table as a section of a Markdown page."""
    return f"## {title}\n\n{grid(table)}"


def grid(table: Table) -> str:
    """A table in Markdown."""
    head, *body = (f"| {' | '.join(row)} |" for row in table)
    return "\n".join([head, "|---" * len(table[0]) + "|", *body])


def markdown(summary: Summary, has_curves: bool) -> str:
    """The tables and figures as one Markdown page, with the command that made them underneath."""
    blocks = [f"# Benchmark results: {summary.about.preset}", "![Rewards of all agents](rewards.png)"]
    blocks += [section(title, table) for title, table in _tables(summary)]
    if has_curves:
        blocks.append("## Learning\n\n![Session reward at each checkpoint](learning_curves.png)")
    blocks += [_legend(summary), f"Made by:\n\n```\n{summary.about.command}\n```"]
    return "\n\n".join(blocks) + "\n"


def _tables(summary: Summary) -> list[tuple[str, Table]]:
    """(title, table) pairs: one for each task, the scores over all tasks, the gains over DEERS."""
    tables = []
    for task in summary.tasks:
        rows = [row for row in summary.rows if row.task == task]
        agents = sorted((row for row in rows if row.kind == "agent"), key=lambda row: row.total.estimate)
        bounds = sorted((row for row in rows if row.kind == "bound"), key=lambda row: row.total.estimate)
        body = [_line(row, row.agent) for row in agents] + [_line(row, f"bound: {row.agent}") for row in bounds]
        seeds, sessions = max(row.seeds for row in agents), agents[0].sessions
        title = f"Task {task}: reward per session, {count(seeds, 'training seed')}, {sessions} common users"
        tables.append((title, [_HEADER, *body]))
    if summary.overall:
        body = [(row.agent, interval_text(row.mean), interval_text(row.iqm)) for row in summary.overall]
        title = f"Normalised score over {count(summary.overall[0].tasks, 'task')}"
        tables.append((title, [("", "mean", "interquartile mean"), *body]))
    if summary.gains:
        tables.append((f"Gain over {REFERENCE}, on the same users", _gain_table(summary)))
    return tables


def _gain_table(summary: Summary) -> Table:
    """Gains in total and order reward, each with the paper's beside it."""
    gains = {(gain.agent, gain.task): gain for gain in summary.gains}
    head = [cell for task in summary.tasks for part in ("total", "order") for cell in (f"{task}, {part}", "paper")]
    body = []
    for agent in dict.fromkeys(agent for agent, _ in gains):
        cells = []
        for task in summary.tasks:
            own = gains.get((agent, task))
            for part in ("total", "order"):
                cells += [interval_text(own and getattr(own, part), "{:+.0%}"), online_gain(agent, task, part)]
        body.append((agent, *cells))
    return [("", *head), *body]


def _line(row: SummaryRow, name: str) -> tuple[str, ...]:
    return (name, *(interval_text(value) for value in (row.total, row.click, row.order, row.score)))


def _legend(summary: Summary) -> str:
    text = (
        "Brackets are 95% bootstrap intervals over training seeds and users. A click pays 1, an order 5. "
        "Agents learn on the train simulator and are judged on the test simulator."
    )
    if summary.gains:
        text += (
            f" Gains are shares of what {REFERENCE} earns; the paper's are those that section 4.2.3 of MaHRL gives as "
            "numbers, of another market."
        )
    if any(row.kind == "bound" for row in summary.rows):
        return text + " Bounds are policies that look inside the test simulator; score 0 is random, 1 the planner."
    return text + " Without a file of bounds there are no normalised scores: `python -m benchmarks.bounds` makes it."


def interval_text(value: Interval | None, form: str = "{:.2f}") -> str:
    """An estimate and its interval, as far as they are known."""
    if value is None:
        return ""
    estimate, low, high = (form.format(number) for number in (value.estimate, value.low, value.high))
    return estimate if value.low != value.low else f"{estimate} [{low}, {high}]"


def count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def csv_cells(value: Interval | None) -> Sequence[str]:
    """Estimate, low and high as CSV cells, empty where unknown."""
    numbers = (value.estimate, value.low, value.high) if value else (float("nan"),) * 3
    return ["" if number != number else f"{number:.6g}" for number in numbers]


def main() -> None:
    """Command line."""
    import tyro

    print(make_tables(tyro.cli(TablesConfig, prog="python -m benchmarks.tables")))


if __name__ == "__main__":
    main()
