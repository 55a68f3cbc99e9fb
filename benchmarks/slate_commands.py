"""What commands that judge agents of slates share: the market that is asked for, and what results say of it."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from benchmarks.aggregate import About
from benchmarks.run import SweepConfig
from benchmarks.tasks import Preset


@dataclass(frozen=True)
class SlateSweepConfig(SweepConfig):
    """What a command asks of a preset of slates, and of which market."""

    simulator: str | None = None
    """Name or folder of other simulators with the splits train and test, for example of MovieLens-1M."""

    def about(self, module: str, preset: Preset) -> About:
        """What the results of ``python -m benchmarks.MODULE`` are of, and how a reader gets them all.

        A market goes by its name: where it, or the results, happened to lie is nothing that a reader can use.
        """
        command = f"python -m benchmarks.{module} --preset {self.preset}"
        command += " --simulator FOLDER" if self.simulator else ""
        return About(preset.name, Path(preset.tasks[0].simulator).name, command)


def on_simulator(preset: Preset, simulator: str | None) -> Preset:
    """The same preset on another market, if one is given."""
    if simulator is None:
        return preset
    return dataclasses.replace(
        preset, tasks=tuple(dataclasses.replace(task, simulator=simulator) for task in preset.tasks)
    )
