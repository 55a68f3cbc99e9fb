"""The MovieLens pipeline on a small data set in the publisher's format, every stage of it."""

import csv
import dataclasses
import json

import numpy as np
import pytest

from benchmarks import bounds, movielens
from benchmarks.bounds import BoundsConfig
from benchmarks.bounds_table import read_bounds
from benchmarks.jobs import Workers
from benchmarks.movielens import (
    FIT,
    Layout,
    PipelineConfig,
    fit_simulators,
    judge_simulator,
    make_logs,
    measure_bounds,
    publish,
    rank_sessions,
    run,
    run_benchmark,
)
from benchmarks.tasks import MOVIELENS, Entry, Preset, Task, make_preset, training_log
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources.movielens_forms import GENRES_100K as GENRES
from recsim_hrl.simulator.fit import fit_key, load_sequences
from recsim_hrl.simulator.store import load_simulator
from tests.data.sources.test_movielens import folder, publisher_files

FIT_SMALL = dataclasses.replace(FIT, passes=1, batch=400, kinds=2, hidden=4)
BOUNDS_SMALL = BoundsConfig(impressions=40, rounds=1, workers=1)
ENTRIES = (Entry("random"), Entry("popularity", needs_log=True, deterministic=True), Entry("ddpg", steps=8))
MOVIES = 40


def ratings():
    """20 users who rate 15 movies each in one visit, a day after one another; stars as if by taste."""
    generator = np.random.default_rng(0)
    rows = []
    for user in range(1, 21):
        for place, movie in enumerate(generator.permutation(MOVIES)[:15] + 1):
            stars = int(np.clip(generator.integers(1, 6) + (movie % 3 == 0), 1, 5))
            rows.append((user, int(movie), stars, 90_000_000 + 86_400 * user + place))
    return rows


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """(source, layout) of a data set that is through all stages but the benchmark."""
    path = tmp_path_factory.mktemp("movielens")
    movies = [(movie, f"Film {movie} (1990)", "", (GENRES[1 + movie % 6],)) for movie in range(1, MOVIES + 1)]
    source, layout = folder(path / "ml-100k", publisher_files(ratings(), movies)), Layout(path / "out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bounds, "TASKS", (("short", 5), ("long", 8)))
        make_logs(source, layout)
        fit_simulators(layout, FIT_SMALL)
        judge_simulator(layout)
        measure_bounds(layout, BOUNDS_SMALL)
    return source, layout


def small_preset():
    task = Task("short", "RecSessionShort-v0", 5, sessions=6, simulator="elsewhere", candidates=30, parallel=4)
    return Preset("movielens", (task, dataclasses.replace(task, name="long", session_length=8)), ENTRIES, seeds=1)


def modified(layout):
    return {str(path): path.stat().st_mtime_ns for path in layout.out.rglob("*") if path.is_file()}


def test_halves_lie_before_and_after_the_boundary(done):
    _, layout = done
    train, test = (InteractionLog.open(layout.halves / side).load() for side in ("train", "test"))
    # One session a user, a day apart: the first ten users are the earlier half.
    assert sorted(train.user_ids.tolist()) == list(range(1, 11))
    assert sorted(test.user_ids.tolist()) == list(range(11, 21))


def test_each_simulator_is_fitted_to_its_half(done):
    _, layout = done
    for side in ("train", "test"):
        simulator, log = load_simulator(layout.simulators, side), InteractionLog.open(layout.halves / side)
        key = fit_key(load_sequences(log), simulator.catalogue.embeddings, FIT_SMALL)
        assert simulator.provenance["data_sha256"] == key
        assert simulator.name == f"movielens-{side}"


def test_agents_learn_from_the_half_of_the_train_simulator(done):
    _, layout = done
    task = dataclasses.replace(small_preset().tasks[0], simulator=str(layout.simulators))
    assert training_log(task, layout.logs) == layout.halves / "train"


def test_report_is_of_the_train_simulator_on_the_test_half(done):
    _, layout = done
    report = json.loads((layout.validity / "validity.json").read_text())
    # Log-loss of the base rate, from the stars alone: 1-3 skip, 4 click, 5 order.
    responses = np.array([(0, 0, 0, 0, 1, 2)[stars] for _, _, stars, _ in ratings()])
    rates = np.bincount(responses[:150], minlength=3) / 150
    assert report["validity"]["log_loss_base_rate"] == pytest.approx(-np.log(rates[responses[150:]]).mean(), abs=1e-6)
    assert report["simulator"]["name"] == "movielens-train"
    assert report["log"]["is_fitted_to"] is False
    assert report["validity"]["impressions"] == 150


def test_bounds_are_of_both_simulators_and_no_world(done):
    _, layout = done
    with layout.bounds.open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("random", "random_goal", "click_greedy", "reward_greedy", "planner")
    expected = [(market, task, name) for market in ("train", "test") for task in ("short", "long") for name in names]
    assert [(row["market"], row["task"], row["policy"]) for row in rows] == expected


def test_benchmark_runs_on_the_simulators_made_here(done, tmp_path):
    _, layout = done
    text = run_benchmark(layout, small_preset(), workers=1)
    about = json.loads((layout.tables / "about.json").read_text())
    assert about == {
        "preset": "movielens",
        "simulator": "movielens",
        "command": "python -m benchmarks.movielens SOURCE",
    }
    totals = {(bound.task, bound.policy): bound.total.estimate for bound in read_bounds(layout.bounds)}
    with (layout.tables / "summary.csv").open(newline="") as file:
        rows = {(row["task"], row["agent"]): row for row in csv.DictReader(file) if row["kind"] == "agent"}
    assert {agent for _, agent in rows} == {"random", "popularity", "ddpg"} and "popularity" in text
    for (task, _), row in rows.items():
        low, high = totals[task, "random"], totals[task, "planner"]
        score = (float(row["total_reward"]) - low) / (high - low)
        assert float(row["normalised_score"]) == pytest.approx(score, abs=1e-3)
    publish(layout, tmp_path)
    copied = {path.name for path in (tmp_path / "movielens").iterdir()}
    assert {"validity.json", "validity.md", "validity.png", "summary.csv", "tables.md", "rewards.png"} <= copied
    assert {path.name for path in tmp_path.iterdir()} == {"movielens", "bounds_movielens.csv", "bounds_movielens.md"}
    # Nothing that holds ratings leaves the folder.
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".parquet", ".safetensors")]


