"""What a log of another size would need, by the measured costs: ``python -m benchmarks.scale``.

Multiplies the costs that ``benchmarks.costs`` measured on one core with the size of a log, and puts the tables between
the marks of docs/scale.md. The model is linear: it knows of no cache, network or disk that gives way, and so it tells
the least that is needed.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.aggregate import read_csv, write_text

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "costs"
PAGE = ROOT / "docs" / "scale.md"
COLUMNS = ("cost", "value", "unit", "per", "what")

FIT_PASSES, FIT_CORES = 4, 2
"""Passes of a fit by default, and the processes that it can use at the most."""
SESSION_BYTES = 8
"""What checking a log keeps of each session (docs/data.md)."""
MEMORY_GB, WEEK_HOURS = 64, 168
"""What is taken to be available: the memory of one machine, and the patience for one stage."""


@dataclass(frozen=True)
class Cost:
    """What one unit of work takes of one core."""

    name: str
    value: float
    unit: str
    """s of one core, or B."""
    per: str
    what: str
    """What exactly was measured."""

    def row(self) -> list[str]:
        """The row of costs.csv."""
        return [self.name, f"{self.value:.4g}", self.unit, self.per, self.what]


@dataclass(frozen=True)
class Size:
    """A log."""

    name: str
    impressions: float
    sessions: float
    users: float


HRL_REC = Size("HRL-Rec's IRec-4B", 3.8e9, 141e6, 22.5e6)
"""Xie et al., "Hierarchical Reinforcement Learning for Integrated Recommendation" (AAAI 2021), Section 4.1."""


@dataclass(frozen=True)
class Need:
    """What one stage takes."""

    stage: str
    core_hours: float
    cores: int | None
    """Cores that can share it; None for as many as there are."""
    disk_gb: float = 0.0
    memory_gb: float = 0.0
    """Of one process."""

    @property
    def hours(self) -> float | None:
        """The least time that it takes; None where more cores always help."""
        return None if self.cores is None else self.core_hours / self.cores


@dataclass(frozen=True)
class Limit:
    """Something that gives way as a log grows."""

    what: str
    where: str
    at_size: str
    """What it comes to at the size in question."""
    breaks_at: float
    """Impressions from which on it no longer fits, other things in proportion."""


@dataclass(frozen=True)
class ScaleConfig:
    """Make the tables of docs/scale.md again from costs.csv."""

    costs: Path = RESULTS
    """Folder of costs.csv and about.json."""
    page: Path = PAGE
    """The page, with the marks that the tables stand between."""


def read_costs(folder: Path) -> list[Cost]:
    """The costs that were measured.

    Raises:
        ValueError: If a row cannot be read.
    """
    path = folder / "costs.csv"
    try:
        return [Cost(name, float(value), unit, per, what) for name, value, unit, per, what in read_csv(path)]
    except ValueError as error:
        raise ValueError(f"{path}: {error}; write it again with python -m benchmarks.costs") from error


def needs(costs: Mapping[str, float], size: Size) -> list[Need]:
    """What the stages from log to agent take; ``costs`` by name."""
    shown = size.impressions
    hours = {name: value * shown / 3600 for name, value in costs.items()}
    gigabytes = {name: value * shown / 1e9 for name, value in costs.items()}
    return [
        Need("write the log, checked", hours["log_write"], 1, disk_gb=gigabytes["log_size"]),
        Need("read it once, checked", hours["log_read"], 1, memory_gb=SESSION_BYTES * size.sessions / 1e9),
        Need("split it by time", hours["log_split"], 1, disk_gb=gigabytes["log_size"]),
        Need(
            f"fit a simulator, {FIT_PASSES} passes",
            FIT_PASSES * hours["fit_pass"],
            FIT_CORES,
            memory_gb=gigabytes["fit_memory"],
        ),
        Need("step users as often, item actions", hours["user_step"], None),
        Need("step users as often, embedding actions", hours["user_step_embedding"], None),
        Need(
            "play as many impressions with DDPG+, as a log",
            hours["rollout_ddpg"],
            None,
            disk_gb=gigabytes["rollout_size"],
        ),
        Need("train DDPG+ on as many user-steps", hours["training_step_ddpg"], 1),
        Need("train DQN on as many user-steps", hours["training_step_dqn"], 1),
    ]


def limits(costs: Mapping[str, float], size: Size) -> list[Limit]:
    """What gives way, the first one first: memory of one machine, or more than a week for a stage of few cores."""
    found = []
    for need in needs(costs, size):
        if need.memory_gb:
            at = f"{need.memory_gb:,.0f} GB"
            found.append(
                Limit(f"memory: {need.stage}", "one process", at, size.impressions * MEMORY_GB / need.memory_gb)
            )
        if need.hours is not None:
            cores = "1 core" if need.cores == 1 else f"{need.cores} cores"
            breaks_at = size.impressions * WEEK_HOURS / need.hours
            found.append(Limit(f"time: {need.stage}", cores, _duration(need.hours), breaks_at))
    pool = costs["pool_memory"] * size.users / 1e9
    found.append(
        Limit(
            "memory: every user in the simulator's pool, in place of a sample",
            "each process",
            f"{pool:,.0f} GB",
            size.impressions * MEMORY_GB / pool,
        )
    )
    return sorted(found, key=lambda limit: limit.breaks_at)


def costs_table(costs: Sequence[Cost]) -> str:
    """The measured costs for people."""
    lines = ["| what | cost | per | of this, one core does | measured as |", "|---|---:|---|---:|---|"]
    for cost in costs:
        rate = f"{float(f'{1 / cost.value:.3g}'):,.0f} a second" if cost.unit == "s" else "–"
        lines.append(f"| `{cost.name}` | {_small(cost)} | {cost.per} | {rate} | {cost.what} |")
    return "\n".join(lines)


def needs_table(costs: Mapping[str, float], size: Size) -> str:
    """What a log needs, for people."""
    lines = ["| stage | core-hours | cores that can share it | time at least | disk | memory of a process |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for need in needs(costs, size):
        cores = "any number" if need.cores is None else str(need.cores)
        least = "falls with the cores" if need.hours is None else _duration(need.hours)
        disk, memory = (f"{gb:,.0f} GB" if gb else "–" for gb in (need.disk_gb, need.memory_gb))
        lines.append(f"| {need.stage} | {need.core_hours:,.1f} | {cores} | {least} | {disk} | {memory} |")
    return "\n".join(lines)


def limits_table(costs: Mapping[str, float], size: Size) -> str:
    """What gives way first, for people."""
    found = limits(costs, size)
    lines = [
        f"| | limit | of | at {_billions(size.impressions)} impressions | gives way at |",
        "|---|---|---|---:|---:|",
    ]
    for place, limit in enumerate(found, start=1):
        verdict = "" if limit.breaks_at < size.impressions else ", beyond this log"
        of, at = (limit.where, limit.at_size), f"{_billions(limit.breaks_at)}{verdict}"
        lines.append(f"| {place} | {limit.what} | {' | '.join(of)} | {at} |")
    first = next(limit for limit in found if limit.what.startswith("memory"))
    full = f"{MEMORY_GB} GB are full at {_billions(first.breaks_at)} impressions"
    return "\n".join(
        [f"The first thing that does not run at all: **{first.what}** ({first.at_size}; {full}).", "", *lines]
    )


def _billions(impressions: float) -> str:
    number = impressions / 1e9
    return f"{number:,.2g} billion" if number < 100 else f"{number:,.0f} billion"


def _small(cost: Cost) -> str:
    if cost.unit == "B":
        return f"{cost.value:,.0f} B" if cost.value >= 100 else f"{cost.value:.1f} B"
    factor, unit = next(
        pair for pair in ((1e9, "ns"), (1e6, "µs"), (1e3, "ms"), (1, "s")) if cost.value * pair[0] < 1000
    )
    return f"{cost.value * factor:.3g} {unit}"


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{60 * hours:.0f} minutes"
    return f"{hours:.1f} hours" if hours < 48 else f"{hours / 24:,.1f} days"


def blocks(folder: Path) -> dict[str, str]:
    """The generated parts of the page by the name of their mark."""
    found = read_costs(folder)
    values = {cost.name: cost.value for cost in found}
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    made = f"Measured on: {about['machine']}.\nMade by `{about['command']}`."
    return {
        "costs": f"{costs_table(found)}\n\n{made}",
        "needs": needs_table(values, HRL_REC),
        "limits": limits_table(values, HRL_REC),
    }


def with_blocks(text: str, parts: Mapping[str, str]) -> str:
    """The page ``text`` with new ``parts`` between its marks ``<!-- name -->`` and ``<!-- /name -->``.

    Raises:
        ValueError: If a mark is missing.
    """
    for name, part in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, opened, rest = text.partition(start)
        _, closed, after = rest.partition(end)
        if not opened or not closed:
            raise ValueError(f"page: got no marks {start} and {end}, allowed both in this order; put them back")
        text = f"{before}{start}\n\n{part}\n\n{end}{after}"
    return text


def main(config: ScaleConfig) -> None:
    """Bring the page up to date."""
    parts = blocks(config.costs)
    write_text(config.page, with_blocks(config.page.read_text(encoding="utf-8"), parts))
    print("\n\n".join(parts[name] for name in ("needs", "limits")))


if __name__ == "__main__":
    main(tyro.cli(ScaleConfig, description=__doc__))
