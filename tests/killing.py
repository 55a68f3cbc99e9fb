"""Kills a job at each of its moments in turn: ``python -m tests.killing JOB FOLDER``; used by tests/test_killed.py.

A moment is a call that opens a file for writing or changes a folder, which is where one state on disk becomes another.
For each, a child process does the job in FOLDER and is killed by SIGKILL there: before a change, and after an opening,
when the file is there and empty. Another child checks what is left. The last child is not killed. Prints the number of
moments.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources.movielens import MovielensConfig, read_movielens
from recsim_hrl.simulator.fit import FitConfig, fit_simulator
from recsim_hrl.simulator.store import load_simulator
from recsim_hrl.simulator.validity.evaluate import Evaluation
from recsim_hrl.simulator.validity.measures import Predictions, measure
from recsim_hrl.simulator.validity.report import write_validity

MOMENTS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree")
FIT = FitConfig(passes=2, batch=200, held_out=0.3, kinds=2, hidden=4, pool=4)
SOURCE, LOG, SIMULATOR, REPORT = "ml-100k", "log", "simulator", "report"


def convert(folder: Path) -> None:
    """Read FOLDER/ml-100k into FOLDER/log."""
    read_movielens(folder / SOURCE, folder / LOG, MovielensConfig(memory_mb=64))


def fit(folder: Path) -> None:
    """Fit FOLDER/simulator to FOLDER/log."""
    fit_simulator(InteractionLog.open(folder / LOG), folder / SIMULATOR, FIT, report=lambda _: None)


def evaluation(name: str) -> Evaluation:
    """What a small report on a simulator of this ``name`` says."""
    responses, places = np.array([0, 2, 1, 0]), np.array([0, 1, 1, 0])
    probs = np.tile([0.6, 0.3, 0.1], (4, 1))
    predictions = Predictions(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), places, responses, probs, None)
    validity = measure(predictions, np.array([[9, 2, 1], [5, 3, 1]]))
    log = {"name": "log", "is_fitted_to": False, "is_confounded": False}
    return Evaluation({"name": name, "data_sha256": None}, log, validity, None)


def report(folder: Path) -> None:
    """Write FOLDER/report on the simulator "new"."""
    write_validity(evaluation("new"), folder / REPORT)


def check_log(folder: Path) -> None:
    """What is at FOLDER/log, if anything, is whole."""
    if (folder / LOG).exists():
        InteractionLog.open(folder / LOG).validate()


def check_simulator(folder: Path) -> None:
    """What is at FOLDER/simulator, if anything, is whole."""
    if (folder / SIMULATOR).exists():
        load_simulator(folder / SIMULATOR)


def check_report(folder: Path) -> None:
    """Each file of FOLDER/report is that of FOLDER/old or that of FOLDER/new."""
    for path in (folder / REPORT).glob("validity.*"):
        assert path.read_bytes() in [(folder / side / path.name).read_bytes() for side in ("old", "new")]


JOBS = {"convert": (convert, check_log), "fit": (fit, check_simulator), "report": (report, check_report)}


def killed_at(moment: int, folder: Path) -> Callable[[str, tuple], None]:
    """An audit hook that ends the process, as a power cut would, at its ``moment``-th change, in ``folder`` or not."""
    left = [moment]

    def hook(event: str, arguments: tuple) -> None:
        path, mode = (*arguments, None, None)[:2]
        opens = event == "open" and isinstance(mode, str) and mode[:1] in ("w", "x", "a")
        if event in MOMENTS or opens:
            left[0] -= 1
            if left[0] < 0:
                if opens and str(path).startswith(str(folder)):
                    os.open(path, os.O_WRONLY | os.O_CREAT | (os.O_APPEND if mode.startswith("a") else os.O_TRUNC))
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
            sys.addaudithook(killed_at(moment, folder))
            job(folder)

        ended = in_child(work)
        assert ended in (0, -signal.SIGKILL), f"moment {moment}: status {ended}"
        assert in_child(lambda: check(folder)) == 0, f"moment {moment}: what is left is not whole"
        if ended == 0:
            return moment
    raise AssertionError("the job has no end")


if __name__ == "__main__":
    print(main(sys.argv[1], Path(sys.argv[2])))
