"""From finished runs to the CSV files that are committed, and from those files to the numbers of the tables.

``write_results`` makes three files from the records of a sweep, ``read_results`` reads them, ``summarise`` computes
everything else; tables and figures can so be made again from the committed files alone.
"""

import csv
import itertools
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.bounds_table import Bound
from benchmarks.paper import REFERENCE
from benchmarks.records import PACKAGES, RunRecord
from benchmarks.statistics import Bootstrap, Interval, crossed_bootstrap, paired_difference, stratified_bootstrap
from recsim_hrl.replaced import replaced_file

RUNS, SESSIONS, CURVES, ABOUT = "runs.csv", "sessions.csv", "curves.csv", "about.json"
PARTS = ("click_reward", "order_reward")


@dataclass(frozen=True)
class About:
    """What made a results folder."""

    preset: str
    simulator: str
    command: str
    """What a reader types to make it again."""


@dataclass(frozen=True)
class Rewards:
    """Session rewards of one agent on one task."""

    task: str
    agent: str
    click: np.ndarray  # (S, U)
    order: np.ndarray  # (S, U)

    @property
    def total(self) -> np.ndarray:
        """(S, U) click plus order reward; a skip pays nothing in these tasks."""
        return self.click + self.order


@dataclass(frozen=True)
class Curve:
    """Mean session reward at each checkpoint of one run."""

    task: str
    agent: str
    seed: int
    steps: np.ndarray  # (P,) environment steps
    rewards: np.ndarray  # (P,)


@dataclass(frozen=True)
class Results:
    """Everything that tables and figures are made from."""

    about: About
    rewards: tuple[Rewards, ...]
    curves: tuple[Curve, ...]


@dataclass(frozen=True)
class SummaryRow:
    """One line of a table. Intervals of click and order reward are absent (NaN) where only bounds are known."""

    task: str
    agent: str
    kind: str
    """"agent" or "bound"."""
    seeds: int
    sessions: int
    total: Interval
    total_iqm: Interval | None
    click: Interval
    order: Interval
    score: Interval | None
    """Normalised score: 0 is the random bound, 1 the planner; absent without bounds."""


@dataclass(frozen=True)
class Difference:
    """How much more ``agent`` earns than ``reference`` on the same users."""

    task: str
    agent: str
    reference: str
    total: Interval


@dataclass(frozen=True)
class Gain:
    """How much more ``agent`` earns than DEERS on the same users, as a share of what DEERS earns."""

    task: str
    agent: str
    total: Interval | None
    order: Interval | None
    """Absent, like the total, where DEERS has next to none."""


@dataclass(frozen=True)
class Overall:
    """Normalised score of an agent over all tasks, each task resampled on its own."""

    agent: str
    tasks: int
    mean: Interval
    iqm: Interval


@dataclass(frozen=True)
class Summary:
    """The numbers of the tables."""

    about: About
    rows: tuple[SummaryRow, ...]
    differences: tuple[Difference, ...]
    gains: tuple[Gain, ...]
    overall: tuple[Overall, ...]

    @property
    def tasks(self) -> list[str]:
        """Tasks in the order in which they were run."""
        return list(dict.fromkeys(row.task for row in self.rows))


def write_results(records: Sequence[RunRecord], about: About, folder: Path) -> None:
    """Write runs.csv, sessions.csv, curves.csv and about.json of ``records``."""
    runs, sessions, curves = [], [], []
    users = max(len(record.click_rewards) for record in records)
    for record in records:
        click, order = np.array(record.click_rewards), np.array(record.order_rewards)
        name = (record.task, record.agent, record.seed)
        versions = dict(record.versions)
        runs.append(
            (*name, record.key, record.steps, len(click), *map(short, ((click + order).mean(), click.mean())))
            + (short(order.mean()), f"{record.train_seconds:.1f}", f"{record.evaluate_seconds:.1f}")
            + tuple(versions.get(package, "") for package in PACKAGES)
        )
        for part, rewards in zip(PARTS, (click, order), strict=True):
            sessions.append((*name, part, *map(short, rewards)))
        curves += [(*name, step, short(reward)) for step, reward in record.curve]
    measures = ("steps", "sessions", "total_reward", *PARTS, "train_seconds", "evaluate_seconds")
    write_csv(folder / RUNS, ("task", "agent", "seed", "key", *measures, *PACKAGES), runs)
    write_csv(folder / SESSIONS, ("task", "agent", "seed", "part", *range(users)), sessions)
    write_csv(folder / CURVES, ("task", "agent", "seed", "step", "session_reward"), curves)
    write_text(folder / ABOUT, json.dumps(vars(about), indent=2) + "\n")


def read_results(folder: Path) -> Results:
    """Read what ``write_results`` wrote.

    Raises:
        ValueError: If a file is missing or damaged.
    """
    try:
        about = About(**json.loads((folder / ABOUT).read_text(encoding="utf-8")))
        parts: dict[tuple[str, str], dict[str, list[list[float]]]] = {}
        for task, agent, _, part, *rewards in read_csv(folder / SESSIONS):
            of_agent = parts.setdefault((task, agent), {name: [] for name in PARTS})
            of_agent[part].append([float(reward) for reward in rewards if reward])
        points: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
        for task, agent, seed, step, reward in read_csv(folder / CURVES):
            points.setdefault((task, agent, int(seed)), []).append((float(step), float(reward)))
        rewards = [Rewards(*name, *(np.array(part[key]) for key in PARTS)) for name, part in parts.items()]
        curves = [Curve(*name, *np.array(pairs).T) for name, pairs in points.items()]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{folder}: is not a results folder ({type(error).__name__}: {error}); "
            "make one with `python -m benchmarks.run`"
        ) from error
    return Results(about, tuple(rewards), tuple(curves))


