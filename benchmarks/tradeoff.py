"""How small a response model may be before it is no longer valid: ``python -m benchmarks.tradeoff TRAIN_LOG EVAL_LOG``.

Response models of several widths are fitted to the same log, judged as every simulator is judged, and timed in the same
compiled step. A row that is there is kept, so a run that was stopped goes on.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from benchmarks.aggregate import write_csv, write_text
from benchmarks.figures import BLUE, INK, ORANGE, VERMILION, save
from benchmarks.floors import count, stages
from benchmarks.throughput import machine
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.simulator.evaluate import EvaluationConfig, evaluate_simulator
from recsim_hrl.simulator.fidelity import FidelityConfig
from recsim_hrl.simulator.fit import FitConfig, fit_simulator
from recsim_hrl.simulator.store import load_simulator

COLUMNS = ("width", "operations", "ns_per_user_step", "gap_closed", "error_50", "error_200", "worst", "met", "targets")


@dataclass(frozen=True)
class TradeoffConfig:
    """What is fitted and judged."""

    train_log: Annotated[Path, tyro.conf.Positional]
    """Log to fit to."""
    eval_log: Annotated[Path, tyro.conf.Positional]
    """Log of other sessions, of the same synthetic market, to judge on."""
    out: Path = Path("runs/tradeoff")
    """Folder of the table, the figure and the fitted simulators."""
    widths: tuple[int, ...] = (16, 32, 64, 96, 128)
    """Of the two hidden layers."""
    processes: int = 2
    """Processes that share a fit."""
    users: int = 4096
    """When a step is timed."""
    seconds: float = 1.0
    """For each stage that is timed."""
    impressions: int = 20_000
    """Of each policy, market and session length, when policy values are compared."""


def row(config: TradeoffConfig, width: int) -> list[object]:
    """Fit, judge and time one width."""
    folder = config.out / "simulators" / f"width_{width}"
    if not (folder / "simulator.json").exists():
        fit_simulator(
            InteractionLog.open(config.train_log), folder, FitConfig(hidden=width), processes=config.processes
        )
    simulator = load_simulator(folder)
    log = InteractionLog.open(config.eval_log)
    fidelity = FidelityConfig(impressions=config.impressions, workers=config.processes)
    found = evaluate_simulator(simulator, log, EvaluationConfig(), fidelity)
    core = SessionCore(simulator.data, SessionConfig(action="item", observation="item_ids"), threads=1)
    lasted = sum(stages(core, config.users, config.seconds).values())
    errors = [found.fidelity.mean_error(50), found.fidelity.mean_error(200)]
    worst = max(found.fidelity.worst_error(length) for length in (50, 200))
    met = sum(target.is_met for target in found.targets)
    numbers = [lasted, found.validity.gap_closed, *errors, worst]
    return [width, count(core).operations, *(f"{number:.4g}" for number in numbers), met, len(found.targets)]


def draw(rows: list[dict[str, str]], path: Path) -> None:
    """Errors of policy values and the time of a step, against the width."""
    width, lasted = ([float(row[name]) for row in rows] for name in ("width", "ns_per_user_step"))
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    for name, label, colour in (
        ("error_50", "50 items, mean error (target 5%)", BLUE),
        ("error_200", "200 items, mean error (target 10%)", ORANGE),
        ("worst", "worst error (target 25%)", VERMILION),
    ):
        axes.plot(lasted, [100 * float(row[name]) for row in rows], "o-", color=colour, label=label)
    for limit, colour in ((5, BLUE), (10, ORANGE), (25, VERMILION)):
        axes.axhline(limit, color=colour, linestyle=":", linewidth=1)
    for x, one, row_ in zip(lasted, width, rows, strict=True):
        valid = row_["met"] == row_["targets"]
        axes.annotate(
            f"width {one:.0f}\n{'valid' if valid else 'not valid'}",
            (x, 0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=INK,
        )
    axes.set_ylim(bottom=0)
    axes.set_xlabel("nanoseconds per user-step, one thread")
    axes.set_ylabel("error of policy values in %")
    axes.legend(frameon=False, fontsize=8)
    save(figure, path)


def to_text(rows: list[dict[str, str]]) -> str:
    """The table for people."""
    lines = [
        "| width | operations | ns per user-step | gap to exact Bayes closed | error, 50 items | 200 items | worst "
    ]
    lines[0] += "| targets met |"
    lines.append("|---:|" + "---:|" * 7)
    for row_ in rows:
        errors = " | ".join(f"{float(row_[name]):.1%}" for name in ("gap_closed", "error_50", "error_200", "worst"))
        lasted, met = float(row_["ns_per_user_step"]), f"{row_['met']} of {row_['targets']}"
        lines.append(f"| {row_['width']} | {int(row_['operations']):,} | {lasted:,.0f} | {errors} | {met} |")
    return "\n".join(lines)


def main(config: TradeoffConfig) -> None:
    """Make the rows that are missing, then the table and the figure."""
    path = config.out / "tradeoff.csv"
    rows = []
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            rows = [[one[name] for name in COLUMNS] for one in csv.DictReader(lines)]
    for width in config.widths:
        if str(width) not in {str(one[0]) for one in rows}:
            rows.append(row(config, width))
            write_csv(path, COLUMNS, sorted(rows, key=lambda one: int(one[0])))
    with path.open(encoding="utf-8") as lines:
        found = list(csv.DictReader(lines))
    draw(found, config.out / "tradeoff.png")
    text, size = to_text(found), InteractionLog.open(config.train_log).rows
    about = f"Fitted to {size:,} impressions. Measured on: {machine()}.\nMade by `python -m benchmarks.tradeoff`.\n"
    write_text(config.out / "tradeoff.md", f"{text}\n\n{about}")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(TradeoffConfig, description=__doc__))
