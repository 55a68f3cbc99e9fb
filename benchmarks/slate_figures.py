"""Figures of the benchmarks of slates: estimates with their intervals, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, legend_below, save
from benchmarks.statistics import Interval

_COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
_MARKERS = ("o", "s", "D", "^", "v", "P")
_DASHES = (":", "-.", "--", "-", (0, (5, 1, 1, 1, 1, 1)))


@dataclass(frozen=True)
class Panel:
    """Labels down the side, and for each an estimate of every series."""

    title: str
    measure: str
    series: dict[str, dict[str, Interval]]
    """By series, by label."""
    lines: dict[str, float] = field(default_factory=dict)
    """What is drawn across all labels, by name."""


def draw_panels(rows: Sequence[Sequence[Panel]], path: Path) -> None:
    """A grid of panels; a row shares its labels, of which the first series gives the order, lowest first."""
    labels = [list(next(iter(row[0].series.values()))) for row in rows]
    heights = [1.4 + 0.3 * len(names) for names in labels]
    figure = Figure(figsize=(5.4 * len(rows[0]), sum(heights)), layout="constrained")
    grid = figure.subplots(len(rows), len(rows[0]), squeeze=False, gridspec_kw={"height_ratios": heights})
    for line, row, names in zip(grid, rows, labels, strict=True):
        for axes, panel in zip(line, row, strict=True):
            _draw(axes, panel, names)
    legend_below(figure, grid[0][0], 6)
    save(figure, path)


def _draw(axes: Axes, panel: Panel, labels: Sequence[str]) -> None:
    for place, (name, values) in enumerate(panel.series.items()):
        # Series of a label stand one above the other.
        heights = np.arange(len(labels)) + 0.22 * (place - (len(panel.series) - 1) / 2)
        _points(axes, [values[label] for label in labels], heights, name, place)
    # In the order of their names, so that a line looks alike in all panels, which share one legend.
    for style, name in zip(_DASHES, sorted(panel.lines), strict=False):
        axes.axvline(panel.lines[name], color=INK, linestyle=style, linewidth=1.1, zorder=0.5, label=name)
    axes.set_yticks(range(len(labels)), labels)
    axes.set_title(panel.title, loc="left", fontweight="bold", color=INK)
    axes.set_xlabel(panel.measure)
    axes.spines[["top", "right"]].set_visible(False)


def _points(axes: Axes, values: Sequence[Interval], heights: Sequence[float], name: str, number: int) -> None:
    """Estimates with whiskers."""
    estimates = [value.estimate for value in values]
    # An estimate outside its percentile interval is possible with few seeds, a negative whisker is not.
    whiskers = np.clip([[v.estimate - v.low, v.high - v.estimate] for v in values], 0, None).T
    style = {"color": _COLOURS[number % len(_COLOURS)], "marker": _MARKERS[number % len(_MARKERS)], "label": name}
    axes.errorbar(estimates, heights, xerr=whiskers, linestyle="", markersize=4, capsize=3, **style)
