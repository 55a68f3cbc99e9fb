"""Long logs: time and memory of every stage from 1 to 10 million impressions: ``python -m benchmarks.long_logs``.

Every stage is a command that a user would type, in a fresh process, whose tree of processes is watched from outside
(:mod:`benchmarks.watch`). A row that is in OUT/long_logs.csv is kept, so the benchmark may be stopped and repeated; to
measure a row again, delete it. A tiny log comes first: what a stage takes on it is its fixed cost (imports, the
market), and the cost of an impression is what it takes beyond.
"""

import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import tyro

from benchmarks.aggregate import read_csv, write_csv
from benchmarks.fit_floor import measure_floor
from benchmarks.long_logs_report import COLUMNS, FLOOR, ROWS, Row, write_floor, write_report
from benchmarks.watch import CLI, watch
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.simulator.fit import BATCH, load_sequences

SHARD_ROWS = 100_000
"""Rows of a shard of the plain folder: 100 shards for ten million impressions."""
SHARDS = "read shards"
"""The stage that reads the plain folder."""
_SHORT = 3
_READ = "import sys; from recsim_hrl.data.log import InteractionLog; InteractionLog.open(sys.argv[1]).validate()"


@dataclass(frozen=True)
class LongLogsConfig:
    """Measure every stage on logs of the synthetic market."""

    out: Path = Path("runs/long_logs")
    """Folder of long_logs.csv, .md and .png, and of fit_floor.csv."""
    scratch: Path = Path("runs/long_logs-scratch")
    """Folder of the logs and simulators: 40 MB for each million impressions; it may be deleted afterwards."""
    sizes: tuple[int, ...] = (1_000_000, 2_000_000, 5_000_000, 10_000_000)
    """Impressions of each log."""
    tiny: int = 10_000
    """Impressions of the log that tells the fixed cost of each stage."""
    passes: int = 1
    """Passes of the fit."""

    def __post_init__(self) -> None:
        if not 0 < self.tiny < min(self.sizes, default=0):
            raise ValueError(
                f"long_logs: got tiny={self.tiny}, sizes={self.sizes}, allowed sizes above tiny, and tiny above 0"
            )


@dataclass(frozen=True)
class Stage:
    """One measured command."""

    name: str
    command: Callable[[Path, LongLogsConfig, int], Sequence[str | Path | int]]
    """What is run, given the folder of this size, the settings and the impressions."""
    makes: str | None = None
    """What it leaves in the folder for later stages."""
    repeats: int = 1
    """Times that it is run on a long log; of a few seconds that others disturb, the fastest run counts."""


STAGES = (
    Stage(
        "generate",
        lambda folder, _, size: (*CLI, "generate", "--out", folder / "log", "--impressions", size, "--seed", 3),
        makes="log",
    ),
    Stage("read", lambda folder, *_: (sys.executable, "-c", _READ, folder / "log"), repeats=_SHORT),
    Stage(SHARDS, lambda folder, *_: (sys.executable, "-c", _READ, folder / "shards"), repeats=_SHORT),
    Stage("report", lambda folder, *_: (*CLI, "report", folder / "log"), repeats=_SHORT),
    Stage("split", lambda folder, *_: (*CLI, "split", folder / "log", "--out", folder / "halves"), repeats=_SHORT),
    Stage(
        "fit",
        # In batches of one size, so that the cost of an impression is the same for all lengths.
        lambda folder, config, _: (
            *(*CLI, "fit", folder / "log", "--out", folder / "fit"),
            *("--passes", config.passes, "--batch", BATCH[1]),
        ),
        makes="fit",
    ),
    Stage(
        "evaluate",
        lambda folder, *_: (
            *(*CLI, "evaluate", folder / "fit", "--log", folder / "log"),
            *("--out", folder / "validity", "--no-fidelity", "--no-details"),
        ),
    ),
)


def write_shards(log: InteractionLog, folder: Path, rows: int = SHARD_ROWS) -> None:
    """Write ``log`` as others would: a plain folder of Parquet files without metadata, and an item table."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(log.path / "items.parquet", folder / "items.parquet")
    number = 0
    for part in sorted((log.path / "interactions").iterdir()):
        for block in pq.ParquetFile(part).iter_batches(rows):
            with pq.ParquetWriter(folder / f"{number}.parquet", block.schema) as writer:
                writer.write_batch(block)
            number += 1


def measure_stages(config: LongLogsConfig, size: int, rows: list[Row]) -> None:
    """Add what is missing of one size to ``rows``, and write them after every stage."""
    done = {row.stage for row in rows if row.size == size}
    folder = config.scratch / str(size)
    folder.mkdir(parents=True, exist_ok=True)
    for stage in STAGES:
        if stage.name in done and not (stage.makes and _is_wanted(folder / stage.makes, done)):
            continue
        if stage.name == SHARDS:
            write_shards(InteractionLog.open(folder / "log"), folder / "shards")
        repeats = _SHORT if size == config.tiny else stage.repeats
        command = [str(word) for word in stage.command(folder, config, size)]
        watched = min((watch(command) for _ in range(repeats)), key=lambda watched: watched.seconds)
        if stage.name not in done:
            rows.append(Row.of(stage.name, size, InteractionLog.open(folder / "log").rows, watched))
            write_csv(config.out / ROWS, COLUMNS, (row.cells for row in rows))
        print(f"{size:>12,}  {stage.name:12s} {watched.seconds:8.1f} s {watched.rss_mib:8.0f} MiB", flush=True)


def _is_wanted(path: Path, done: set[str]) -> bool:
    """Whether a later stage still needs what is not there any more."""
    return not path.exists() and len(done) < len(STAGES)


def main(config: LongLogsConfig) -> None:
    """Measure what is missing and write the tables and the figure."""
    path = config.out / ROWS
    rows = [Row.read(cells) for cells in read_csv(path)] if path.exists() else []
    for size in (config.tiny, *config.sizes):
        measure_stages(config, size, rows)
    if not (config.out / FLOOR).exists():
        log = InteractionLog.open(config.scratch / str(config.sizes[0]) / "log")
        write_floor(measure_floor(load_sequences(log), log.items, BATCH[1]), config.out)
    print(write_report(rows, config.out))


if __name__ == "__main__":
    main(tyro.cli(LongLogsConfig, description=__doc__))
