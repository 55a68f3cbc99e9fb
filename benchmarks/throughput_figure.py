"""The figure of the throughput benchmark: how the rate scales with users, catalogue and session."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.figures import BLUE, GREEN, INK, ORANGE, VERMILION, save
from benchmarks.throughput_cases import KINDS, SARDINE

_COLOURS = (BLUE, ORANGE, GREEN)


def draw_scaling(rows: list[list[object]], path: Path) -> None:
    """Three panels on logarithmic axes; ``rows`` are those of ``throughput.csv``."""
    figure = Figure(figsize=(14, 4.2), layout="constrained")
    batch, catalogue, session = figure.subplots(1, 3)
    names = list(dict.fromkeys(row[1] for row in rows if row[0] == "batch"))
    for colour, name in zip(_COLOURS, KINDS, strict=True):
        _line(batch, [row for row in rows if row[0] == "batch" and row[1] == name], 2, colour, name)
    for name in (name for name in names if name == SARDINE):
        _line(batch, [row for row in rows if row[1] == name], 2, VERMILION, name, "s--")
    searched = [row for row in rows if row[0] == "catalogue"]
    everything, own = ([row for row in searched if bool(row[6]) == some] for some in (False, True))
    _line(catalogue, everything, 4, BLUE, "all are searched, exactly")
    _line(catalogue, own, 4, ORANGE, "1,000 of the user's own", "s")
    _line(session, [row for row in rows if row[0] == "session"], 5, BLUE, "item actions, item ids")
    for axes, title, label in (
        (batch, "users side by side", "users"),
        (catalogue, "larger catalogues, embedding actions", "candidates"),
        (session, "longer sessions", "items in a session"),
    ):
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_title(title, loc="left", fontweight="bold", color=INK)
        axes.set_xlabel(label)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=8)
    session.set_ylim(batch.get_ylim())
    batch.set_ylabel("user-steps per second")
    save(figure, path)


def _line(axes: Axes, rows: list[list[object]], column: int, colour: str, label: str, style: str = "o-") -> None:
    """The median of each case, with a bar from the slowest to the fastest run."""
    places, median, slowest, fastest = ([float(row[at]) for row in rows] for at in (column, 7, 8, 9))
    below = [m - s for m, s in zip(median, slowest, strict=True)]
    above = [f - m for m, f in zip(median, fastest, strict=True)]
    axes.errorbar(places, median, yerr=[below, above], fmt=style, color=colour, markersize=4, capsize=2, label=label)
