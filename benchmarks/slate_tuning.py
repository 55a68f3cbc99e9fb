"""The tuning behind the settings of agents of slates: as many trials of the same length for every agent.

    python -m benchmarks.slate_tuning

Rounds, seeds and the choice of the winner are those of :mod:`benchmarks.tuning`. Settings are tried on the task slates
alone, and only on its ``train`` simulator; the other tasks take the winners over. Stop it whenever you like: finished
trials are not repeated.
"""

from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks import tuning
from benchmarks.slate_settings import SLATE_TRIALS
from benchmarks.slate_tasks import STEPS, entry_with, slate_preset
from benchmarks.tuning import Family, TuningConfig

SLATES = Family(slate_preset("full").tasks[:1], SLATE_TRIALS, entry_with)
"""Agents of RecSlate."""


@dataclass(frozen=True)
class SlateTuningConfig(TuningConfig):
    """What is tried, and how long."""

    out: Path = Path("benchmarks/results/slate_tuning.csv")
    """The table; trials that it holds are not repeated."""
    agents: tuple[str, ...] = tuple(SLATE_TRIALS)
    """Agents to tune."""
    steps: int = STEPS["full"]
    """Requests per trial."""
    impressions: int = 12_800
    """Requests made when a trial is judged, if nobody left before the last: 640 sessions."""


if __name__ == "__main__":
    tuning.main(tyro.cli(SlateTuningConfig), SLATES)
