"""Charts of the sections that need no true world; the styles are those of :mod:`.figures`."""

import numpy as np
from matplotlib.axes import Axes

from recsim_hrl.simulator.validity.disagreement import Disagreement
from recsim_hrl.simulator.validity.figures import BLUE, GREY, INK, VERMILION, head
from recsim_hrl.simulator.validity.intervals import Interval
from recsim_hrl.simulator.validity.off_policy import OffPolicyValue
from recsim_hrl.simulator.validity.segments import Segmentation
from recsim_hrl.simulator.validity.trajectories import Curve
from recsim_hrl.simulator.validity.two_samples import Discrimination


def segment_errors(axes: Axes, found: tuple[Segmentation, ...], name: str, limit: float) -> None:
    """Relative error of the rate of ``name`` ("clicks" or "orders") in each segment, and ``limit`` around zero."""
    segments = [segment for one in found for segment in one.segments]
    axes.axvspan(-100 * limit, 100 * limit, color=GREY, alpha=0.25, linewidth=0)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    for place, segment in enumerate(segments):
        rate = getattr(segment, name)
        error = rate.difference.scaled(100.0 / (rate.observed or rate.predicted or 1.0))
        _bar(axes, error, place, VERMILION if rate.is_judged else GREY)
    axes.set_yticks(range(len(segments)), [segment.name for segment in segments])
    axes.set_ylim(len(segments) - 0.5, -0.5)
    widest = 4 * 100 * limit
    axes.set_xlim(-widest, widest)  # segments with few responses would stretch it
    axes.set_xlabel("simulator less log, in % of the log's rate")
    head(axes, f"{name.capitalize()} by segment")


def _bar(
    axes: Axes, interval: Interval, place: float, colour: str, marker: str = "o", label: str | None = None
) -> None:
    """A point with its interval, lying at height ``place``."""
    axes.plot([interval.low, interval.high], [place, place], color=colour, linewidth=1.6)
    axes.plot(interval.value, place, color=colour, marker=marker, markersize=5, linestyle="", label=label)


def has_band(curve: Curve) -> bool:
    """Whether quantiles over sessions tell anything: of few responses they are 0 or 1."""
    return curve.real_band[-1][1] >= 3.0


def so_far(axes: Axes, marks: list[int], curve: Curve, name: str) -> None:
    """Real, expected and free curves of ``name`` against the position."""
    real = np.array([interval.value for interval in curve.real])
    if has_band(curve):
        axes.fill_between(marks, *np.array(curve.real_band).T, color=GREY, alpha=0.3, linewidth=0)
        for edge in np.array(curve.free_band).T:
            axes.plot(marks, edge, color=BLUE, linewidth=0.8, linestyle="--")
    else:
        ends = np.array([(interval.low, interval.high) for interval in curve.real])
        axes.fill_between(marks, *ends.T, color=GREY, alpha=0.4, linewidth=0)
    axes.plot(marks, real, color=INK, marker="o", markersize=4, linewidth=1.2, label="real")
    axes.plot(marks, curve.expected, color=VERMILION, marker="x", markersize=6, linewidth=1.2, label="expected")
    axes.plot(marks, curve.free, color=BLUE, linewidth=1.2, label="free")
    axes.set_xscale("log")
    axes.set_xticks(marks[::2], [str(mark) for mark in marks[::2]])
    axes.minorticks_off()
    axes.set(xlabel="impressions so far", ylabel=f"{name} so far")
    axes.legend(frameon=False, loc="upper left")
    head(axes, f"{name.capitalize()} so far")


def picked(axes: Axes, tests: list[tuple[str, Discrimination]]) -> None:
    """How often a classifier picks the real one, by test."""
    axes.axvline(50.0, color=INK, linewidth=0.8)
    for place, (name, test) in enumerate(tests):
        _bar(axes, test.picked.scaled(100.0), place, VERMILION if name.startswith("simulator") else GREY)
    axes.set_yticks(range(len(tests)), [name for name, _ in tests])
    axes.set_ylim(len(tests) - 0.5, -0.5)
    axes.set_xlabel("real one picked, in % of the pairs")
    head(axes, "Real or simulated?")


def off_policy(axes: Axes, values: tuple[OffPolicyValue, ...]) -> None:
    """What the simulator and the estimates from the log say of each policy."""
    parts = (("doubly_robust", INK, "o", -0.22), ("snips", BLUE, "s", 0.0), ("ips", GREY, "^", 0.22))
    for place, value in enumerate(values):
        for name, colour, marker, shift in parts:
            label = {"doubly_robust": "doubly robust"}.get(name, name.upper()) if place == 0 else None
            _bar(axes, getattr(value, name), place + shift, colour, marker, label)
        axes.plot(
            [value.simulator.value] * 2,
            [place - 0.38, place + 0.38],
            color=VERMILION,
            linewidth=2.5,
            label=None if place else "simulator",
        )
    axes.set_yticks(range(len(values)), [value.name.replace(" random items", "") for value in values])
    axes.set_ylim(len(values) - 0.5, -0.5)
    axes.set_xlabel("reward per impression")
    axes.legend(frameon=False, loc="best", fontsize=8)
    head(axes, "Value by the log and by the simulator")


def disagreement(axes: Axes, found: Disagreement) -> None:
    """Disagreement of simulators where each policy goes."""
    shares = [100.0 * one.disagreement for one in found.policies]
    axes.barh(range(len(shares)), shares, color=VERMILION, height=0.6)
    axes.axvline(100.0 * found.log.disagreement, color=INK, linewidth=1.2)
    axes.set_yticks(range(len(shares)), [one.policy.removeprefix("simulator_") for one in found.policies])
    axes.set_ylim(len(shares) - 0.5, -0.5)
    axes.set_xlabel("responses that would differ, in % (line: on the log)")
    head(axes, "Disagreement")
