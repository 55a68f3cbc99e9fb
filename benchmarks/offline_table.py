"""Tables of the offline evaluation: each metric, its gain over DEERS, and the gain that the paper prints."""

import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.aggregate import write_csv, write_text
from benchmarks.paper import REFERENCE, ranking_gain
from benchmarks.ranking import METRICS, Ranking
from benchmarks.statistics import Bootstrap, Interval, crossed_bootstrap, paired_difference
from benchmarks.tables import Table, aligned, count, interval_text, section

Values = dict[str, np.ndarray]
"""Of one agent on one task: each metric (S, U), a row for each training seed, a column for each session."""
Gains = dict[tuple[str, str], Interval]
"""By agent and metric."""


def write_offline(rankings: Sequence[Ranking], silent: Sequence[str], command: str, folder: Path) -> str:
    """Write offline.csv, offline_gains.csv and offline.md of finished ``rankings``; returns the text for a terminal.

    Args:
        rankings: Of one preset.
        silent: Agents that were left out because they have no scores.
        command: What made them.
        folder: Of the results.
    """
    rows = [
        (one.task, one.agent, one.seed, one.key, one.log, one.counts.ranked)
        + tuple(f"{np.mean(one.metrics[name]):.6f}" for name in METRICS)
        for one in rankings
    ]
    write_csv(folder / "offline.csv", ("task", "agent", "seed", "key", "log", "sessions", *METRICS), rows)
    tables, told = [], []
    for task in dict.fromkeys(one.task for one in rankings):
        of_task = [one for one in rankings if one.task == task]
        values = values_of(of_task)
        gains = gains_of(values)
        tables.append(task_table(of_task, values, gains))
        for pair, gain in gains.items():
            told.append((task, *pair, *(f"{number:.6f}" for number in (gain.estimate, gain.low, gain.high))))
    write_csv(folder / "offline_gains.csv", ("task", "agent", "metric", "gain", "gain_low", "gain_high"), told)
    notes = legend(rankings, silent)
    blocks = ["# Held-out sessions, ranked", *(section(*table) for table in tables), *notes]
    write_text(folder / "offline.md", "\n\n".join([*blocks, f"Made by:\n\n```\n{command}\n```"]) + "\n")
    return "\n\n".join([*(aligned(*table) for table in tables), *notes])


def task_table(rankings: Sequence[Ranking], values: dict[str, Values], gains: Gains) -> tuple[str, Table]:
    """Title and table of the agents of one task, from the lowest MAP to the highest."""
    order = sorted(values, key=lambda agent: values[agent]["map"].mean())
    seeds = max(len(matrices["map"]) for matrices in values.values())
    title = f"Task {rankings[0].task}: {rankings[0].counts.ranked} held-out sessions, {count(seeds, 'training seed')}"
    header = ("", *(cell for name in METRICS.values() for cell in (name, "gain", "paper")))
    return title, [header, *((agent, *_cells(agent, values, gains)) for agent in order)]


def values_of(rankings: Sequence[Ranking]) -> dict[str, Values]:
    """Of every agent of one task."""
    agents = dict.fromkeys(one.agent for one in rankings)
    return {
        agent: {name: np.array([one.metrics[name] for one in rankings if one.agent == agent]) for name in METRICS}
        for agent in agents
    }


def _cells(agent: str, values: dict[str, Values], gains: Gains) -> list[str]:
    """Each metric of an agent, its gain, and the paper's."""
    cells = []
    for place, name in enumerate(METRICS):
        cells.append(interval_text(crossed_bootstrap(values[agent][name], "mean", Bootstrap()), "{:.4f}"))
        cells += [interval_text(gains.get((agent, name)), "{:+.2%}"), ranking_gain(agent, place)]
    return cells


def gains_of(values: dict[str, Values]) -> Gains:
    """Of every agent of one task over DEERS; none without DEERS."""
    if REFERENCE not in values:
        return {}
    return {
        (agent, name): paired_difference(values[agent][name], values[REFERENCE][name], Bootstrap(), relative=True)
        for agent, name in itertools.product(values, METRICS)
        if agent != REFERENCE
    }


def legend(rankings: Sequence[Ranking], silent: Sequence[str]) -> list[str]:
    """What the tables are of, in paragraphs."""
    notes = [
        "Each agent orders the items of a session by its scores at the session's start. MAP takes a click or an order "
        "as relevant; NDCG gains 1 by a click and 5 by an order. Items of equal score share one place. Brackets are "
        "95% bootstrap intervals over training seeds and sessions, paired for gains. The paper's gains are of its "
        "Table 2, on the log of a shop: levels cannot be compared."
    ]
    for log, counts in {one.log: one.counts for one in rankings}.items():
        notes.append(
            f"Log `{log}`: of {counts.sessions} sessions {counts.without_click} have no click and "
            f"{counts.of_one_item} one item only, and do not count; {counts.without_history} of the {counts.ranked} "
            "that do are a user's first, with empty histories."
        )
    if REFERENCE not in {one.agent for one in rankings}:
        notes.append(f"Without `{REFERENCE}` among the agents there is nothing to gain over: those columns are empty.")
    if silent:
        notes.append(f"Left out, as they have no scores of items: {', '.join(f'`{agent}`' for agent in silent)}.")
    return notes