def test_the_agents_made_here_rank_the_test_half(done, tmp_path):
    _, layout = done
    text = rank_sessions(layout, small_preset(), Workers(1))
    with (layout.tables / "offline.csv").open(newline="") as file:
        rows = [(row["task"], row["agent"], row["log"]) for row in csv.DictReader(file)]
    agents = ("random", "popularity", "ddpg")
    assert rows == [(task, agent, "movielens/test") for task in ("short", "long") for agent in agents]
    assert "of 10 sessions" in text
    publish(layout, tmp_path)
    assert {"offline.csv", "offline.md"} <= {path.name for path in (tmp_path / "movielens").iterdir()}


def test_finished_stages_are_skipped_and_a_missing_one_is_done(done):
    source, layout = done
    (layout.validity / "validity.png").unlink()
    before = modified(layout)
    run(PipelineConfig(source, layout.out, FIT_SMALL, benchmark=False))
    after = modified(layout)
    changed = {path for path, moment in after.items() if before.get(path) != moment}
    assert changed == {str(layout.validity / f"validity.{kind}") for kind in ("html", "json", "md", "png")}


def test_the_frozen_preset_is_what_the_default_folder_holds():
    assert {task.simulator for task in make_preset("movielens").tasks} == {str(Layout(MOVIELENS).simulators)}


def test_no_stage_needs_what_a_later_one_makes(tmp_path, monkeypatch):
    stages = ("make_logs", "fit_simulators", "judge_simulator", "measure_bounds", "run_benchmark", "rank_sessions")
    for name in stages:
        monkeypatch.setattr(movielens, name, lambda *arguments, name=name: done.append(name))
    done = []
    run(PipelineConfig(tmp_path, tmp_path / "nothing yet", offline=True))
    assert tuple(done) == stages


def test_settings_are_checked(tmp_path):
    with pytest.raises(ValueError, match="workers: got 0, allowed 1 or more"):
        PipelineConfig(tmp_path, workers=0)
    with pytest.raises(ValueError, match="no such file or folder"):
        run(PipelineConfig(tmp_path / "absent.zip", tmp_path / "out", benchmark=False))
