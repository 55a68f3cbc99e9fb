"""What workers of the sweep tests do; a module of its own because spawned processes import it by name."""

import os
import signal
import time
from pathlib import Path

from benchmarks.records import RunRecord
from benchmarks.tasks import Run


def record_of(run: Run, key: str) -> RunRecord:
    """A record whose rewards tell the seed."""
    reward = float(run.seed)
    return RunRecord(
        key, run.task.name, run.entry.agent, run.seed, run.entry.steps, 0.0, 0.0, (reward,) * 4, (5.0,) * 4
    )


def leave_trace(run: Run, key: str, traces: Path) -> RunRecord:
    """Add a line to a file of the run's name, so that a test can count how often it was done."""
    with (traces / f"{run.entry.agent}-{run.seed}").open("a") as file:
        file.write(f"{os.getpid()}\n")
    return record_of(run, key)


def hang_after(run: Run, key: str, traces: Path, allowed: int) -> RunRecord:
    """Like ``leave_trace``, but runs from seed ``allowed`` on never end."""
    record = leave_trace(run, key, traces)
    if run.seed >= allowed:
        time.sleep(600)
    return record


def fail_on_seed_1(run: Run, key: str, traces: Path) -> RunRecord:
    """Like ``leave_trace``, but seed 1 fails."""
    record = leave_trace(run, key, traces)
    if run.seed == 1:
        raise ValueError("this seed is unlucky")
    return record


def hang_at_first(run: Run, key: str, traces: Path, unlucky: int) -> RunRecord:
    """Like ``leave_trace``, but the first time that seed ``unlucky`` is run never ends."""
    first = not (traces / f"{run.entry.agent}-{run.seed}").exists()
    record = leave_trace(run, key, traces)
    if run.seed == unlucky and first:
        time.sleep(600)
    return record


def tell_node_and_hang_at_first(run: Run, key: str, traces: Path, unlucky: int) -> RunRecord:
    """Like ``hang_at_first``, but the unlucky run first tells which node of Ray it is on."""
    if run.seed == unlucky:
        import ray

        (traces.parent / "node").write_text(ray.get_runtime_context().get_node_id())
    return hang_at_first(run, key, traces, unlucky)


def lose_every_worker(run: Run, key: str, traces: Path, unlucky: int) -> RunRecord:
    """Like ``leave_trace``, but seed ``unlucky`` takes its worker with it, each time."""
    record = leave_trace(run, key, traces)
    if run.seed == unlucky:
        os.kill(os.getpid(), signal.SIGKILL)
    return record


def wait_for_ever(traces: Path, name: str, ends: bool) -> None:
    """Tell the process, then end at once or not at all."""
    (traces / name).write_text(str(os.getpid()))
    while not ends:
        time.sleep(600)


def hide_folder(run: Run, key: str, folder: Path) -> RunRecord:
    """A run in a place where ``folder`` is not to be seen."""
    folder.rmdir()
    return record_of(run, key)


def look_up(table: dict, name: str) -> object:
    """An entry of a shared table."""
    return table[name]
