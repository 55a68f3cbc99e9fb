"""A sweep to be stopped from outside: ``python stopped_sweep.py FOLDER TRACES [RAY]``.

The costliest runs come first: seeds 0 and 1 end, seeds 2 and 3 hang.
"""

import functools
import signal
import sys
from pathlib import Path

from benchmarks.sweep import sweep
from benchmarks.tasks import Entry, Run, Task
from tests.benchmarks import fake_execute

if __name__ == "__main__":
    # A shell's background jobs are born deaf to Ctrl-C, and so would be a test run started as one.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, traces, *ray = sys.argv[1:]
    task = Task("short", "Fake-v0", session_length=5, sessions=4)
    runs = [(Run(task, Entry("fake", steps=100 - seed), seed), f"{seed:016x}") for seed in range(4)]
    hang = functools.partial(fake_execute.hang_after, traces=Path(traces), allowed=2)
    sweep(runs, Path(folder), hang, workers=2, ray=ray[0] if ray else None)
