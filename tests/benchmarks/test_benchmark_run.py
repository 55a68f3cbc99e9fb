"""The whole command on simulators with random weights, and its command line."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from recsim_hrl_agents.flat.ddpg import DDPG

import benchmarks.run as command
from benchmarks import training
from benchmarks.run import RunConfig, run
from benchmarks.tasks import Entry, Preset, Run, Task
from benchmarks.training import agent_config, execute, logged_sessions
from recsim_hrl.data.writer import LogWriter
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


def test_a_log_of_the_same_market_may_be_from_another_processor(tmp_path):
    catalogue = random_simulator(items=60).catalogue
    with LogWriter(tmp_path / "log", catalogue) as log:
        row = {"session_id": 1, "step": 0, "user_id": 1, "item_id": int(catalogue.item_ids[0]), "response": 0}
        log.append({name: np.array([value]) for name, value in row.items()})
    items = catalogue.embeddings.numpy()
    for changed in (items, np.nextafter(items, np.inf)):
        assert len(logged_sessions(tmp_path / "log", SimpleNamespace(item_embeddings=changed))) == 1
    for changed in (items[:-1], items + 0.01):
        with pytest.raises(ValueError, match="got items that are not those of the simulator"):
            logged_sessions(tmp_path / "log", SimpleNamespace(item_embeddings=changed))


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


class Killed(BaseException):
    pass


@pytest.mark.parametrize("checkpoints", [1, 3, 4])
def test_a_run_that_is_killed_goes_on_from_its_last_checkpoint(preset, tmp_path, monkeypatch, checkpoints):
    one = Run(preset.tasks[0], Entry("ddpg", steps=80, settings=(("warmup_steps", 20),)), seed=3)
    expected = execute(one, "key", tmp_path)
    judge, act, calls = training.evaluate, DDPG.act, []

    def killed(*arguments):
        if len(calls) == checkpoints:
            raise Killed
        calls.append(arguments)
        return judge(*arguments)

    monkeypatch.setattr(training, "KEEP_EVERY", 12)
    monkeypatch.setattr(training, "evaluate", killed)
    with pytest.raises(Killed):
        execute(one, "key", tmp_path, unfinished=tmp_path)
    assert {path.name for path in (tmp_path / "unfinished-key").iterdir()} == {"training", "best"}
    monkeypatch.setattr(training, "evaluate", lambda *arguments: calls.append(arguments) or judge(*arguments))
    steps = []
    monkeypatch.setattr(DDPG, "act", lambda *args, explore: steps.append(explore) or act(*args, explore=explore))
    found = execute(one, "key", tmp_path, unfinished=tmp_path)
    assert (found.curve, found.click_rewards, found.order_rewards) == (
        expected.curve,
        expected.click_rewards,
        expected.order_rewards,
    )
    assert len(calls) == 7 + 1, "no checkpoint is judged twice, and the agent once in the end"
    assert steps.count(True) == (80 - 12 * checkpoints) // 4
    assert not (tmp_path / "unfinished-key").exists()
