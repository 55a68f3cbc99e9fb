"""How small a response model may be before it is no longer valid: ``python -m benchmarks.tradeoff TRAIN_LOG EVAL_LOG``.

Response models of several widths are fitted to the same log and judged as every simulator is judged; in the end all of
them are timed in turns, in the same compiled step. What is there is kept, so a run that was stopped goes on.
"""

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from matplotlib.figure import Figure

from benchmarks.aggregate import read_csv, write_csv, write_text
from benchmarks.figures import BLUE, INK, ORANGE, VERMILION, save
from benchmarks.floors import count, stages
from benchmarks.throughput import machine
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.simulator.fit import FitConfig, fit_simulator
from recsim_hrl.simulator.folder import load_data
from recsim_hrl.simulator.store import load_simulator
from recsim_hrl.simulator.validity.evaluate import EvaluationConfig, evaluate_simulator
from recsim_hrl.simulator.validity.fidelity import FidelityConfig

JUDGED = ("width", "gap_closed", "error_short", "error_long", "worst", "met", "targets")
COLUMNS = (*JUDGED, "operations", "ns_per_user_step", "ns_low", "ns_high")
Row = dict[str, str]


@dataclass(frozen=True)
class TradeoffConfig:
    """What is fitted and judged."""

    train_log: Annotated[Path, tyro.conf.Positional]
    """Log to fit to."""
    eval_log: Annotated[Path, tyro.conf.Positional]
    """Log of other sessions, of the same synthetic market, to judge on."""
    out: Path = Path("runs/tradeoff")
    """Folder of the table, the figure and the fitted simulators."""
    widths: tuple[int, ...] = (16, 32, 64, 96)
    """Of the two hidden layers."""
    processes: int = 2
    """Processes that share a fit."""
    users: int = 4096
    """When a step is timed."""
    turns: int = 9
    """How often each width is timed; the table holds the median and the range."""
    seconds: float = 0.2
    """For each stage of a turn."""
    evaluation: EvaluationConfig = field(default_factory=lambda: EvaluationConfig(details=False))
    """Of the comparison on logged sessions."""
    policies: FidelityConfig = field(default_factory=FidelityConfig)
    """Of the comparison of policy values, in short and in long sessions."""


def judge(config: TradeoffConfig, width: int) -> list[str]:
    """Fit and judge one width."""
    folder = config.out / "simulators" / f"width_{width}"
    if not (folder / "simulator.json").exists():
        fit = FitConfig(hidden=width)
        fit_simulator(InteractionLog.open(config.train_log), folder, fit, processes=config.processes)
    log, lengths = InteractionLog.open(config.eval_log), config.policies.lengths
    found = evaluate_simulator(load_simulator(folder), log, config.evaluation, config.policies)
    numbers = [
        found.validity.gap_closed,
        found.fidelity.mean_error(lengths[0]),
        found.fidelity.mean_error(lengths[-1]),
        max(found.fidelity.worst_error(length) for length in lengths),
    ]
    met = sum(target.is_met for target in found.targets)
    return [str(width), *(f"{number:.4g}" for number in numbers), str(met), str(len(found.targets))]


def _core(config: TradeoffConfig, width: int) -> SessionCore:
    data = load_data(config.out / "simulators" / f"width_{width}", "train")
    return SessionCore(data, SessionConfig(action="item", observation="item_ids"), threads=1)


def time_steps(config: TradeoffConfig, widths: list[int]) -> dict[int, list[float]]:
    """Nanoseconds of a user-step of every width, one number a turn."""
    cores = {width: _core(config, width) for width in widths}
    lasted: dict[int, list[float]] = {width: [] for width in widths}
    for _ in range(config.turns):
        for width, core in cores.items():
            lasted[width].append(sum(stages(core, config.users, config.seconds).values()))
    return lasted


def draw(rows: list[Row], path: Path) -> None:
    """Errors of policy values, and below them the time of a step, against the width."""
    places, names = range(len(rows)), [row["width"] for row in rows]
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    errors, times = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for name, label, limit, colour in (
        ("worst", "largest (target 25%)", 25, VERMILION),
        ("error_long", "mean, long sessions (target 10%)", 10, ORANGE),
        ("error_short", "mean, short sessions (target 5%)", 5, BLUE),
    ):
        errors.plot(places, [100 * float(row[name]) for row in rows], "o-", color=colour, label=label)
        errors.axhline(limit, color=colour, linestyle=":", linewidth=1)
    errors.set_ylim(bottom=0)
    errors.set_ylabel("error of policy values in %")
    errors.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1.0, 0.94))
    middle, low, high = ([float(row[name]) for row in rows] for name in ("ns_per_user_step", "ns_low", "ns_high"))
    ends = [
        [m - end for m, end in zip(middle, low, strict=True)],
        [end - m for m, end in zip(middle, high, strict=True)],
    ]
    times.errorbar(places, middle, ends, fmt="o", color=INK, capsize=3)
    times.set_ylim(bottom=0)
    times.set_ylabel("ns per user-step")
    verdicts = ["valid" if row["met"] == row["targets"] else "not valid" for row in rows]
    times.set_xticks(places, [f"{name}\n{verdict}" for name, verdict in zip(names, verdicts, strict=True)])
    times.set_xlabel("width of the response model's layers")
    save(figure, path)


def to_text(rows: list[Row]) -> str:
    """The table for people."""
    names = "width", "operations", "ns per user-step", "gap to exact Bayes closed", "error, 50 items", "200 items"
    lines = [f"| {' | '.join(names)} | worst | targets met |", "|" + "---:|" * 8]
    for row in rows:
        errors = " | ".join(f"{float(row[name]):.1%}" for name in ("gap_closed", "error_short", "error_long", "worst"))
        lasted = f"{row['ns_per_user_step']} ({row['ns_low']}–{row['ns_high']})"
        met = f"{row['met']} of {row['targets']}"
        lines.append(f"| {row['width']} | {int(row['operations']):,} | {lasted} | {errors} | {met} |")
    return "\n".join(lines)


def main(config: TradeoffConfig) -> None:
    """Judge the widths that are missing, time all of them, then write the table and the figure."""
    path = config.out / "judged.csv"
    judged = read_csv(path) if path.exists() else []
    for width in config.widths:
        if str(width) not in {row[0] for row in judged}:
            judged = sorted([*judged, judge(config, width)], key=lambda row: int(row[0]))
            write_csv(path, JUDGED, judged)
    rows = [dict(zip(JUDGED, row, strict=True)) for row in judged if int(row[0]) in config.widths]
    lasted = time_steps(config, [int(row["width"]) for row in rows])
    for row in rows:
        turns = lasted[int(row["width"])]
        timed = {"ns_per_user_step": statistics.median(turns), "ns_low": min(turns), "ns_high": max(turns)}
        row |= {name: f"{value:.0f}" for name, value in timed.items()}
        row["operations"] = str(count(_core(config, int(row["width"]))).operations)
    write_csv(config.out / "tradeoff.csv", COLUMNS, [[row[name] for name in COLUMNS] for row in rows])
    draw(rows, config.out / "tradeoff.png")
    size = InteractionLog.open(config.train_log).rows
    about = f"Fitted to {size:,} impressions, judged on others. Steps timed on: {machine()}.\n"
    made = f"{about}Made by `python -m benchmarks.tradeoff TRAIN_LOG EVAL_LOG`.\n"
    write_text(config.out / "tradeoff.md", f"{to_text(rows)}\n\n{made}")
    print(to_text(rows))


if __name__ == "__main__":
    main(tyro.cli(TradeoffConfig, description=__doc__))
