"""Runs a command in a fresh process and watches, from outside, how long it takes and how much memory its tree holds."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CLI = (sys.executable, "-c", "import sys; from recsim_hrl.cli import main; sys.exit(main())")
"""``recsim-hrl`` in the Python that runs this, installed as a script or not."""
INTERVAL = 0.05
"""Seconds between two looks at the memory."""
_PROC = Path("/proc")
_MIB = 2**20


@dataclass(frozen=True)
class Watched:
    """What a finished command took."""

    seconds: float
    """From its start to its end, imports included."""
    cpu_seconds: float
    """Of processors, over all its processes; the same on a machine that others use too."""
    rss_mib: float
    """Most resident memory of the process and all its children together; a page that two share counts twice."""
    output: str
    """What it printed."""


def watch(command: Sequence[str], interval: float = INTERVAL) -> Watched:
    """Run ``command`` to its end.

    Raises:
        ChildProcessError: The command failed; the message ends with what it printed.
        ValueError: The system does not tell the memory of processes.
    """
    if not (_PROC / "self/statm").exists():
        raise ValueError("memory watch: got a system without /proc/PID/statm, allowed Linux; run it there")
    with tempfile.TemporaryFile() as printed:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT)
        try:
            peak = 0
            while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
                peak = max(peak, sum(map(_resident, tree(process.pid))))
                time.sleep(interval)
        except BaseException:
            process.send_signal(signal.SIGINT)
            process.wait()
            raise
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(ended[1])  # as wait4 has taken the end from Popen
        printed.seek(0)
        output = printed.read().decode(errors="replace")
    if process.returncode:
        raise ChildProcessError(f"{' '.join(command)}: ended with status {process.returncode}\n{output[-2000:]}")
    used = ended[2]
    cpu_seconds = used.ru_utime + used.ru_stime
    return Watched(seconds, cpu_seconds, peak / _MIB, output)


def tree(pid: int) -> Iterator[int]:
    """``pid`` and all its children, as far as they still run."""
    yield pid
    for task in _listed(_PROC / str(pid) / "task"):
        for child in _read(task / "children").split():
            yield from tree(int(child))


def _resident(pid: int) -> int:
    """Bytes of resident memory of a process; 0 where it has ended."""
    words = _read(_PROC / str(pid) / "statm").split()
    return int(words[1]) * os.sysconf("SC_PAGE_SIZE") if words else 0


def _listed(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:  # it has just ended
        return []


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # it has just ended
        return ""
