"""The sweep: what is finished is kept and never done again, whatever ends the rest."""

import functools
import importlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.sweep import sweep
from tests.benchmarks.waiting import is_running, wait_for

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
STOPPED = HERE / "stopped_sweep.py"


@pytest.fixture
def fake(monkeypatch):
    """The module of fake runs, importable under the same name in spawned processes."""
    monkeypatch.syspath_prepend(str(HERE))
    return importlib.import_module("fake_execute")


def keyed(make_run, seeds):
    return [(make_run(seed=seed, steps=seed), f"{seed:016x}") for seed in range(seeds)]


def times_done(traces: Path) -> dict[str, int]:
    return {path.name: len(path.read_text().splitlines()) for path in traces.iterdir()}


def test_finished_runs_are_skipped(tmp_path, fake, make_run):
    traces, folder = tmp_path / "traces", tmp_path / "runs"
    traces.mkdir()
    execute = functools.partial(fake.leave_trace, traces=traces)
    first = sweep(keyed(make_run, 2), folder, execute, workers=1, stream=io.StringIO())
    assert [record.click_rewards[0] for record in first] == [0.0, 1.0]
    lines = io.StringIO()
    second = sweep(keyed(make_run, 3), folder, execute, workers=1, stream=lines)
    assert [record.seed for record in second] == [0, 1, 2]
    assert times_done(traces) == {"fake-0": 1, "fake-1": 1, "fake-2": 1}
    shown = lines.getvalue().splitlines()
    assert shown[0] == "2 of 3 runs are finished already"
    assert shown[1].startswith("[1/1] short fake seed 2: total reward 7.00,")
    assert sorted(path.suffix for path in folder.iterdir()) == [".json"] * 3


def test_a_failure_leaves_the_others_and_is_retried(tmp_path, fake, make_run):
    traces, folder = tmp_path / "traces", tmp_path / "runs"
    traces.mkdir()
    failing = functools.partial(fake.fail_on_seed_1, traces=traces)
    with pytest.raises(RuntimeError, match=r"1 of 3 runs failed, first short fake seed 1: ValueError: this seed is"):
        sweep(keyed(make_run, 3), folder, failing, workers=2, stream=io.StringIO())
    assert len(list(folder.iterdir())) == 2
    execute = functools.partial(fake.leave_trace, traces=traces)
    assert len(sweep(keyed(make_run, 3), folder, execute, workers=1, stream=io.StringIO())) == 3
    assert times_done(traces) == {"fake-0": 1, "fake-1": 2, "fake-2": 1}


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_stopped_goes_on_from_there(tmp_path, fake, make_run, ending):
    traces, folder = tmp_path / "traces", tmp_path / "runs"
    traces.mkdir()
    command = [sys.executable, str(STOPPED), str(folder), str(traces)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: times_done(traces) == {f"fake-{seed}": 1 for seed in range(4)})
    workers = [int(path.read_text()) for path in traces.iterdir()]
    process.send_signal(ending)
    process.communicate(timeout=30)
    assert process.returncode != 0
    wait_for(lambda: not any(is_running(worker) for worker in workers))
    assert sorted(path.name for path in folder.iterdir()) == [f"short-fake-{seed}-{seed:016x}.json" for seed in (0, 1)]

    execute = functools.partial(fake.leave_trace, traces=traces)
    records = sweep(keyed(make_run, 4), folder, execute, workers=1, stream=io.StringIO())
    assert [record.seed for record in records] == [0, 1, 2, 3]
    assert times_done(traces) == {"fake-0": 1, "fake-1": 1, "fake-2": 2, "fake-3": 2}


def test_workers_are_checked(tmp_path):
    with pytest.raises(ValueError, match="workers: got 0, allowed 1 or more"):
        sweep([], tmp_path, print, workers=0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_with_the_time_left(tmp_path, fake, make_run):
    (tmp_path / "traces").mkdir()
    screen = Terminal()
    execute = functools.partial(fake.leave_trace, traces=tmp_path / "traces")
    sweep(keyed(make_run, 2), tmp_path / "runs", execute, workers=1, stream=screen)
    assert "2/2 runs 100%|" in screen.getvalue()
    assert "left" in screen.getvalue()
    assert "short fake seed 1: total reward 6.00" in screen.getvalue()
