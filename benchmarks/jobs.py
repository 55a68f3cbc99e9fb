"""Many jobs side by side, each of whose results is a file: what is finished is kept, and never done again.

The driver may be stopped at any moment, by Ctrl-C or worse: finished jobs are complete files, the others leave
nothing, and the same call goes on from there. A worker keeps its result itself where it sees the driver's folder, so
that nothing is lost between the end of a job and the driver's next breath; where it does not, on another machine of a
cluster, the driver keeps what it is sent.
"""

import contextlib
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from benchmarks.pools import Pool, check_workers, open_pool
from recsim_hrl.replaced import replaced_file


@dataclass(frozen=True)
class Job:
    """One call whose result is kept."""

    name: str
    """What progress calls it."""
    file: str
    """Name of the file that keeps the result; it tells everything that decides the outcome, by a hash."""
    arguments: tuple
    """Of the call. They decide the result; where it runs does not."""
    cost: int = 1
    """For progress, and for starting long jobs first."""


@dataclass(frozen=True)
class Workers:
    """Where jobs run."""

    workers: int
    """Jobs at a time, see :func:`benchmarks.pools.open_pool`."""
    ray: str | None = None
    """Address of Ray; None for processes of this machine."""

    def __post_init__(self) -> None:
        check_workers(self.workers)


def job_key(about: dict[str, Any]) -> str:
    """16 hexadecimal digits that name the JSON values ``about``."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def keep_file(path: Path, payload: bytes) -> Path:
    """Write a file, whole or not at all."""
    with replaced_file(path) as beside:
        beside.write_bytes(payload)
    return path


@contextlib.contextmanager
def parts_folder(out: Path, key: str) -> Iterator[Path]:
    """A folder beside ``out`` for the parts that it is made of; it goes when the block ends well, and stays otherwise.

    Args:
        out: What is made of the parts.
        key: Of everything that decides them, so that a changed request does not find the parts of another.
    """
    parts = out.with_name(f"{out.name}.parts")
    yield parts / key
    shutil.rmtree(parts / key, ignore_errors=True)
    with contextlib.suppress(OSError):  # another request, which was interrupted, has its parts there
        parts.rmdir()


def keep_jobs(
    jobs: Sequence[Job],
    folder: Path,
    work: Callable[..., bytes],
    where: Workers,
    describe: Callable[[bytes], str] | None = None,
    noun: str = "jobs",
    stream: TextIO | None = None,
    shared: Sequence[Any] = (),
) -> None:
    """Do the jobs whose files are not there yet, the costliest first, and keep the file of each.

    Args:
        jobs: The jobs; their files must differ.
        folder: Where the files are kept.
        work: Called as ``work(*shared, *job.arguments)`` in a worker; gives the file's content. It must be picklable.
        where: Processes or Ray.
        describe: Says in a few words what a file tells.
        noun: What the jobs are.
        stream: Where progress goes; standard error by default.
        shared: First arguments of all calls, sent to a worker once.

    Raises:
        RuntimeError: If jobs failed; the others are kept.
    """
    stream, folder = stream or sys.stderr, folder.resolve()
    waiting = sorted((job for job in jobs if not (folder / job.file).exists()), key=lambda job: -job.cost)
    if len(waiting) < len(jobs):
        print(f"{len(jobs) - len(waiting)} of {len(jobs)} {noun} are finished already", file=stream)
    if not waiting:
        return
    folder.mkdir(parents=True, exist_ok=True)
    failures: list[str] = []
    progress = Progress(sum(job.cost for job in waiting), len(waiting), noun, stream)
    with progress, open_pool(min(where.workers, len(waiting)), where.ray) as pool:
        for job, line, failed in _ended(pool, waiting, folder, work, describe, shared):
            progress.advance(job.cost, f"{job.name}: {'FAILED, ' if failed else ''}{line}")
            if failed:
                failures.append(f"{job.name}: {line}")
    if failures:
        raise RuntimeError(
            f"{len(failures)} of {len(waiting)} {noun} failed, first {failures[0]}; "
            "the others are kept: mend the cause and repeat the command to do only these again"
        )


def _ended(
    pool: Pool,
    jobs: Sequence[Job],
    folder: Path,
    work: Callable[..., bytes],
    describe: Callable[[bytes], str] | None,
    shared: Sequence[Any],
) -> Iterator[tuple[Job, str, bool]]:
    """The jobs as they end, each kept, with a line that tells how it went and whether it failed."""
    common = tuple(pool.share(value) for value in shared)
    calls = [(work, str(folder), job.file, *common, *job.arguments) for job in jobs]
    for outcome in pool.finished(_work_and_keep, calls):
        job = jobs[outcome.place]
        if outcome.error is not None:
            yield job, f"{type(outcome.error).__name__}: {outcome.error}", True
            continue
        content, seconds = outcome.result
        if not (folder / job.file).exists():
            keep_file(folder / job.file, content)
        yield job, f"{describe(content)}, {seconds:.0f} s" if describe else f"{seconds:.0f} s", False


def _work_and_keep(work: Callable[..., bytes], folder: str, file: str, *arguments: Any) -> tuple[bytes, float]:
    """In the worker: one job, kept at once where the driver's folder is seen; returns its file and its seconds."""
    started = time.monotonic()
    content = work(*arguments)
    if Path(folder).is_dir():
        keep_file(Path(folder) / file, content)
    return content, time.monotonic() - started


class Progress:
    """A bar with the time left on a terminal, a plain line for each job elsewhere."""

    def __init__(self, cost: int, jobs: int, noun: str, stream: TextIO) -> None:
        self._stream, self._noun = stream, noun
        self._cost, self._jobs = cost, jobs
        self._spent, self._finished = 0, 0
        self._started = time.monotonic()
        self._bar: tqdm | None = None

    def __enter__(self) -> "Progress":
        if self._stream.isatty():
            form = "{desc}{percentage:3.0f}%|{bar}| {elapsed} spent, {remaining} left"
            description = f"0/{self._jobs} {self._noun} "
            self._bar = tqdm(total=self._cost, file=self._stream, bar_format=form, desc=description)
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, cost: int, line: str) -> None:
        """One more job is over; ``line`` says how it went."""
        self._spent += cost
        self._finished += 1
        if self._bar is not None:
            self._bar.set_description_str(f"{self._finished}/{self._jobs} {self._noun} ", refresh=False)
            self._bar.update(cost)
            self._bar.write(line, file=self._stream)
            return
        elapsed = time.monotonic() - self._started
        left = elapsed * (self._cost - self._spent) / max(self._spent, 1)
        print(f"[{self._finished}/{self._jobs}] {line}, about {left:.0f} s left", file=self._stream, flush=True)
