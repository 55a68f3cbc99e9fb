"""Malformed logs and simulators, in large numbers: ``python -m benchmarks.fuzz --inputs 100000``.

Valid CSV logs, Parquet logs and simulator folders are damaged, their bytes or their structure, and read. An input may
turn out to be valid, or be refused with the documented error (``LogError``, ``SimulatorError``). Anything else is a
finding: another exception, a crash, a hang, or memory out of proportion. Findings are kept in OUT/findings, each as
the folder that was read and ``error.txt``; ``--replay FOLDER`` reads one again. The exit status is 1 where there are
any.

A run may be stopped at any moment; the same command goes on.
"""

import dataclasses
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.aggregate import write_csv, write_text
from benchmarks.fuzz_inputs import LEVELS, malformed, read_input, valid_files
from benchmarks.fuzz_watch import OUTCOMES, Limits, try_inputs, write_files
from benchmarks.jobs import Job, Workers, job_key, keep_jobs, parts_folder
from benchmarks.tables import Table, grid
from benchmarks.throughput import machine
from recsim_hrl.simulator.folder import ABOUT_FILE

READERS = ("csv", "parquet", "simulator")
COLUMNS = ("reader", "level", "inputs", *OUTCOMES, "longest_seconds", "rss_mib")

_GOOD = OUTCOMES[:2]
_CHUNK = 2_000
"""Inputs of one job."""


@dataclass(frozen=True)
class FuzzConfig:
    """How many inputs are tried, and what each may take."""

    out: Path = Path("runs/fuzz")
    """Folder of fuzz.csv, fuzz.md and findings."""
    inputs: int = 100_000
    """Inputs in all, shared by readers and levels."""
    seed: int = 0
    """Draws the damage."""
    seconds: float = 10.0
    """Longest time that one input may take; in a healthy reader none takes a tenth of it."""
    memory_mb: int = 256
    """MiB that one input may take beyond a valid one."""
    replay: Path | None = None
    """Read one finding again, and nothing else."""

    def __post_init__(self) -> None:
        least = {"inputs": len(READERS) * len(LEVELS), "seconds": 0.1, "memory_mb": 16}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise ValueError(f"fuzz {name}: got {getattr(self, name)}, allowed {low} or more; raise it")


def try_chunk(reader: str, level: str, seed: int, first: int, stop: int, limits: Limits, out: str) -> bytes:
    """Try some inputs and keep findings; JSON of how many ended how, the longest time and the highest memory."""
    outcomes: Counter[str] = Counter()
    longest = highest = 0.0
    for number, ended in try_inputs(reader, level, seed, range(first, stop), limits):
        outcomes[ended.outcome] += 1
        longest, highest = max(longest, ended.seconds), max(highest, ended.rss_mib)
        if ended.outcome not in _GOOD:
            folder = Path(out) / "findings" / f"{reader}-{level}-{seed}-{number}"
            write_files(malformed(reader, level, valid_files(reader), seed, number), folder)
            write_text(folder / "error.txt", f"{ended.outcome}\n{ended.message}\n")
    return json.dumps({"outcomes": outcomes, "longest_seconds": longest, "rss_mib": highest}).encode()


def jobs_of(config: FuzzConfig) -> dict[tuple[str, str], list[Job]]:
    """The jobs by reader and level."""
    kinds = [(reader, level) for reader in READERS for level in LEVELS]
    limits, jobs = Limits(config.seconds, config.memory_mb), {}
    for place, (reader, level) in enumerate(kinds):
        size = config.inputs // len(kinds) + (place < config.inputs % len(kinds))
        jobs[reader, level] = [
            Job(
                f"{reader}, {level}, from {first:,}",
                f"{reader}-{level}-{first}-{min(first + _CHUNK, size)}.json",
                (reader, level, config.seed, first, min(first + _CHUNK, size), limits, str(config.out)),
                min(first + _CHUNK, size) - first,
            )
            for first in range(0, size, _CHUNK)
        ]
    return jobs


def run(config: FuzzConfig) -> int:
    """Try all inputs and write the table; the number of findings."""
    jobs = jobs_of(config)
    key = job_key({name: str(value) for name, value in dataclasses.asdict(config).items() if name != "inputs"})
    with parts_folder(config.out, key) as parts:
        every = [job for of_kind in jobs.values() for job in of_kind]
        keep_jobs(every, parts, try_chunk, Workers(1), _describe, "chunks")
        rows = [(*kind, *_summed([(parts / job.file).read_bytes() for job in of])) for kind, of in jobs.items()]
        write_csv(config.out / "fuzz.csv", COLUMNS, rows)
        write_text(config.out / "fuzz.md", _page(rows, config))
    print(grid(_table(rows)))
    findings = [row[3 + len(_GOOD) : 3 + len(OUTCOMES)] for row in rows]
    return sum(map(sum, findings))


def _describe(content: bytes) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(json.loads(content)["outcomes"].items()))


def _summed(contents: list[bytes]) -> tuple[float, ...]:
    """Inputs, each outcome, the longest time and the highest memory of some jobs."""
    parts = [json.loads(content) for content in contents]
    outcomes = [sum(part["outcomes"].get(outcome, 0) for part in parts) for outcome in OUTCOMES]
    highest = (max(part[name] for part in parts) for name in ("longest_seconds", "rss_mib"))
    return (sum(outcomes), *outcomes, *(round(value, 2) for value in highest))


def _table(rows: list[tuple]) -> Table:
    head = ("reader", "damage to", "inputs", *OUTCOMES, "longest (s)", "memory (MiB)")
    return [head, *(tuple(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row) for row in rows)]


def _page(rows: list[tuple], config: FuzzConfig) -> str:
    command = f"python -m benchmarks.fuzz --inputs {config.inputs} --seed {config.seed}"
    text = (
        "Accepted and refused is as it should be. An input may take "
        f"{config.seconds:g} seconds, and {config.memory_mb} MiB more than a valid one."
    )
    return f"{grid(_table(rows))}\n\n{text} Measured on: {machine()}.\nMade by `{command}`.\n"


def main(config: FuzzConfig) -> int:
    """Replay one finding, or try all inputs; 1 where there are findings."""
    if config.replay is None:
        return int(run(config) > 0)
    files = {path.name for path in config.replay.iterdir()}
    read_input("simulator" if ABOUT_FILE in files else "log", config.replay)
    print("accepted")
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(FuzzConfig, description=__doc__)))
