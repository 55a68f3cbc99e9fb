"""The whole command on simulators with random weights, and its command line."""

import subprocess
import sys

import pytest

import benchmarks.run as command
from benchmarks.run import RunConfig, run
from benchmarks.tasks import Entry, Preset, Run, Task
from benchmarks.training import agent_config, execute
from recsim_hrl.simulator.store import random_simulator, save_simulator


@pytest.fixture
def preset(tmp_path):
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60), tmp_path / "market" / split)
    task = Task("short", "RecSessionShort-v0", 5, 6, str(tmp_path / "market"), candidates=30, parallel=4)
    return Preset("quick", (task,), (Entry("random"), Entry("ddpg", steps=40)), seeds=1)


def test_run_leaves_tables_and_figures(tmp_path, preset, monkeypatch):
    monkeypatch.setattr(command, "make_preset", lambda name: preset)
    config = RunConfig(out=tmp_path / "out", workers=1, agents=("random",))
    text = run(config)
    assert "Task short: reward per session, 1 training seed, 6 common users" in text
    made = {path.name for path in (tmp_path / "out" / "quick").iterdir()}
    assert {"runs.csv", "sessions.csv", "summary.csv", "tables.md", "rewards.png", "runs"} <= made
    (record,) = (tmp_path / "out" / "quick" / "runs").iterdir()
    before = record.stat().st_mtime_ns
    both = run(RunConfig(out=tmp_path / "out", workers=1))
    assert "ddpg" in both and "ddpg" not in text
    assert record.stat().st_mtime_ns == before


def test_a_run_can_be_done_again_to_the_bit(preset, tmp_path):
    one = Run(preset.tasks[0], preset.entries[1], seed=3)
    first, second = (execute(one, "key", tmp_path) for _ in range(2))
    assert (first.click_rewards, first.order_rewards) == (second.click_rewards, second.order_rewards)
    assert (first.curve, first.steps, len(first.click_rewards)) == (second.curve, 40, 6)


def test_simulators_of_different_markets_are_refused(preset, tmp_path):
    save_simulator(random_simulator(items=60, seed=1), tmp_path / "market" / "test")
    with pytest.raises(ValueError, match="got item_embeddings that differ between train and test"):
        execute(preset.runs()[0], "key", tmp_path)


def test_all_settings_of_an_agent_enter_its_config():
    assert agent_config(Entry("ddpg", settings=(("gamma", 0.5),)))["gamma"] == 0.5
    assert agent_config(Entry("ddpg")).keys() == agent_config(Entry("ddpg", settings=(("gamma", 0.5),))).keys()


def test_unknown_agents_are_refused(preset, monkeypatch):
    monkeypatch.setattr(command, "make_preset", lambda name: preset)
    with pytest.raises(ValueError, match=r"agents: got \['dgpd'\], allowed \['ddpg', 'random'\]"):
        run(RunConfig(agents=("dgpd",)))
    with pytest.raises(ValueError, match="workers: got 0"):
        RunConfig(workers=0)


@pytest.mark.parametrize(("module", "words"), [("run", "--preset {quick,full,movielens}"), ("tables", "--results")])
def test_help_names_every_option(module, words):
    shown = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{module}", "--help"], capture_output=True, text=True, check=True
    )
    assert words in shown.stdout
