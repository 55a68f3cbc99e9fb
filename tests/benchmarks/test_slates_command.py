"""The whole command on a small market: agents beside bounds, resumable, and what invalidates a run."""

import dataclasses
import subprocess
import sys

import pytest

import benchmarks.slates as command
from benchmarks.jobs import Workers
from benchmarks.records import simulator_fingerprint
from benchmarks.slate_bounds import BOUNDS, PlannerSearch, measure_bounds
from benchmarks.slate_commands import on_simulator
from benchmarks.slate_tasks import slates_task, temper_task
from benchmarks.slates import SlatesConfig, slates
from benchmarks.tasks import Entry, Preset
from recsim_hrl.simulator.store import load_simulator, random_simulator, save_simulator

SEARCH = PlannerSearch(rounds=1, population=3, sessions=4)
SIZE = {"slate_size": 3, "session_length": 3, "candidates": 20, "sessions": 6, "parallel": 4}


@pytest.fixture
def market(tmp_path):
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60, users=16), tmp_path / "market" / split)
    return str(tmp_path / "market")


@pytest.fixture
def preset(market):
    tasks = tuple(make(simulator=market, **SIZE) for make in (slates_task, temper_task))
    return Preset("slates-quick", tasks, (Entry("slate-random", action="items"),), seeds=2)


def test_the_command(tmp_path, preset, monkeypatch):
    monkeypatch.setattr(command, "slate_preset", lambda name: preset)
    monkeypatch.setattr(command, "QUICK_SEARCH", SEARCH)
    config = SlatesConfig(out=tmp_path / "out", workers=1)
    text = slates(config)
    folder = tmp_path / "out" / "slates-quick"
    assert "Task slates: 2 training seeds, 6 common users" in text and "ceiling of the rule" in text
    lines = [line.split()[:2] for line in text.splitlines()]
    assert all(lines.count(["bound:", name]) == 2 for name in BOUNDS)
    made = {path.name for path in folder.iterdir()}
    assert made >= {"runs.csv", "sessions.csv", "summary.csv", "tables.md", "slates.png", "runs", "bounds", "agents"}
    kept = {path: path.stat().st_mtime_ns for path in (*(folder / "runs").iterdir(), *(folder / "bounds").iterdir())}
    assert len(kept) == 2 * 2 + 2 * len(BOUNDS)
    assert slates(config) == text
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert "market" in (folder / "about.json").read_text() and str(tmp_path) not in (folder / "about.json").read_text()


def test_agents_and_bounds_meet_the_same_users(tmp_path, preset):
    first, again = (
        measure_bounds(preset.tasks[:1], tmp_path / name, Workers(1), ("random", "popularity"), SEARCH)
        for name in ("one", "two")
    )
    assert [record.sessions for record in first] == [record.sessions for record in again]
    assert len(first[0].click_rewards) == 6 and first[0].agent == "random"


def test_another_leave_model_is_another_market(market):
    before = [simulator_fingerprint(market, with_leaving) for with_leaving in (False, True)]
    simulator = load_simulator(market, "test")
    leaving = dataclasses.replace(simulator.leaving, bias=simulator.leaving.bias + 1)
    save_simulator(dataclasses.replace(simulator, leaving=leaving), f"{market}/test")
    after = [simulator_fingerprint(market, with_leaving) for with_leaving in (False, True)]
    assert before[0] == after[0], "tasks without leaving are what they were"
    assert before[1] != after[1]


def test_other_simulators_take_the_place_of_the_preset_s(preset):
    assert on_simulator(preset, None) == preset
    assert {task.simulator for task in on_simulator(preset, "mine").tasks} == {"mine"}


@pytest.mark.parametrize("module", ["slates", "turnover", "terminal_mask", "slate_tables", "slate_tuning"])
def test_help(module):
    shown = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--help"], capture_output=True, text=True, check=True
    )
    assert f"benchmarks.{module}" in shown.stdout or "slate_tuning" in shown.stdout
