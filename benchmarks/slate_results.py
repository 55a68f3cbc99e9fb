"""From finished runs of slates to the CSV files that are committed, and from those to the numbers of the tables."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.aggregate import (
    ABOUT,
    CURVES,
    RUNS,
    SESSIONS,
    About,
    Difference,
    pairwise_differences,
    read_csv,
    short,
    write_csv,
    write_text,
)
from benchmarks.records import PACKAGES, RunRecord
from benchmarks.slate_evaluation import RUN_MEASURES, SESSION_MEASURES
from benchmarks.statistics import Bootstrap, Interval, crossed_bootstrap

AGENT, BOUND = "agent", "bound"
MEASURES = (*SESSION_MEASURES, *RUN_MEASURES)
CURVE_MEASURES = {"total_reward": "reward per session", "depth": "requests per session"}
"""What is followed over a training."""


@dataclass(frozen=True)
class SlateResult:
    """What one agent, or bound, brought in one task."""

    task: str
    agent: str
    kind: str
    """"agent" or "bound"."""
    values: dict[str, np.ndarray]
    """By measure: (S, U) of each seed and session, or (S, 1) of each seed."""

    @property
    def total(self) -> np.ndarray:
        """(S, U) total reward."""
        return self.values["total_reward"]


@dataclass(frozen=True)
class SlateCurve:
    """What each checkpoint of one run brought."""

    task: str
    agent: str
    seed: int
    steps: np.ndarray  # (P,) requests
    values: dict[str, np.ndarray]  # by measure (P,)

    def of(self, measure: str) -> tuple[np.ndarray, np.ndarray]:
        """(P,) requests and (P,) values of a measure."""
        return self.steps, self.values[measure]


@dataclass(frozen=True)
class SlateResults:
    """Everything that tables and figures are made from."""

    about: About
    results: tuple[SlateResult, ...]
    curves: tuple[SlateCurve, ...]

    @property
    def tasks(self) -> list[str]:
        """Tasks in the order in which they were run."""
        return list(dict.fromkeys(result.task for result in self.results))


@dataclass(frozen=True)
class SlateRow:
    """One line of a table."""

    task: str
    agent: str
    kind: str
    seeds: int
    sessions: int
    values: dict[str, Interval]
    """By measure."""
    score: Interval | None
    """0 is random, 1 the planner; absent where they are not there, or the planner earns no more than random."""


def write_slate_results(
    agents: Sequence[RunRecord], bounds: Sequence[RunRecord], about: About, folder: Path
) -> SlateResults:
    """Write runs.csv, sessions.csv, curves.csv and about.json; returns what they hold."""
    runs, sessions, curves = [], [], []
    for kind, records in ((AGENT, agents), (BOUND, bounds)):
        for record in records:
            name, told = (record.task, record.agent, kind, record.seed), _sessions_of(record)
            means, measures = ([short(np.mean(told[part])) for part in SESSION_MEASURES], dict(record.measures))
            seconds = (f"{seconds:.1f}" for seconds in (record.train_seconds, record.evaluate_seconds))
            versions = (dict(record.versions).get(package, "") for package in PACKAGES)
            taken = (short(measures[part]) for part in RUN_MEASURES)
            runs.append(
                (*name, record.key, record.steps, len(record.click_rewards), *means, *taken, *seconds, *versions)
            )
            sessions += [(*name, part, *map(short, told[part])) for part in SESSION_MEASURES]
            pairs = zip(record.curve, record.depth_curve, strict=True)
            curves += [
                (record.task, record.agent, record.seed, step, short(reward), short(depth))
                for (step, reward), (_, depth) in pairs
            ]
    head = ("task", "agent", "kind", "seed")
    columns = ("key", "steps", "sessions", *MEASURES, "train_seconds", "evaluate_seconds", *PACKAGES)
    write_csv(folder / RUNS, (*head, *columns), runs)
    users = max(len(row) for row in sessions) - len(head) - 1
    write_csv(folder / SESSIONS, (*head, "part", *range(users)), sessions)
    write_csv(folder / CURVES, ("task", "agent", "seed", "step", *CURVE_MEASURES), curves)
    write_text(folder / ABOUT, json.dumps(vars(about), indent=2) + "\n")
    return read_slate_results(folder)


def _sessions_of(record: RunRecord) -> dict[str, Sequence[float]]:
    """(U,) of each measure of a session."""
    told = dict(record.sessions)
    return told | {"click_reward": record.click_rewards, "order_reward": record.order_rewards}


def read_slate_results(folder: Path) -> SlateResults:
    """Read what :func:`write_slate_results` wrote.

    Raises:
        ValueError: If a file is missing or damaged.
    """
    try:
        about = About(**json.loads((folder / ABOUT).read_text(encoding="utf-8")))
        found: dict[tuple[str, str, str], dict[str, list]] = {}
        for task, agent, kind, _, part, *values in read_csv(folder / SESSIONS):
            of_agent = found.setdefault((task, agent, kind), {name: [] for name in MEASURES})
            of_agent[part].append([float(value) for value in values if value])
        with (folder / RUNS).open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for part in RUN_MEASURES:
                    found[row["task"], row["agent"], row["kind"]][part].append([float(row[part])])
        points: dict[tuple[str, str, int], list[list[float]]] = {}
        for task, agent, seed, *values in read_csv(folder / CURVES):
            points.setdefault((task, agent, int(seed)), []).append([float(value) for value in values])
        results = [
            SlateResult(*name, {part: np.array(rows) for part, rows in values.items()})
            for name, values in found.items()
        ]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{folder}: is not a results folder of slates ({type(error).__name__}: {error}); "
            "make one with `python -m benchmarks.slates`"
        ) from error
    return SlateResults(about, tuple(results), tuple(_curve(name, rows) for name, rows in points.items()))


def _curve(name: tuple[str, str, int], rows: Sequence[Sequence[float]]) -> SlateCurve:
    steps, *values = np.array(rows).T
    return SlateCurve(*name, steps, dict(zip(CURVE_MEASURES, values, strict=True)))


def slate_rows(results: SlateResults, how: Bootstrap | None = None) -> list[SlateRow]:
    """Intervals of every agent and bound of every task, in the order of their total reward, agents first."""
    how, rows = how or Bootstrap(), []
    for task in results.tasks:
        here = [result for result in results.results if result.task == task]
        anchors = {result.agent: result.total.mean() for result in here if result.kind == BOUND}
        own = [_row(result, anchors, how) for result in here]
        rows += sorted(own, key=lambda row: (row.kind, row.values["total_reward"].estimate))
    return rows


def _row(result: SlateResult, anchors: dict[str, float], how: Bootstrap) -> SlateRow:
    values = {part: crossed_bootstrap(numbers, "mean", how) for part, numbers in result.values.items()}
    random, planner = anchors.get("random", np.nan), anchors.get("planner", np.nan)
    score = values["total_reward"].scaled(random, planner) if planner > random else None
    return SlateRow(result.task, result.agent, result.kind, *result.total.shape, values, score)


def slate_differences(results: SlateResults, how: Bootstrap | None = None) -> list[Difference]:
    """Paired differences in total reward of every pair of agents of a task."""
    agents = [result for result in results.results if result.kind == AGENT]
    return pairwise_differences(agents, how or Bootstrap())
