"""Commands that write, check and split a log."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from recsim_hrl.data.behaviour import BehaviourConfig
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.splits import split_by_session, split_by_time
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.data.world_log import write_log


@dataclass(frozen=True)
class Generate:
    """Write a log of the synthetic market: users with taste, interest, intent and trust, whose truth is known.

    The log is a folder of Parquet files; it also tells which world it comes from, so that `evaluate` can hold a
    simulator against the true users.
    """

    out: Path
    """Folder of the log; a log that is there is replaced."""
    impressions: int = 4_000_000
    """Impressions, rounded up to whole sessions; 8_600_000 is the size of the paper's log."""
    items: int = WorldConfig.items
    """Items of the catalogue; the paper's has 553_156."""
    world_seed: int = WorldConfig.seed
    """Draws the items and the users."""
    seed: int = 0
    """Draws the visits: who comes, what is shown, how they respond."""
    confounded: bool = False
    """Let the logging policy follow the users' hidden taste: what is then learned from the log is wrong (see
    docs/simulator.md)."""

    def run(self) -> None:
        _at_least("impressions", self.impressions, 1)
        world = World(WorldConfig(items=self.items, seed=self.world_seed))
        write_log(world, self.out, self.impressions, self.seed, BehaviourConfig(confounded=self.confounded))
        print(InteractionLog.open(self.out).report())


@dataclass(frozen=True)
class Report:
    """Check every row of a log and count what it holds: impressions, click rate, orders, sessions, users, items."""

    log: Positional[Path]
    """The log: a folder, or one interactions file (.parquet, .csv)."""
    items: Path | None = None
    """The item table, where it is not beside the interactions under the name `items`."""
    json: bool = False
    """Print a JSON object."""

    def run(self) -> None:
        log = InteractionLog.open(self.log, self.items)
        log.validate()
        found = log.report()
        print(found.to_json() if self.json else found)


@dataclass(frozen=True)
class SplitLog:
    """Split a log into two, OUT/train and OUT/test, never inside a session."""

    log: Positional[Path]
    """The log to split; it stays as it is."""
    out: Path
    """Folder for the two logs."""
    items: Path | None = None
    """The item table, where it is not beside the interactions under the name `items`."""
    by: Literal["time", "session"] = "time"
    """Cut at a moment, so that train lies before test, or assign sessions at random."""
    fraction: float | None = None
    """Share of the sessions that goes to train. Without, a split by time is made where the knowledge of the log's item
    vectors ends, if its metadata tell a `boundary`, and all others in the middle."""
    boundary: float | None = None
    """Moment of a split by time in seconds since 1970, in place of the fraction."""
    seed: int = 0
    """Draws the sessions of a split by session."""

    def __post_init__(self) -> None:
        if self.boundary is not None and self.by != "time":
            raise ValueError(f"split boundary: got {self.boundary} with --by {self.by}, allowed --by time; drop one")

    def run(self) -> None:
        log = InteractionLog.open(self.log, self.items)
        if self.by == "time":
            parts = split_by_time(log, self.out, self.fraction, self.boundary)
        else:
            parts = split_by_session(log, self.out, 0.5 if self.fraction is None else self.fraction, self.seed)
        for part in parts:
            print(part.report())


def _at_least(name: str, value: int, low: int) -> None:
    if value < low:
        raise ValueError(f"{name}: got {value}, allowed {low} or more")
