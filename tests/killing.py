"""Kills a job at each of its moments in turn: ``python -m tests.killing JOB FOLDER``; used by tests/test_killed.py.

A moment is a call that opens a file or changes a folder, which is where one state on disk becomes another. For each,
a child process does the job in FOLDER and is killed by SIGKILL there; another child checks what is left. The last
child is not killed. Prints the number of moments.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources.movielens import MovielensConfig, read_movielens
from recsim_hrl.simulator.fit import FitConfig, fit_simulator
from recsim_hrl.simulator.store import load_simulator

MOMENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")
FIT = FitConfig(passes=2, batch=200, held_out=0.3, kinds=2, hidden=4, pool=4)
SOURCE, LOG, SIMULATOR = "ml-100k", "log", "simulator"


def convert(folder: Path) -> None:
    """Read FOLDER/ml-100k into FOLDER/log."""
    read_movielens(folder / SOURCE, folder / LOG, MovielensConfig(memory_mb=64))


def fit(folder: Path) -> None:
    """Fit FOLDER/simulator to FOLDER/log."""
    fit_simulator(InteractionLog.open(folder / LOG), folder / SIMULATOR, FIT, report=lambda _: None)


def check_log(folder: Path) -> None:
    """What is at FOLDER/log, if anything, is whole."""
    if (folder / LOG).exists():
        InteractionLog.open(folder / LOG).validate()


def check_simulator(folder: Path) -> None:
    """What is at FOLDER/simulator, if anything, is whole."""
    if (folder / SIMULATOR).exists():
        load_simulator(folder / SIMULATOR)


JOBS = {"convert": (convert, check_log), "fit": (fit, check_simulator)}


def killed_at(moment: int) -> Callable[[str, tuple], None]:
    """An audit hook that ends the process, as a power cut would, before its ``moment``-th change."""
    left = [moment]

    def hook(event: str, arguments: tuple) -> None:
        writes = event == "open" and isinstance(arguments[1], str) and arguments[1][:1] in ("w", "x", "a")
        if event in MOMENTS or writes:
            left[0] -= 1
            if left[0] < 0:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def in_child(work: Callable[[], None]) -> int:
    """The exit status of a child process that does ``work``; negative for the signal that killed it."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main(name: str, folder: Path) -> int:
    """Kill at moment 0, 1, 2, ... until the job ends before it; the number of kills."""
    job, check = JOBS[name]
    for moment in range(1000):

        def work(moment: int = moment) -> None:
            sys.addaudithook(killed_at(moment))
            job(folder)

        ended = in_child(work)
        assert ended in (0, -signal.SIGKILL), f"moment {moment}: status {ended}"
        assert in_child(lambda: check(folder)) == 0, f"moment {moment}: what is left is not whole"
        if ended == 0:
            return moment
    raise AssertionError("the job has no end")


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2])))
