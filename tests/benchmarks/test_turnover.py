"""What a changed catalogue costs: the losses by hand, and the whole command on a small market."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

import benchmarks.turnover as command
from benchmarks.aggregate import About, read_csv
from benchmarks.slate_results import write_slate_results
from benchmarks.slate_tasks import slates_task
from benchmarks.statistics import Bootstrap
from benchmarks.tasks import Entry, Preset
from benchmarks.turnover import (
    LATER,
    TurnoverConfig,
    judged_in,
    losses,
    make_turnover_tables,
    offered_of,
    turnover,
    turnover_preset,
)
from recsim_hrl.simulator.store import random_simulator, save_simulator

ABOUT = About("turnover-tiny", "default", "python -m benchmarks.turnover --preset tiny")


def test_losses_by_hand(tmp_path, make_slate_record):
    agents = [
        make_slate_record([4, 8], agent="hac", task="turnover 0%"),
        make_slate_record([2, 2], agent="hac", task="turnover 0%", seed=1),
        make_slate_record([3, 8], agent="hac", task="turnover 20%"),
        make_slate_record([1, 2], agent="hac", task="turnover 20%", seed=1),
    ]
    bounds = [make_slate_record([2, 2], agent="random", task=f"turnover {share}%") for share in (0, 20)]
    results = write_slate_results(agents, bounds, ABOUT, tmp_path)
    hac, random = losses(results, Bootstrap(resamples=200))
    # User 0 pays one less under both seeds, user 1 as much as before: half of 4 users' mean.
    assert (hac.agent, hac.task, hac.absolute.estimate, hac.relative.estimate) == ("hac", "turnover 20%", 0.5, 0.125)
    # Seeds lose alike, so only the users' luck is left, and that is shared by both catalogues.
    assert (hac.absolute.low, hac.absolute.high) == (0.0, 1.0)
    assert (random.absolute.estimate, random.absolute.low, random.absolute.high) == (0, 0, 0)
    text = make_turnover_tables(tmp_path, Bootstrap(resamples=50))
    assert "loss at 20%" in text and (tmp_path / "turnover.png").exists()
    assert "| hac | 4.00 | +12.5% [" in (tmp_path / "tables.md").read_text()


def test_catalogues_that_agents_are_judged_in():
    tasks = judged_in(turnover_preset("full").tasks[0])
    assert [task.name for task in tasks] == ["turnover 0%", "turnover 1%", "turnover 5%", "turnover 20%"]
    simulator, kept = random_simulator(items=60, users=8), []
    for task in tasks:
        task = dataclasses.replace(task, candidates=20, stock=40, session_length=2)
        env = gym.make_vec(task.env_id, 2, "vector_entry_point", simulator=simulator, **task.arguments())
        observations, _ = env.reset(seed=0)
        kept.append(int(observations["available"][0][:20].sum()))
        assert observations["available"].sum(1).tolist() == [20, 20]
    # Five sessions later 1, 5 and all 20 of the 20 items have gone.
    assert kept == [20, 19, 15, 0] and LATER == 5


def test_half_of_a_small_market_is_on_offer(tmp_path):
    assert [offered_of(items) for items in (10_000, 2_000, 1_682, 250, 199, 60)] == [1000, 1000, 800, 100, 99, 30]
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60, users=8), tmp_path / split)
    preset = turnover_preset("quick", str(tmp_path))
    assert [(task.simulator, task.candidates, task.stock) for task in preset.tasks] == [(str(tmp_path), 30, 60)]
    assert not {entry.agent for entry in turnover_preset("full").entries} & {"hsrl-no-residual", "hsrl-no-entropy"}


@pytest.fixture
def preset(tmp_path):
    for seed, split in enumerate(("train", "test")):
        simulator = random_simulator(items=60, users=16)
        other = random_simulator(items=60, users=16, seed=seed)
        save_simulator(dataclasses.replace(simulator, model=other.model), tmp_path / "market" / split)
    size = {"slate_size": 3, "session_length": 2, "candidates": 20, "stock": 40, "sessions": 6, "parallel": 4}
    task = dataclasses.replace(slates_task(simulator=str(tmp_path / "market"), **size), name="turnover 0%")
    return Preset("turnover-quick", (task,), (Entry("slate-random", action="items"),), seeds=2)


def test_the_command(tmp_path, preset, monkeypatch):
    monkeypatch.setattr(command, "turnover_preset", lambda name, simulator: preset)
    config = TurnoverConfig(out=tmp_path / "out", workers=1)
    text = turnover(config)
    folder = tmp_path / "out" / "turnover-quick"
    assert "2 training seeds, 6 common users" in text and "bound: reward_greedy" in text
    assert {path.name for path in folder.iterdir()} >= {"turnover.csv", "turnover.png", "tables.md", "judged", "bounds"}
    rows = read_csv(folder / "turnover.csv")
    assert {row[0] for row in rows} == {"turnover 1%", "turnover 5%", "turnover 20%"}
    before = {path: path.stat().st_mtime_ns for path in (folder / "judged").iterdir()}
    assert len(before) == 3 * 2
    assert turnover(config) == text
    assert {path: path.stat().st_mtime_ns for path in (folder / "judged").iterdir()} == before
    # One replaced item of twenty leaves random choice what it was, but for the users whom it meets.
    assert np.isfinite([float(cell) for row in rows for cell in row[3:]]).all()