def summarise(results: Results, bounds: Sequence[Bound] = (), how: Bootstrap | None = None) -> Summary:
    """Intervals of every agent on every task, beside the bounds of the task.

    Args:
        results: Session rewards.
        bounds: Of the market's test simulator; without them there are no normalised scores.
        how: Replicates, coverage and seed of the intervals.
    """
    how = how or Bootstrap()
    tasks = list(dict.fromkeys(rewards.task for rewards in results.rewards))
    anchors = {task: _anchors(task, bounds) for task in tasks}
    rows: list[SummaryRow] = []
    for task in tasks:
        rows += [_agent_row(rewards, anchors[task], how) for rewards in results.rewards if rewards.task == task]
        rows += [_bound_row(bound, anchors[task]) for bound in bounds if bound.task == task]
    differences, overall = pairwise_differences(results.rewards, how), _overall(results, anchors, how)
    return Summary(results.about, tuple(rows), tuple(differences), tuple(_gains(results, how)), tuple(overall))


def _anchors(task: str, bounds: Sequence[Bound]) -> tuple[float, float] | None:
    """Total reward of (random, planner) in ``task``."""
    totals = {bound.policy: bound.total.estimate for bound in bounds if bound.task == task}
    return (totals["random"], totals["planner"]) if {"random", "planner"} <= totals.keys() else None


def _agent_row(rewards: Rewards, anchors: tuple[float, float] | None, how: Bootstrap) -> SummaryRow:
    total = crossed_bootstrap(rewards.total, "mean", how)
    return SummaryRow(
        rewards.task,
        rewards.agent,
        "agent",
        *rewards.total.shape,
        total=total,
        total_iqm=crossed_bootstrap(rewards.total, "iqm", how),
        click=crossed_bootstrap(rewards.click, "mean", how),
        order=crossed_bootstrap(rewards.order, "mean", how),
        score=total.scaled(*anchors) if anchors else None,
    )


def _bound_row(bound: Bound, anchors: tuple[float, float] | None) -> SummaryRow:
    click, order = (Interval(reward, float("nan"), float("nan")) for reward in (bound.click_reward, bound.order_reward))
    score = bound.total.scaled(*anchors) if anchors else None
    return SummaryRow(
        bound.task, bound.policy, "bound", 1, bound.sessions, bound.total, None, click=click, order=order, score=score
    )


class Judged(Protocol):
    """An agent on a task."""

    task: str
    agent: str

    @property
    def total(self) -> np.ndarray:
        """(S, U) total reward of each session."""


def pairwise_differences(judged: Sequence[Judged], how: Bootstrap) -> list[Difference]:
    """Every ordered pair of agents of a task; the difference one way is minus that of the other."""
    rows = []
    for first, second in itertools.combinations(judged, 2):
        if first.task == second.task:
            total = paired_difference(first.total, second.total, how)
            swapped = Interval(-total.estimate, -total.high, -total.low)
            rows.append(Difference(first.task, first.agent, second.agent, total))
            rows.append(Difference(first.task, second.agent, first.agent, swapped))
    return rows


def _gains(results: Results, how: Bootstrap) -> list[Gain]:
    """Of every agent over DEERS, where that was run."""
    reference = {rewards.task: rewards for rewards in results.rewards if rewards.agent == REFERENCE}
    rows = []
    for rewards in results.rewards:
        if rewards.agent == REFERENCE or rewards.task not in reference:
            continue
        base = reference[rewards.task]
        parts = ((rewards.total, base.total), (rewards.order, base.order))
        rows.append(Gain(rewards.task, rewards.agent, *(relative_gain(*pair, how) for pair in parts)))
    return rows


def relative_gain(first: np.ndarray, second: np.ndarray, how: Bootstrap) -> Interval | None:
    """The difference as a share of the ``second``; None if that earns next to nothing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = paired_difference(first, second, how, relative=True)
    return share if np.isfinite((share.estimate, share.low, share.high)).all() else None


def _overall(results: Results, anchors: dict[str, tuple[float, float] | None], how: Bootstrap) -> list[Overall]:
    known = {task: pair for task, pair in anchors.items() if pair is not None}
    agents = list(dict.fromkeys(rewards.agent for rewards in results.rewards))
    rows = []
    for agent in agents:
        strata = [
            (rewards.total - known[rewards.task][0]) / (known[rewards.task][1] - known[rewards.task][0])
            for rewards in results.rewards
            if rewards.agent == agent and rewards.task in known
        ]
        # A score over half of the tasks would stand beside scores over all of them.
        if known and len(strata) == len(anchors):
            mean, iqm = (stratified_bootstrap(strata, statistic, how) for statistic in ("mean", "iqm"))
            rows.append(Overall(agent, len(strata), mean, iqm))
    return rows


def write_csv(path: Path, header: Sequence[object], rows: Iterable[Sequence[object]]) -> None:
    """Write a CSV file, whole or not at all."""
    with replaced_file(path) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def read_csv(path: Path) -> list[list[str]]:
    """Rows of a CSV file without its header."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with replaced_file(path) as beside:
        beside.write_text(text, encoding="utf-8")


def short(value: float) -> str:
    """A number as CSV files have it."""
    return f"{value:.6g}"
