"""Reads the reference policies that ``benchmarks.bounds`` measured: what agents are held against."""

import csv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.statistics import Interval

RESULTS = Path(__file__).parent / "results"
COLUMNS = (
    "market",
    "task",
    "policy",
    "sessions",
    "total_reward",
    "total_reward_low",
    "total_reward_high",
    "click_reward",
    "order_reward",
    "true_reward",
    "true_reward_low",
    "true_reward_high",
)
"""``true_reward``: what a policy of a simulator earns from the same users in the true world; empty where unknown."""


@dataclass(frozen=True)
class Bound:
    """Rewards per session of a reference policy that may look inside the simulator."""

    task: str
    policy: str
    sessions: int
    total: Interval
    click_reward: float
    order_reward: float


def bounds_path(simulator: str) -> Path:
    """Where the bounds of a market are kept: ``bounds.csv``, or ``bounds_<name>.csv`` for another than the default."""
    return RESULTS / ("bounds.csv" if simulator == "default" else f"bounds_{Path(simulator).name}.csv")


def read_bounds(path: Path, market: str = "test") -> list[Bound]:
    """Bounds of one market, in the order of the file; none if there is no such file.

    Args:
        path: A CSV file with the columns of ``COLUMNS``.
        market: "world" (the true one), "train" or "test" (the simulators). Agents are judged on "test".

    Raises:
        ValueError: If a column is missing or a number cannot be read.
    """
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{path}: columns {missing} are missing, expected {list(COLUMNS)}; write it with benchmarks.bounds"
            )
        rows = list(reader)
    bounds = []
    for line, row in enumerate(rows, start=2):
        if row["market"] != market:
            continue
        try:
            total = Interval(*(float(row[f"total_reward{end}"]) for end in ("", "_low", "_high")))
            rest = float(row["click_reward"]), float(row["order_reward"])
            bounds.append(Bound(row["task"], row["policy"], int(row["sessions"]), total, *rest))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} line {line}: {error}; write the file again with benchmarks.bounds") from error
    return bounds
