"""Runs a list of runs side by side, keeps each as it finishes, and skips those that are already kept.

A sweep may be stopped at any moment, by Ctrl-C or worse: finished runs are complete files, the others leave nothing,
and the same call goes on from there.
"""

import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import TextIO

from tqdm import tqdm

from benchmarks.processes import processes
from benchmarks.records import RunRecord, finished_records, record_name, save_record
from benchmarks.tasks import Run

Execute = Callable[[Run, str], RunRecord]
"""Does one run, given its key. It must be picklable: a function of a module, or a partial of one."""


def sweep(
    keyed_runs: Sequence[tuple[Run, str]],
    folder: Path,
    execute: Execute,
    workers: int = 2,
    stream: TextIO | None = None,
) -> list[RunRecord]:
    """Do the runs that are not finished yet, the longest first, and return the records of all.

    Args:
        keyed_runs: Runs with their keys (:func:`benchmarks.records.run_key`).
        folder: Where finished runs are kept.
        execute: What does a run; called in a worker process.
        workers: Runs at a time, one process each.
        stream: Where progress goes; standard error by default.

    Raises:
        ValueError: If ``workers`` is below 1.
        RuntimeError: If runs failed; the others are kept.
    """
    if workers < 1:
        raise ValueError(f"workers: got {workers}, allowed 1 or more; use one for each core")
    stream = stream or sys.stderr
    waiting = [
        (run, key)
        for run, key in keyed_runs
        if not (folder / record_name(run.task.name, run.entry.agent, run.seed, key)).exists()
    ]
    waiting.sort(key=lambda pair: -pair[0].cost)
    if len(waiting) < len(keyed_runs):
        print(f"{len(keyed_runs) - len(waiting)} of {len(keyed_runs)} runs are finished already", file=stream)
    failures = _work(waiting, folder, execute, workers, stream) if waiting else []
    if failures:
        raise RuntimeError(
            f"{len(failures)} of {len(waiting)} runs failed, first {failures[0]}; "
            "the others are kept: mend the cause and repeat the command to do only these again"
        )
    return finished_records(keyed_runs, folder)


def _work(
    waiting: Sequence[tuple[Run, str]], folder: Path, execute: Execute, workers: int, stream: TextIO
) -> list[str]:
    """Do ``waiting`` in worker processes; returns a line for each run that failed."""
    failures: list[str] = []
    progress = Progress(sum(run.cost for run, _ in waiting), len(waiting), stream)
    with progress, processes(min(workers, len(waiting))) as pool:
        runs: dict[Future, Run] = {
            pool.submit(_execute_and_save, execute, run, key, folder): run for run, key in waiting
        }
        for future in as_completed(runs):
            run = runs[future]
            name = f"{run.task.name} {run.entry.agent} seed {run.seed}"
            error = future.exception()
            if error is not None:
                failures.append(f"{name}: {type(error).__name__}: {error}")
                progress.advance(run.cost, f"{name}: FAILED, {type(error).__name__}: {error}")
            else:
                reward, seconds = future.result()
                progress.advance(run.cost, f"{name}: total reward {reward:.2f}, {seconds:.0f} s")
    return failures


def _execute_and_save(execute: Execute, run: Run, key: str, folder: Path) -> tuple[float, float]:
    """In the worker: one run, kept at once; returns its mean total reward and the seconds it took."""
    started = time.monotonic()
    record = execute(run, key)
    save_record(record, folder)
    sessions = len(record.click_rewards)
    return (sum(record.click_rewards) + sum(record.order_rewards)) / sessions, time.monotonic() - started


class Progress:
    """A bar with the time left on a terminal, a plain line for each run elsewhere."""

    def __init__(self, cost: int, runs: int, stream: TextIO) -> None:
        self._stream = stream
        self._cost, self._runs = cost, runs
        self._spent, self._finished = 0, 0
        self._started = time.monotonic()
        self._bar: tqdm | None = None

    def __enter__(self) -> "Progress":
        if self._stream.isatty():
            form = "{desc}{percentage:3.0f}%|{bar}| {elapsed} spent, {remaining} left"
            self._bar = tqdm(total=self._cost, file=self._stream, bar_format=form, desc=f"0/{self._runs} runs ")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def advance(self, cost: int, line: str) -> None:
        """One more run is over; ``line`` says how it went."""
        self._spent += cost
        self._finished += 1
        if self._bar is not None:
            self._bar.set_description_str(f"{self._finished}/{self._runs} runs ", refresh=False)
            self._bar.update(cost)
            self._bar.write(line, file=self._stream)
            return
        elapsed = time.monotonic() - self._started
        left = elapsed * (self._cost - self._spent) / max(self._spent, 1)
        print(f"[{self._finished}/{self._runs}] {line}, about {left:.0f} s left", file=self._stream, flush=True)
