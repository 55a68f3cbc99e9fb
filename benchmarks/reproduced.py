"""What the paper of MaHRL says, held against what was measured here: ``python -m benchmarks.reproduced``.

Reads what ``run``, ``offline``, ``convergence`` and ``sensitivity`` left, and judges by one rule: a claim that one
agent earns more than another holds if the whole interval of the gain is above 0, its reverse if the whole of it is
below.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from benchmarks.aggregate import SESSIONS, Rewards, read_csv, read_results, relative_gain, write_text
from benchmarks.commands import finish
from benchmarks.convergence import MEASURES, steps_until_there
from benchmarks.paper import BEST, CLAIMS, RANKING, REFERENCE, SOONER, ranking_gain
from benchmarks.ranking import METRICS
from benchmarks.statistics import Bootstrap, Interval
from benchmarks.tables import Table, aligned, grid, interval_text

MAHRL = "mahrl"
OURS = ("mahrl-anchored", "mahrl-items")
"""What the paper's words on MaHRL are held against as well: the same two levels, with a low level that starts from its
goal, and with items as goals."""
CHANCE = "random"
"""The agent that knows nothing, and says nothing of how the two orders agree."""
PAGE = "reproduced.md"


@dataclass(frozen=True)
class ReproducedConfig:
    """Hold what the paper of MaHRL says against results; leaves reproduced.md among them."""

    results: Path = Path("benchmarks/results")
    """Holds the folders full, convergence-full and sensitivity-full; of those that are missing nothing is said."""


def verdict(gain: Interval) -> str:
    """What the interval of a gain says of the claim that there is one."""
    if gain.low > 0:
        return "holds"
    return "the reverse holds" if gain.high < 0 else "undecided"


def judged(gain: Interval | None) -> str:
    """A gain with its interval and the verdict."""
    return "" if gain is None else f"{interval_text(gain, '{:+.0%}')}: {verdict(gain)}"


def online(folder: Path) -> Table:
    """The claims of section 4.2.3 and Figure 7, from the results of ``benchmarks.run``."""
    rewards = {(one.task, one.agent): one for one in read_results(folder / "full").rewards}
    lines = [
        ("", "more than", "sessions", "reward", "paper", "here", *(f"here, `{one}` for `{MAHRL}`" for one in OURS))
    ]
    for claim in CLAIMS:
        for task in claim.tasks:
            worse = rewards.get((task, claim.worse))
            agents = (MAHRL, *OURS) if claim.better == MAHRL else (claim.better,)
            gains = [judged(gain_of(rewards.get((task, agent)), worse, claim.part)) for agent in agents]
            if any(gains):
                named = (f"`{claim.better}`", f"`{claim.worse}`", task, claim.part, claim.number or "more")
                lines.append((*named, *gains, *[""] * (1 + len(OURS) - len(gains))))
    return lines


def gain_of(better: Rewards | None, worse: Rewards | None, part: str) -> Interval | None:
    """How much more one agent earns than another, as a share of what that earns; None where that cannot be said."""
    if better is None or worse is None:
        return None
    return relative_gain(getattr(better, part), getattr(worse, part), Bootstrap())


def offline(folder: Path) -> Table:
    """The gains of Table 2, from the results of ``benchmarks.offline``."""
    rows = read_csv(folder / "full" / "offline_gains.csv")
    measured = {tuple(row[:3]): Interval(*map(float, row[3:])) for row in rows}
    named = (f"{name}, {who}" for name in METRICS.values() for who in ("paper", "here"))
    lines = [(f"gain over `{REFERENCE}`", "learned in sessions", *named)]
    for agent in RANKING:
        for task in ("short", "long"):
            cells = []
            for place, name in enumerate(METRICS):
                gain = measured.get((task, agent, name))
                cells += [ranking_gain(agent, place), interval_text(gain, "{:+.1%}")]
            if any(cells[1::2]):
                lines.append((f"`{agent}`", task, *cells))
    return lines


def agreement(folder: Path) -> Table:
    """Whether who ranks logged sessions well earns more: Spearman's rank correlation of MAP and online reward."""
    earned = {(one.task, one.agent): one.total.mean() for one in read_results(folder / "full").rewards}
    ranked: dict[tuple[str, str], list[float]] = {}
    for task, agent, *_, value in (row[:7] for row in read_csv(folder / "full" / "offline.csv")):
        ranked.setdefault((task, agent), []).append(float(value))
    lines = [("sessions", "agents", "rank correlation of MAP and online reward")]
    for task in dict.fromkeys(task for task, _ in ranked):
        both = [name for name in ranked if name[0] == task and name in earned and name[1] != CHANCE]
        pairs = [np.mean(ranked[name]) for name in both], [earned[name] for name in both]
        lines.append((task, str(len(both)), f"{spearmanr(*pairs).statistic:+.2f}"))
    return lines


