"""Tables and figure of :mod:`benchmarks.long_logs`."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.aggregate import write_csv, write_text
from benchmarks.figures import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, legend_below, save
from benchmarks.fit_floor import FitFloor
from benchmarks.throughput import machine
from benchmarks.watch import Watched

ROWS, FLOOR = "long_logs.csv", "fit_floor.csv"
LIMIT_MIB = 2048
BOUNDED = "evaluate"
"""The stage that predicts a bounded number of sessions, whatever the length of the log."""
_COLOURS = (GREEN, SKY, BLUE, PURPLE, ORANGE, VERMILION, INK)
_MARKS = "osD^vPX"


@dataclass(frozen=True)
class Row:
    """One stage at one size."""

    stage: str
    size: int
    """Impressions that were asked for."""
    impressions: int
    """Impressions that the log holds: whole sessions, so a little more."""
    seconds: float
    cpu_seconds: float
    rss_mib: float

    @classmethod
    def of(cls, stage: str, size: int, impressions: int, watched: Watched) -> Self:
        """The row of a command that was watched."""
        return cls(stage, size, impressions, *(getattr(watched, name) for name in COLUMNS[3:]))

    @classmethod
    def read(cls, cells: Sequence[str]) -> Self:
        """The row that ``cells`` of the file tell."""
        return cls(cells[0], int(cells[1]), int(cells[2]), *map(float, cells[3:]))

    @property
    def cells(self) -> list[str]:
        """Its cells in the file."""
        return [self.stage, str(self.size), str(self.impressions)] + [
            f"{getattr(self, name):.2f}" for name in COLUMNS[3:]
        ]


COLUMNS = tuple(field.name for field in dataclasses.fields(Row))


@dataclass(frozen=True)
class Costs:
    """Rows by stage and size."""

    rows: Sequence[Row]

    @property
    def stages(self) -> list[str]:
        return list(dict.fromkeys(row.stage for row in self.rows))

    @property
    def tiny(self) -> int:
        """The size that tells the fixed cost."""
        return min(row.size for row in self.rows)

    @property
    def sizes(self) -> list[int]:
        """The others."""
        return sorted({row.size for row in self.rows} - {self.tiny})

    def at(self, stage: str, size: int) -> Row:
        """The row of ``stage`` at ``size``."""
        return next(row for row in self.rows if (row.stage, row.size) == (stage, size))

    def micro(self, stage: str, size: int) -> float:
        """Microseconds of processors for each impression beyond those of the tiny log."""
        row, tiny = self.at(stage, size), self.at(stage, self.tiny)
        return 1e6 * (row.cpu_seconds - tiny.cpu_seconds) / (row.impressions - tiny.impressions)


def write_report(rows: Sequence[Row], folder: Path) -> str:
    """Write long_logs.md and long_logs.png; returns the text."""
    costs = Costs(rows)
    _draw(costs, folder / "long_logs.png")
    every = [costs.tiny, *costs.sizes]
    tables = (
        ("Seconds from the start of the command to its end", every, lambda row: f"{row.seconds:.1f}"),
        ("Processor seconds of all its processes", every, lambda row: f"{row.cpu_seconds:.1f}"),
        (
            f"Processor microseconds for each impression beyond the first {costs.tiny:,}",
            costs.sizes,
            lambda row: f"{costs.micro(row.stage, row.size):.2f}",
        ),
        ("Impressions per second, by the clock", costs.sizes, lambda row: f"{row.impressions / row.seconds:,.0f}"),
        ("Peak memory in MiB, resident, of all its processes together", every, lambda row: f"{row.rss_mib:.0f}"),
    )
    parts = [f"{head}:\n\n{_table(costs, sizes, cell)}" for head, sizes, cell in tables]
    parts.append(f"`{BOUNDED}` predicts a bounded number of sessions, whatever the length of the log.")
    parts.append("![Cost of an impression and peak memory by the length of the log](long_logs.png)")
    parts.append(f"Measured on: {machine()}, pyarrow {version('pyarrow')}.\nMade by `python -m benchmarks.long_logs`.")
    text = "\n\n".join(parts) + "\n"
    write_text(folder / "long_logs.md", text)
    return text


def _table(costs: Costs, sizes: Sequence[int], cell: Callable[[Row], str]) -> str:
    lines = ["| stage | " + " | ".join(f"{size:,}" for size in sizes) + " |", "|---|" + "---:|" * len(sizes)]
    for stage in costs.stages:
        lines.append(f"| {stage} | {' | '.join(cell(costs.at(stage, size)) for size in sizes)} |")
    return "\n".join(lines)


def _draw(costs: Costs, path: Path) -> None:
    figure = Figure(figsize=(10.8, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, stage in enumerate(costs.stages):
        style = {"color": _COLOURS[place], "marker": _MARKS[place], "markersize": 5, "label": stage}
        millions = [costs.at(stage, size).impressions / 1e6 for size in costs.sizes]
        if stage != BOUNDED:
            left.plot(millions, [costs.micro(stage, size) for size in costs.sizes], **style)
        right.plot(millions, [costs.at(stage, size).rss_mib for size in costs.sizes], **style)
    left.set_yscale("log")
    left.set_ylim(0.1, 100)
    left.yaxis.set_major_formatter("{x:g}")
    _name(left, "Cost of an impression", f"processor microseconds beyond the first {costs.tiny:,}")
    right.axhline(LIMIT_MIB, color=INK, linestyle="--", linewidth=1.1)
    right.text(0.3, LIMIT_MIB - 20, "2 GiB", va="top", color=INK)
    right.set_ylim(0, 1.08 * LIMIT_MIB)
    _name(right, "Peak memory of all processes", "MiB")
    legend_below(figure, right, 4)
    save(figure, path)


def _name(axes: Axes, title: str, unit: str) -> None:
    axes.set_title(title, loc="left", fontweight="bold", color=INK)
    axes.set_xlabel("million impressions in the log")
    axes.set_ylabel(unit)
    axes.set_xlim(left=0)
    axes.spines[["top", "right"]].set_visible(False)


def write_floor(floor: FitFloor, folder: Path) -> None:
    """Write fit_floor.csv and fit_floor.md."""
    numbers = {name: value for name, value in dataclasses.asdict(floor).items() if name != "shares"}
    rows = [(name, f"{value:.6g}") for name, value in [*numbers.items(), *floor.shares]]
    write_csv(folder / FLOOR, ("what", "value"), rows)
    write_text(folder / "fit_floor.md", floor_text(floor) + f"\nMeasured on: {machine()}.\n")


def floor_text(floor: FitFloor) -> str:
    """The floor argument as a table and the table of shares."""
    lines = [
        f"An impression takes {floor.flops:,.0f} floating-point operations, forward and backward.",
        "",
        "| | microseconds per impression | impressions/s | times the floor |",
        "|---|---:|---:|---:|",
    ]
    own, half = floor.floor, floor.floor / 2
    named = (
        (f"its operations at this core's best rate, {floor.best_gflops:.0f} GFLOP/s", floor.at_best, own),
        (f"**floor**: its matrix products alone, in their own shapes, {floor.own_gflops:.0f} GFLOP/s", own, own),
        ("the fit, one process (processor time)", floor.one_process, own),
        ("floor of two processes: half", half, half),
        ("the fit, two processes (time by the clock)", floor.two_processes, half),
    )
    lines += [f"| {name} | {value:.2f} | {1e6 / value:,.0f} | {value / least:.1f} |" for name, value, least in named]
    lines += ["", "| where one process spends its time | share |", "|---|---:|"]
    lines += [f"| {kind} | {share:.0%} |" for kind, share in floor.shares]
    return "\n".join(lines) + "\n"
