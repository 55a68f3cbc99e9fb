"""Tries inputs in a process of its own, which may crash, hang or ask for too much memory, and tells how each ended."""

import contextlib
import multiprocessing
import resource
import shutil
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.fuzz_inputs import Files, malformed, read_input, valid_files
from recsim_hrl.data.schema import LogError
from recsim_hrl.simulator.folder import SimulatorError

OUTCOMES = ("accepted", "refused", "undocumented", "memory", "hang", "crash")
"""The first two are as they should be: the input is valid after all, or a documented error says why not."""

_START_SECONDS = 300.0
"""For a new process to load its libraries and to read what is valid once."""
_MIB = 2**20


@dataclass(frozen=True)
class Limits:
    """What one input may take."""

    seconds: float
    """By the clock."""
    memory_mb: int
    """MiB beyond what reading a valid input took."""


@dataclass(frozen=True)
class Ended:
    """How one input ended."""

    outcome: str
    seconds: float
    rss_mib: float
    """How far the peak of resident memory rose."""
    message: str = ""


def try_inputs(reader: str, level: str, seed: int, numbers: range, limits: Limits) -> Iterator[tuple[int, Ended]]:
    """Try the inputs with these numbers, one after the other; a process that is lost is replaced."""
    numbers_left = iter(numbers)
    number = next(numbers_left, None)
    while number is not None:
        with _process(reader, level, seed, limits) as connection:
            while number is not None:
                ended = _try_one(connection, number, limits.seconds)
                yield number, ended
                number = next(numbers_left, None)
                if ended.outcome in ("hang", "crash"):
                    break


def _try_one(connection: Connection, number: int, seconds: float) -> Ended:
    try:
        connection.send(number)
        # The process measures the time; beyond twice of it, it is stuck where it cannot.
        if not connection.poll(2 * seconds):
            return Ended("hang", 2 * seconds, 0.0, "no answer")
        return connection.recv()
    except (EOFError, OSError):
        return Ended("crash", 0.0, 0.0, "the process ended")


@contextlib.contextmanager
def _process(reader: str, level: str, seed: int, limits: Limits) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_answer, args=(theirs, reader, level, seed, limits), daemon=True)
    process.start()
    theirs.close()
    try:
        if not ours.poll(_START_SECONDS):
            raise RuntimeError(f"fuzz of {reader}: the process did not start within {_START_SECONDS:.0f} s")
        ours.recv()
        yield ours
    finally:
        process.kill()
        process.join()
        ours.close()


def _answer(connection: Connection, reader: str, level: str, seed: int, limits: Limits) -> None:
    """The process: for each number that arrives, how the input ended."""
    files = valid_files(reader)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "input"
        attempt(reader, files, folder)  # loads libraries and compiles, before memory and time count
        _limit_address_space(limits.memory_mb)
        connection.send(None)
        with contextlib.suppress(EOFError, OSError):  # whoever asked is gone
            while True:
                changed = malformed(reader, level, files, seed, connection.recv())
                connection.send(attempt(reader, changed, folder, limits))


def attempt(reader: str, files: Files, folder: Path, limits: Limits | None = None) -> Ended:
    """Write an input to ``folder``, read it, and tell how that ended."""
    write_files(files, folder)
    before, started = _peak_mib(), time.perf_counter()
    outcome, message = "accepted", ""
    try:
        with np.errstate(all="ignore"):
            read_input(reader, folder)
    except (LogError, SimulatorError) as error:
        outcome = "memory" if _asked_for_memory(error) else "refused"
        message = str(error)
    except MemoryError:
        outcome, message = "memory", traceback.format_exc()
    except Exception:
        outcome, message = "undocumented", traceback.format_exc()
    seconds, rose = time.perf_counter() - started, _peak_mib() - before
    if limits is not None and outcome in ("accepted", "refused"):
        if rose > limits.memory_mb:
            outcome = "memory"
        elif seconds > limits.seconds:
            outcome = "hang"
    return Ended(outcome, seconds, rose, message)


def write_files(files: Files, folder: Path) -> None:
    """Write an input in place of the one before."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _asked_for_memory(error: BaseException) -> bool:
    """Whether the error stands for an allocation that failed."""
    cause = error.__cause__ or error.__context__
    return cause is not None and (isinstance(cause, MemoryError) or _asked_for_memory(cause))


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _limit_address_space(memory_mb: int) -> None:
    """Let allocations fail that would take the process far beyond its limit, before the machine suffers."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0])
    most = pages * resource.getpagesize() + 4 * memory_mb * _MIB
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
