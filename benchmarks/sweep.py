"""Runs a list of runs side by side, keeps each as it finishes, and skips those that are already kept.

A sweep may be stopped at any moment, by Ctrl-C or worse: finished runs are complete files, the others leave nothing,
and the same call goes on from there.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from benchmarks.jobs import Job, Workers, keep_jobs
from benchmarks.records import RunRecord, finished_records, read_record, record_bytes, run_file
from benchmarks.tasks import Run

Execute = Callable[[Run, str], RunRecord]
"""Does one run, given its key. It must be picklable: a function of a module, or a partial of one."""


def sweep(
    keyed_runs: Sequence[tuple[Run, str]],
    folder: Path,
    execute: Execute,
    workers: int = 2,
    stream: TextIO | None = None,
    ray: str | None = None,
) -> list[RunRecord]:
    """Do the runs that are not finished yet, the longest first, and return the records of all.

    Args:
        keyed_runs: Runs with their keys (:func:`benchmarks.records.run_key`).
        folder: Where finished runs are kept.
        execute: What does a run; called in a worker.
        workers: Runs at a time, one core each.
        stream: Where progress goes; standard error by default.
        ray: Address of Ray, see :func:`benchmarks.pools.open_pool`; None for processes of this machine.

    Raises:
        ValueError: If ``workers`` is below 1.
        RuntimeError: If runs failed; the others are kept.
    """
    jobs = [Job(run.name, run_file(run, key), (run, key), run.cost) for run, key in keyed_runs]
    keep_jobs(jobs, folder, _execute, Workers(workers, ray), _reward, "runs", stream, shared=(execute,))
    return finished_records(keyed_runs, folder)


def _execute(execute: Execute, run: Run, key: str) -> bytes:
    return record_bytes(execute(run, key))


def _reward(content: bytes) -> str:
    return f"total reward {read_record(content).total_rewards.mean():.2f}"