def convergence(folder: Path) -> Table:
    """How much sooner MaHRL is there than HRL-G (section 4.2.1), from the results of ``benchmarks.convergence``."""
    curves: dict[tuple[str, str, str], dict[str, list[tuple[float, float]]]] = {}
    for task, agent, seed, measure, steps, value in read_csv(folder / "convergence-full" / "convergence.csv"):
        curves.setdefault((task, measure, agent), {}).setdefault(seed, []).append((float(steps), float(value)))
    there = {
        name: float(np.mean([steps_until_there(*zip(*curve, strict=True)) for curve in seeds.values()]))
        for name, seeds in curves.items()
    }
    lines = [
        ("steps to 95%", "sessions", f"`{MAHRL}`", "`hrl-g`", "times as many", "paper", *(f"`{one}`" for one in OURS))
    ]
    for task in dict.fromkeys(task for task, _, _ in there):
        for measure, told in MEASURES.items():
            mahrl, single, *ours = (there.get((task, measure, agent)) for agent in (MAHRL, "hrl-g", *OURS))
            times = f"{single / mahrl:.1f}" if mahrl and single else ""
            lines.append((told, task, *map(_count, (mahrl, single)), times, SOONER, *map(_count, ours)))
    return lines


def _count(steps: float | None) -> str:
    return "" if steps is None else f"{steps:,.0f}"


def sensitivity(folder: Path) -> Table:
    """Which values do best (section 4.3, long sessions), from the results of ``benchmarks.sensitivity``."""
    rows = read_csv(folder / "sensitivity-full" / "sensitivity.csv")
    lines = [("setting", "best, paper", "best here", "reward", "reward at the paper's", "worst here", "reward")]
    for study, paper in BEST.items():
        earned = {row[2]: Interval(*map(float, row[4:7])) for row in rows if row[:2] == [study, "long"]}
        if paper in earned:
            worst, *_, best = sorted(earned, key=lambda value: earned[value].estimate)
            at = {value: interval_text(earned[value], "{:.1f}") for value in (best, paper, worst)}
            lines.append((f"`{study}`", paper, best, at[best], at[paper], worst, at[worst]))
    return lines


@dataclass(frozen=True)
class Part:
    """A figure or table of the paper."""

    title: str
    command: str
    """Whose results are read."""
    file: str
    """Of those results, in the folder of all."""
    table: Callable[[Path], Table]


PARTS = (
    Part("Online (Figure 7)", "python -m benchmarks.run --preset full", f"full/{SESSIONS}", online),
    Part("Offline (Table 2)", "python -m benchmarks.offline --preset full", "full/offline_gains.csv", offline),
    Part(
        "Offline against online",
        "python -m benchmarks.offline --preset full",
        "full/offline.csv",
        agreement,
    ),
    Part(
        "Convergence (Figure 6)",
        "python -m benchmarks.convergence --preset full",
        "convergence-full/convergence.csv",
        convergence,
    ),
    Part(
        "Sensitivity (Figures 8 and 9)",
        "python -m benchmarks.sensitivity --preset full",
        "sensitivity-full/sensitivity.csv",
        sensitivity,
    ),
)


def reproduced(config: ReproducedConfig) -> str:
    """Write the page; returns its tables for a terminal.

    Raises:
        ValueError: If there are no results at all, or damaged ones.
    """
    made = [(part, part.table(config.results)) for part in PARTS if (config.results / part.file).exists()]
    tables = [(part, table) for part, table in made if len(table) > 1]  # more than a header
    if not tables:
        raise ValueError(f"results: got none in {config.results}; make some, for example with `{PARTS[0].command}`")
    rule = "A claim holds if the whole 95% interval of the gain is above 0, its reverse if the whole of it is below."
    blocks = [f"**{part.title}**, from `{part.command}`:\n\n{grid(table)}" for part, table in tables]
    write_text(config.results / PAGE, "\n\n".join([*blocks, rule, "Made by `python -m benchmarks.reproduced`."]) + "\n")
    return "\n\n".join(aligned(part.title, table) for part, table in tables)


def main() -> int:
    """Command line; returns the exit status."""
    import tyro

    config = tyro.cli(ReproducedConfig, prog="python -m benchmarks.reproduced")
    return finish(lambda: f"{reproduced(config)}\n\nWritten to {config.results / PAGE}", "Results are")


if __name__ == "__main__":
    sys.exit(main())
