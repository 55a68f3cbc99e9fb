"""Figures of a benchmark. Colours are those of Okabe and Ito, which colour-blind readers can tell apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from benchmarks.aggregate import Curve, Summary, SummaryRow
from recsim_hrl.replaced import replaced_file

if TYPE_CHECKING:
    from benchmarks.convergence import LearningCurve
    from benchmarks.sensitivity import Row

BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
PURPLE, VERMILION, SKY = "#CC79A7", "#D55E00", "#56B4E9"
INK = "#333333"
_COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
_LINES = ("-", "--", "-.", ":")
_DASHES = {"random": ":", "click_greedy": "-.", "reward_greedy": "--", "planner": "-"}


def draw_rewards(summary: Summary, path: Path) -> None:
    """One panel for each task: click and order reward of every agent, total with its interval, bounds as lines."""
    height = 1.7 + 0.36 * max(sum(row.task == task for row in summary.rows) for task in summary.tasks)
    figure = Figure(figsize=(5.4 * len(summary.tasks), height), layout="constrained")
    panels = figure.subplots(1, len(summary.tasks), squeeze=False)[0]
    for axes, task in zip(panels, summary.tasks, strict=True):
        rows = [row for row in summary.rows if row.task == task]
        agents = sorted((row for row in rows if row.kind == "agent"), key=lambda row: row.total.estimate)
        _bars(axes, agents)
        _bound_lines(axes, [row for row in rows if row.kind == "bound"])
        # A name is written to the right of the rightmost bound.
        axes.set_xlim(0, 1.2 * max(row.total.high for row in rows))
        axes.set_title(f"{task} sessions", loc="left", fontweight="bold", color=INK)
        axes.set_xlabel("reward per session, of users not trained on")
    legend_below(figure, panels[0], 4)
    save(figure, path)


def _bars(axes: Axes, agents: Sequence[SummaryRow]) -> None:
    places = np.arange(len(agents))
    click, order, total, low, high = (
        np.array([pick(row) for row in agents])
        for pick in (
            lambda row: row.click.estimate,
            lambda row: row.order.estimate,
            lambda row: row.total.estimate,
            lambda row: row.total.low,
            lambda row: row.total.high,
        )
    )
    axes.barh(places, click, color=SKY, height=0.62, label="from clicks (1 each)")
    axes.barh(places, order, left=click, color=ORANGE, height=0.62, label="from orders (5 each)")
    # An estimate outside its percentile interval is possible with few seeds, a negative whisker is not.
    whiskers = np.clip([total - low, high - total], 0, None)
    axes.errorbar(
        total, places, xerr=whiskers, fmt="o", color=INK, markersize=4, capsize=3, label="total, 95% interval"
    )
    axes.set_yticks(places, [row.agent for row in agents])
    axes.spines[["top", "right"]].set_visible(False)


def _bound_lines(axes: Axes, bounds: Sequence[SummaryRow]) -> None:
    """Vertical lines with their names above the bars.

    The lower a bound, the higher its name: as every line ends at its own name, no name is crossed by another line.
    """
    bottom, top = axes.get_ylim()
    for place, row in enumerate(sorted(bounds, key=lambda row: -row.total.estimate)):
        height = top + 0.1 + 0.5 * place
        label = "reference policy, see the bounds" if place == 0 else None
        style = _DASHES.get(row.agent, "--")
        axes.vlines(row.total.estimate, bottom, height + 0.4, INK, style, linewidth=1.1, zorder=0.5, label=label)
        axes.text(row.total.estimate, height, f" {row.agent.replace('_', '-')}", va="bottom", fontsize=8.5, color=INK)
    axes.set_ylim(bottom, top + 0.5 * len(bounds) + 0.1)


def draw_curves(curves: Sequence[Curve], path: Path) -> None:
    """One panel for each task: session reward at each checkpoint; the mean of the seeds and, of a few agents, their
    range."""
    tasks = list(dict.fromkeys(curve.task for curve in curves))
    agents = list(dict.fromkeys(curve.agent for curve in curves))
    ranges = len(agents) <= len(_COLOURS)  # more of them would hide the lines
    figure = Figure(figsize=(5.4 * len(tasks), 3.8), layout="constrained")
    panels = figure.subplots(1, len(tasks), squeeze=False)[0]
    for axes, task in zip(panels, tasks, strict=True):
        for place, agent in enumerate(agents):
            own = [curve for curve in curves if curve.task == task and curve.agent == agent]
            _band(axes, own, agent, place, ranges)
        axes.set_title(f"{task} sessions", loc="left", fontweight="bold", color=INK)
        axes.set_xlabel("environment steps of training")
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    told = "band: range of seeds" if ranges else "mean of seeds"
    panels[0].set_ylabel(f"session reward at each checkpoint\n(train simulator; {told})")
    legend_below(figure, panels[0], min(len(agents), 6))
    save(figure, path)


def _band(axes: Axes, curves: Sequence[Curve], agent: str, place: int, ranges: bool = True) -> None:
    if not curves:
        return
    first, last = max(curve.steps[0] for curve in curves), min(curve.steps[-1] for curve in curves)
    steps = np.linspace(first, last, 100)
    rewards = np.stack([np.interp(steps, curve.steps, curve.rewards) for curve in curves])
    colour, dashes = _COLOURS[place % len(_COLOURS)], _LINES[(place + place // len(_COLOURS)) % len(_LINES)]
    marker = None if last > first else "."  # a line of one point would not be seen
    axes.plot(steps, rewards.mean(axis=0), color=colour, linestyle=dashes, label=agent, marker=marker)
    if ranges:
        axes.fill_between(steps, rewards.min(axis=0), rewards.max(axis=0), color=colour, alpha=0.15, linewidth=0)


def draw_sensitivity(rows: Sequence["Row"], path: Path) -> None:
    """One panel for each study and task: total reward with its interval at each value."""
    studies, tasks = (list(dict.fromkeys(pick(row) for row in rows)) for pick in (lambda r: r.study, lambda r: r.task))
    figure = Figure(figsize=(2.7 * max(1, len(studies)), 2.7 * max(1, len(tasks))), layout="constrained")
    if not rows:
        return save(figure, path)
    panels = figure.subplots(len(tasks), len(studies), squeeze=False, sharey="row")
    for line, task in zip(panels, tasks, strict=True):
        line[0].set_ylabel(f"reward per session, {task}")
        line[0].set_ylim(0, 1.08 * max(row.total.high for row in rows if row.task == task))
        for axes, study in zip(line, studies, strict=True):
            own = [row for row in rows if (row.study, row.task) == (study, task)]
            places, totals = range(len(own)), [row.total for row in own]
            whiskers = np.clip([[t.estimate - t.low, t.high - t.estimate] for t in totals], 0, None).T
            estimates = [total.estimate for total in totals]
            axes.errorbar(places, estimates, yerr=whiskers, color=BLUE, marker="o", markersize=4, capsize=3)
            axes.set_xticks(places, [row.value for row in own])
            axes.set_xlabel(study)
            axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


def draw_convergence(curves: Sequence["LearningCurve"], measures: Mapping[str, str], path: Path) -> None:
    """One panel for each task and measure, a name and a title: the mean of the seeds and, of a few agents, their
    range."""
    tasks, agents = (list(dict.fromkeys(pick(one) for one in curves)) for pick in (lambda c: c.task, lambda c: c.agent))
    ranges = len(agents) <= len(_COLOURS)  # more of them would hide the lines
    figure = Figure(figsize=(4 * len(measures), 3.2 * len(tasks)), layout="constrained")
    panels = figure.subplots(len(tasks), len(measures), squeeze=False)
    for line, task in zip(panels, tasks, strict=True):
        for axes, (measure, title) in zip(line, measures.items(), strict=True):
            for place, agent in enumerate(agents):
                own = [one for one in curves if (one.task, one.agent) == (task, agent) and one.of(measure)]
                _band(axes, [Curve(task, agent, one.seed, *one.of(measure)) for one in own], agent, place, ranges)
            axes.set_title(f"{title}, {task}", loc="left", fontsize=9.5, color=INK)
            axes.spines[["top", "right"]].set_visible(False)
            axes.set_xlabel("environment steps")
    legend_below(figure, panels[0][0], min(len(agents), 2 * len(measures)))
    save(figure, path)


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """The names of what ``axes`` show, which stand for those of all panels, under the figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)


def save(figure: Figure, path: Path) -> None:
    """Write the PNG file whole or not at all, without a date, so that the same numbers give the same bytes."""
    with replaced_file(path) as beside:
        FigureCanvasAgg(figure).print_png(beside, metadata={"Software": None})
