"""Event logs: time and memory of a reader on events in Taobao's format: ``python -m benchmarks.event_logs``.

The events are drawn, and in size like the publisher's: a hundred a user, 24 an item, in nine days. The command is the
one that a user would type, in a fresh process, whose tree of processes is watched from outside
(:mod:`benchmarks.watch`). A size that is in OUT/event_logs.csv is kept; to measure it again, delete its row.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import tyro

from benchmarks.aggregate import read_csv, write_csv
from benchmarks.watch import CLI, watch
from recsim_hrl.data.log import InteractionLog

RESULTS = "event_logs.csv"
COLUMNS = ("events", "file_mb", "impressions", "items", "seconds", "cpu_seconds", "rss_mib")

_BLOCK = 1_000_000
_EVENTS_A_USER, _EVENTS_AN_ITEM, _EVENTS_A_VISIT, _CATEGORIES = 100, 24, 10, 9_439
_FIRST_SECOND, _DAYS = 1_511_539_200, 9
_BEHAVIOURS, _SHARES = ("pv", "cart", "fav", "buy"), (0.895, 0.055, 0.03, 0.02)


@dataclass(frozen=True)
class EventLogsConfig:
    """Measure ``recsim-hrl taobao`` on drawn events."""

    out: Path = Path("runs/event_logs")
    """Folder of event_logs.csv."""
    scratch: Path = Path("runs/event_logs-scratch")
    """Folder of the events and the logs: 31 MB for each million events, and as much again while they are sorted."""
    sizes: tuple[int, ...] = (1_000_000, 5_000_000, 20_000_000)
    """Events of each file."""
    seed: int = 0
    """Draws the events."""

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise ValueError(f"event_logs sizes: got {self.sizes}, allowed one or more, each 1 or more; raise them")


def write_events(path: Path, events: int, seed: int) -> None:
    """Write a UserBehavior.csv of ``events`` rows: visits of ten events in a quarter of an hour."""
    rng = np.random.default_rng(seed)
    users, items = max(1, events // _EVENTS_A_USER), max(1, events // _EVENTS_AN_ITEM)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for first in range(0, events, _BLOCK):
            rows = min(_BLOCK, events - first)
            visits = -(-rows // _EVENTS_A_VISIT)
            user = np.repeat(rng.integers(1, users + 1, visits), _EVENTS_A_VISIT)[:rows]
            start = np.repeat(rng.integers(0, _DAYS * 86_400 - 900, visits), _EVENTS_A_VISIT)[:rows]
            item = (items * rng.random(rows) ** 3).astype(np.int64) + 1
            table = pa.table(
                {
                    "user": user,
                    "item": item,
                    "category": item % _CATEGORIES,
                    "behaviour": rng.choice(_BEHAVIOURS, rows, p=_SHARES),
                    "seconds": _FIRST_SECOND + start + rng.integers(0, 900, rows),
                }
            )
            options = pa_csv.WriteOptions(include_header=False, quoting_style="none")
            pa_csv.write_csv(table.take(rng.permutation(rows)), file, options)


def measure(config: EventLogsConfig, events: int) -> tuple[object, ...]:
    """One row of the results."""
    folder = config.scratch / str(events)
    source, log = folder / "UserBehavior.csv", folder / "log"
    write_events(source, events, config.seed)
    watched = watch([*CLI, "taobao", str(source), "--out", str(log)])
    opened = InteractionLog.open(log)
    return (
        events,
        round(source.stat().st_size / 1e6),
        opened.rows,
        len(opened.items),
        round(watched.seconds, 1),
        round(watched.cpu_seconds, 1),
        round(watched.rss_mib),
    )


def main(config: EventLogsConfig) -> None:
    """Measure the sizes that are missing."""
    path = config.out / RESULTS
    rows: list[tuple[object, ...]] = [tuple(cells) for cells in read_csv(path)] if path.exists() else []
    for events in config.sizes:
        if str(events) not in (str(row[0]) for row in rows):
            rows.append(measure(config, events))
            write_csv(path, COLUMNS, rows)
    for row in (COLUMNS, *rows):
        print("".join(f"{cell!s:>14}" for cell in row))


if __name__ == "__main__":
    main(tyro.cli(EventLogsConfig, description=__doc__))
