"""How the zoo is made, in small; and that the page tells what was found."""

import json
from pathlib import Path

import pytest
from recsim_hrl_agents.pretrained import ZOO, pretrained_names

import benchmarks.zoo as zoo
from benchmarks.aggregate import read_csv
from benchmarks.records import simulator_fingerprint
from benchmarks.tasks import Entry, Preset, Task
from recsim_hrl.simulator.store import random_simulator, save_simulator

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "benchmarks" / "results" / "zoo.csv"


def test_the_best_seed_on_train_is_kept(tmp_path, monkeypatch):
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60), tmp_path / "market" / split)
    task = Task("short", "RecSessionShort-v0", 5, 12, str(tmp_path / "market"), candidates=30, parallel=4)
    preset = Preset("full", (task,), (Entry("ddpg", steps=80, settings=(("warmup_steps", 20),)),), seeds=1)
    monkeypatch.setattr(zoo, "make_preset", lambda name: preset)
    places = (tmp_path / "zoo", tmp_path / "zoo.csv", tmp_path / "work", tmp_path / "agents")
    config = zoo.ZooConfig(("ddpg-short",), 3, *places)
    assert "ddpg-short" in zoo.main(config)
    trained = {
        about["provenance"]["seed"]: about["provenance"]["train_reward"]
        for about in (json.loads(path.read_text()) for path in (tmp_path / "work").glob("*/agent.json"))
    }
    kept = json.loads((tmp_path / "zoo" / "ddpg-short" / "agent.json").read_text())
    assert len(trained) == 3 and kept["provenance"]["train_reward"] == max(trained.values())
    ((name, seed, reward, test, low, high),) = read_csv(config.table)
    assert (name, trained[int(seed)]) == ("ddpg-short", max(trained.values()))
    assert float(reward) == pytest.approx(max(trained.values()), abs=1e-3)
    assert float(low) <= float(test) <= float(high)
    monkeypatch.setattr(zoo, "trained_agent", None)  # finished trainings are found
    zoo.main(config)


def test_unknown_entries_are_refused():
    with pytest.raises(ValueError, match="zoo entry: got 'ddpg', allowed .*ddpg-short"):
        zoo.zoo_run("ddpg", 0)
    with pytest.raises(ValueError, match="zoo seeds: got 0"):
        zoo.ZooConfig(seeds=0)


def test_table_and_page_tell_of_the_agents_that_are_there():
    rows = {row[0]: row[1:] for row in read_csv(TABLE)}
    assert sorted(rows) == pretrained_names()
    page = (ROOT / "docs" / "agents" / "zoo.md").read_text(encoding="utf-8")
    for name, (seed, train, test, low, high) in rows.items():
        provenance = json.loads((ZOO / name / "agent.json").read_text(encoding="utf-8"))["provenance"]
        assert provenance["seed"] == int(seed) and f"{provenance['train_reward']:.3f}" == train
        assert provenance["simulators"] == simulator_fingerprint("default")
        told = f"{float(test):.2f} [{float(low):.2f}, {float(high):.2f}]"
        assert f"| `{name}` | {seed} | {float(train):.2f} | {told} |" in page
