"""The figure of the validity report. Colours are those of Okabe and Ito, which colour-blind readers can tell apart."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from recsim_hrl.simulator.validity.fidelity import Fidelity
from recsim_hrl.simulator.validity.measures import COUNTS_SHOWN, POSITION_EDGES, Prediction, Validity

BLUE, VERMILION, GREY, INK = "#0072B2", "#D55E00", "#A0A0A0", "#333333"
FAINT = "#E8E8E9"
"""Of a grid; the HTML page replaces this colour and that of the ink in a dark scheme."""
_REAL = {"color": INK, "marker": "o", "markersize": 4, "linewidth": 1.0}
_SIMULATED = {"color": VERMILION, "marker": "x", "markersize": 6, "linewidth": 1.0, "linestyle": "--"}


def draw_validity(validity: Validity, fidelity: Fidelity | None, path: Path) -> None:
    """Draw the report, as PNG: prediction in the upper row, sessions and policy values in the lower one."""
    lengths = sorted({value.length for value in fidelity.values}) if fidelity else []
    heights = [7.8, 4.4][: 1 + bool(lengths)]
    figure = Figure(figsize=(13.5, sum(heights)), layout="constrained")
    parts = np.atleast_1d(figure.subfigures(len(heights), 1, height_ratios=heights))
    panels = parts[0].subplots(2, 3).ravel()
    log_losses(panels[0], validity)
    calibration(panels[1], validity.click, "Calibration of clicks")
    calibration(panels[2], validity.order, "Calibration of orders")
    _by_position(panels[3], validity)
    by_recent_clicks(panels[4], validity)
    per_session(panels[5], validity)
    for place, length in enumerate(lengths):
        policy_values(parts[1].add_subplot(1, len(lengths), place + 1), fidelity, length)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=110)


def head(axes: Axes, text: str) -> None:
    """Put ``text`` above a panel and take away two of its four edges."""
    axes.set_title(text, loc="left", fontsize=11, fontweight="bold", color=INK)
    axes.spines[["top", "right"]].set_visible(False)


def log_losses(axes: Axes, validity: Validity) -> None:
    """Log-losses, one below the other."""
    losses = {
        "base rate": validity.log_loss_base_rate,
        "per-item rate": validity.log_loss_item_rate,
        "simulator": validity.log_loss_simulator,
    }
    if validity.log_loss_bayes is not None:
        losses["exact Bayes"] = validity.log_loss_bayes
    values, places = np.array(list(losses.values())), np.arange(len(losses))
    axes.scatter(values, places, s=60, color=[VERMILION if name == "simulator" else INK for name in losses], zorder=3)
    axes.hlines(places, values.min() - 0.1 * np.ptp(values), values, color=GREY, linewidth=2)
    for place, value in zip(places, values, strict=True):
        axes.annotate(f"{value:.4f}", (value, place), (0, 8), textcoords="offset points", ha="center", fontsize=9)
    axes.set_yticks(places, list(losses))
    axes.set_ylim(len(losses) - 0.5, -0.7)
    axes.set_xlabel("log-loss per impression (axis does not start at 0)")
    text = "Prediction" if validity.gap_closed is None else f"Prediction: {validity.gap_closed:.1%} of the gap closed"
    head(axes, text)


def calibration(axes: Axes, prediction: Prediction, title: str) -> None:
    """Predicted against observed frequency, on logarithmic axes."""
    table = np.array(prediction.calibration)  # (bins, 3)
    table = table[(table[:, :2] > 0).all(1)]  # a logarithmic axis has no zero
    ends = [table[:, :2].min() * 0.7, table[:, :2].max() * 1.4] if len(table) else [1e-3, 1.0]
    axes.plot(ends, ends, color=GREY, linewidth=1.0, label="perfect")
    axes.plot(table[:, 0], table[:, 1], color=VERMILION, marker="o", markersize=5, linewidth=1.0, label="simulator")
    axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends, xlabel="predicted", ylabel="observed")
    axes.legend(frameon=False, loc="lower right")
    axes.text(0.04, 0.92, f"calibration error {prediction.calibration_error:.4f}", transform=axes.transAxes, fontsize=9)
    head(axes, title)


def _by_position(axes: Axes, validity: Validity) -> None:
    places = np.array([(low + high - 1) / 2 for low, high in zip(POSITION_EDGES, POSITION_EDGES[1:], strict=False)])
    _rates(axes, validity, "by_position", places + 1)
    axes.set_xscale("log")
    axes.set_xlabel("position in the session")
    head(axes, "Responses by position")


def by_recent_clicks(axes: Axes, validity: Validity) -> None:
    """Rates by the clicks among the last ten responses."""
    groups = len(validity.session_statistics["real"]["clicks_by_recent_clicks"])
    _rates(axes, validity, "by_recent_clicks", np.arange(groups))
    axes.set_xticks(range(groups), [*map(str, range(groups - 1)), f"{groups - 1}+"])
    axes.set_xlabel("clicks among the last ten responses")
    head(axes, "Responses after recent clicks")


def _rates(axes: Axes, validity: Validity, statistic: str, places: np.ndarray) -> None:
    for source, style in (("real", _REAL), ("simulated", _SIMULATED)):
        for name in ("clicks", "orders"):
            rates = validity.session_statistics[source][f"{name}_{statistic}"]
            shown = np.array([np.nan if rate is None or rate == 0.0 else rate for rate in rates])
            axes.plot(places, shown, **style, label=source if name == "clicks" else None)
            _name_line(axes, name, places, shown, source)
    axes.set_yscale("log")
    axes.set_ylabel("share of impressions")
    axes.legend(frameon=False)


def _name_line(axes: Axes, name: str, places: np.ndarray, heights: np.ndarray, source: str) -> None:
    there = np.flatnonzero(np.isfinite(heights))
    if source == "real" and len(there):
        middle = there[len(there) // 2]
        axes.annotate(
            name, (places[middle], heights[middle]), (0, 9), textcoords="offset points", ha="center", fontsize=9
        )


def per_session(axes: Axes, validity: Validity) -> None:
    """Share of sessions with n or more clicks, or orders."""
    counts = np.arange(COUNTS_SHOWN + 1)
    for source, style in (("real", _REAL), ("simulated", _SIMULATED)):
        for name in ("clicks", "orders"):
            shares = np.array(validity.session_statistics[source][name]["shares"])
            at_least = shares[::-1].cumsum()[::-1]  # (COUNTS_SHOWN + 1,)
            at_least = np.where(at_least > 1e-9, at_least, np.nan)  # a logarithmic axis has no zero
            axes.plot(counts, at_least, **style, label=source if name == "clicks" else None)
            _name_line(axes, name, counts, at_least, source)
    axes.set_yscale("log")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="n", ylabel="share of sessions with n or more")
    axes.legend(frameon=False)
    head(axes, "Clicks and orders per session")


def policy_values(axes: Axes, fidelity: Fidelity, length: int) -> None:
    """Values of policies in sessions of ``length`` items, in the world and in the simulator."""
    values = sorted(fidelity.at(length), key=lambda value: value.world)
    places = np.arange(len(values))
    for part, error, style, shift in (
        ("world", "world_error", _REAL | {"linestyle": "", "color": BLUE}, 0.12),
        ("simulator", "simulator_error", _SIMULATED | {"linestyle": ""}, -0.12),
    ):
        means = [getattr(value, part) for value in values]
        errors = [1.96 * getattr(value, error) for value in values]
        axes.errorbar(means, places + shift, xerr=errors, capsize=2, label=part, **style)
    for place, value in zip(places, values, strict=True):
        axes.annotate(
            f"{value.relative_error:+.0%}",
            (max(value.world + 1.96 * value.world_error, value.simulator + 1.96 * value.simulator_error), place),
            (6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=INK,
        )
    axes.set_yticks(places, [value.policy for value in values])
    axes.set_xscale("log")
    axes.margins(x=0.15)
    for ticks in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        ticks(StrMethodFormatter("{x:g}"))
    axes.grid(axis="x", color=FAINT)
    axes.set_xlabel("reward per session, 95% interval")
    axes.legend(frameon=False, loc="lower right")
    head(axes, f"Policy values, {length} items (tau {fidelity.kendall_tau(length):.2f})")
