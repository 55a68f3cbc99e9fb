"""Ranking held-out sessions: metrics by hand, sessions from a log, and the whole command on a tiny preset."""

import csv
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from recsim_hrl_agents import LoggedSessions, make_agent
from recsim_hrl_agents.baselines.random import RandomAgent
from recsim_hrl_agents.logged import Windows

import benchmarks.run as run_command
from benchmarks.aggregate import read_csv
from benchmarks.offline import OfflineConfig, offline
from benchmarks.offline_table import gains_of, legend, task_table, values_of, write_offline
from benchmarks.paper import RANKING, ranking_gain
from benchmarks.ranking import Counts, HeldOut, Ranking, measure, score_sessions
from benchmarks.run import RunConfig, run
from benchmarks.tasks import Entry, Preset, Task, held_out_log, make_preset
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.writer import LogWriter
from recsim_hrl.simulator.store import load_simulator, random_simulator, save_simulator
from recsim_hrl.vector.session import RecSessionVectorEnv

LOG2 = np.log2  # log2(place + 1) discounts a place


def metrics_of(gains, scores):
    measured = measure([np.array(gains, float)], [np.array(scores, float)])
    return [float(measured[name][0]) for name in ("map", "ndcg20", "ndcg40")]


def test_metrics_of_short_lists_by_hand():
    # In order of score: skip, order, skip, click.
    average = (1 / 2 + 2 / 4) / 2
    gained = (5 / LOG2(3) + 1 / LOG2(5)) / (5 / LOG2(2) + 1 / LOG2(3))
    assert metrics_of([0, 1, 5, 0], [0.9, 0.1, 0.8, 0.3]) == pytest.approx([average, gained, gained])
    # The best order, and the worst of the same items.
    assert metrics_of([5, 1, 0], [3, 2, 1]) == pytest.approx([1, 1, 1])
    worst = (1 / LOG2(3) + 5 / LOG2(4)) / (5 + 1 / LOG2(3))
    assert metrics_of([5, 1, 0], [1, 2, 3]) == pytest.approx([(1 / 2 + 2 / 3) / 2, worst, worst])


def test_metrics_of_long_lists_stop_at_20_and_40():
    gains = np.zeros(50)
    gains[[4, 29, 44]] = 1, 5, 1  # at places 5, 30 and 45
    ideal = 5 / LOG2(2) + 1 / LOG2(3) + 1 / LOG2(4)
    expected = [
        (1 / 5 + 2 / 30 + 3 / 45) / 3,
        (1 / LOG2(6)) / ideal,
        (1 / LOG2(6) + 5 / LOG2(31)) / ideal,
    ]
    assert metrics_of(gains, -np.arange(50)) == pytest.approx(expected)


def test_equal_scores_share_a_place_whatever_the_order_of_the_log():
    # One order among four items of equal score, all behind a skipped one: five items have it, at place 2 to 5.
    gained = np.mean([1 / LOG2(place + 1) for place in (2, 3, 4, 5)])
    for place in range(1, 5):
        gains = np.zeros(5)
        gains[place] = 5
        assert metrics_of(gains, [1, 0, 0, 0, 0]) == pytest.approx([1 / 5, gained, gained])


LOG = LoggedSessions(
    item_index=np.array([7, 8, 9, 1, 2, 3, 4, 5, 6], np.int32),
    response=np.array([0, 1, 2, 0, 0, 1, 0, 2, 0], np.int8),
    offsets=np.array([0, 2, 3, 5, 6, 9]),  # [7 8] [9] [1 2] [3] [4 5 6]
    user_ids=np.array([20, 10, 30, 10, 20]),
)


def test_sessions_that_count_and_what_their_users_bring_along():
    held_out = HeldOut.of(LOG, history=3)
    # Users 10 and 20: the sessions of one item and the one without a click are left out.
    assert held_out.counts == Counts(sessions=5, without_click=1, of_one_item=2, ranked=2, without_history=1)
    assert [items.tolist() for items in held_out.items] == [[7, 8], [4, 5, 6]]
    assert [gains.tolist() for gains in held_out.gains] == [[0, 1], [0, 5, 0]]
    assert held_out.windows["browsed"].tolist() == [[0, 0, 0], [0, 8, 9]]
    assert held_out.windows["clicked"].tolist() == [[0, 0, 0], [0, 0, 9]]
    assert held_out.windows["ordered"].tolist() == [[0, 0, 0], [0, 0, 0]]
    assert HeldOut.of(LOG, 3).windows.keys() == Windows(LOG.by_user(), 3).take(np.array([0])).keys()
    with pytest.raises(ValueError, match="got 1 sessions, none of two items or more with a click"):
        HeldOut.of(LoggedSessions(np.arange(3), np.zeros(3, int), np.array([0, 3])), 3)


def test_scores_of_padded_batches_are_those_of_sessions_alone():
    env = RecSessionVectorEnv(2, simulator=random_simulator(items=60), observation="item_ids")
    agent = make_agent("ddpg", env)
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 9, 150)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = offsets[-1]
    log = LoggedSessions(rng.integers(0, 60, rows), rng.integers(0, 3, rows), offsets, rng.integers(0, 40, 150))
    held_out = HeldOut.of(log, agent.market.history)
    for session, scores in enumerate(score_sessions(agent, held_out)):
        windows = {key: window[session : session + 1] for key, window in held_out.windows.items()}
        alone = agent.score(windows, held_out.items[session][None])[0]
        np.testing.assert_allclose(scores, alone, rtol=1e-4, atol=1e-6)


def test_the_paper_s_gains_are_those_that_it_prints():
    printed = {  # MaHRL Table 2
        "cf": ("-9.78%", "-15.58%", "-15.74%"),
        "fm": ("-13.90%", "-21.26%", "-21.57%"),
        "wide-deep": ("-4.98%", "-5.36%", "-5.01%"),
        "gru": ("-4.52%", "-5.05%", "-4.74%"),
        "deers": ("", "", ""),
        "ddpg": ("-0.34%", "-2.23%", "-0.23%"),
        "hrl-i": ("-5.68%", "-6.19%", "-5.76%"),
        "hrl-s": ("+5.04%", "+1.29%", "+1.61%"),
        "hrl-g": ("+6.23%", "+2.23%", "+2.74%"),
        "mahrl": ("+7.97%", "+5.36%", "+6.30%"),
    }
    assert {agent: tuple(ranking_gain(agent, place) for place in range(3)) for agent in RANKING} == printed
    assert ranking_gain("greedy", 0) == ""


COUNTS = Counts(sessions=5, without_click=1, of_one_item=0, ranked=4, without_history=2)


def ranking(agent, values, seed=0):
    metrics = {name: tuple(float(value) for value in values) for name in ("map", "ndcg20", "ndcg40")}
    return Ranking("short", agent, seed, "key", "log", COUNTS, metrics)


def test_gains_are_over_deers_on_the_same_sessions(tmp_path):
    # Of every session 10% more than DEERS: the interval of the gain has no width, that of the mean has.
    rankings = [ranking("ddpg", [0.22, 0.44, 0.66, 0.88]), ranking("deers", [0.2, 0.4, 0.6, 0.8])]
    values, alone = values_of(rankings), values_of(rankings[:1])
    title, (header, first, second) = task_table(rankings, values, gains_of(values))
    assert title == "Task short: 4 held-out sessions, 1 training seed"
    assert header == ("", "MAP", "gain", "paper", "NDCG@20", "gain", "paper", "NDCG@40", "gain", "paper")
    assert first[0] == "deers" and first[1].startswith("0.5000 [0.") and first[2:4] == ("", "")
    assert second[:1] + second[2:4] == ("ddpg", "+10.00% [+10.00%, +10.00%]", "-0.34%")
    assert not [note for note in legend(rankings, []) if "deers" in note]
    _, (_, row) = task_table(rankings[:1], alone, gains_of(alone))
    assert row[2] == "" and "Without `deers` among the agents" in legend(rankings[:1], [])[-1]
    write_offline(rankings, [], "a command", tmp_path)
    rows = read_csv(tmp_path / "offline_gains.csv")
    tenth = ["0.100000"] * 3
    assert rows == [["short", "ddpg", name, *tenth] for name in ("map", "ndcg20", "ndcg40")]


def test_a_kept_ranking_is_read_again(tmp_path):
    kept = ranking("ddpg", [0.25, 0.5, 1, 0])
    (tmp_path / "one.json").write_bytes(kept.content())
    assert Ranking.load(tmp_path / "one.json") == kept
    (tmp_path / "one.json").write_text("{}")
    with pytest.raises(ValueError, match="is no ranking .*delete it"):
        Ranking.load(tmp_path / "one.json")


@pytest.fixture
def preset(tmp_path, monkeypatch):
    """A market of 60 items, its log in two halves of 40 sessions of 6 items, and three agents."""
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60), tmp_path / "market" / split)
    catalogue = load_simulator(str(tmp_path / "market"), "train").catalogue
    rng, rows = np.random.default_rng(0), np.arange(240)
    for half in ("train", "test"):
        with LogWriter(tmp_path / "out" / "logs" / "market" / half, catalogue) as writer:
            columns = {"session_id": rows // 6, "step": rows % 6, "user_id": rows // 12}
            columns |= {"item_index": rng.integers(0, 60, 240), "response": rng.choice(3, 240, p=[0.7, 0.2, 0.1])}
            writer.append(columns)
    task = Task("short", "RecSessionShort-v0", 5, 6, str(tmp_path / "market"), candidates=30, parallel=4)
    entries = (Entry("popularity", needs_log=True, deterministic=True), Entry("ddpg", steps=40), Entry("random"))
    monkeypatch.setattr(run_command, "make_preset", lambda name: preset)
    preset = Preset("quick", (task,), entries, seeds=2)
    return preset


def modified(folder):
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*.json")}


def test_the_command_ranks_with_the_agents_of_the_benchmark(tmp_path, preset, monkeypatch, capsys):
    monkeypatch.setattr(RandomAgent, "can_score", classmethod(lambda cls: False))
    out = tmp_path / "out"
    run(RunConfig(out=out, workers=1, agents=("popularity",)))
    saved = modified(out / "quick" / "agents")
    assert len(saved) == 1
    text = offline(OfflineConfig(out=out, workers=1))
    # Popularity was there; both trainings of ddpg were done whole, for benchmarks.run to find.
    assert len(list((out / "quick" / "runs").iterdir())) == 3
    after = modified(out / "quick")
    assert {path: after[path] for path in saved} == saved and len(modified(out / "quick" / "agents")) == 3
    with (out / "quick" / "offline.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["agent"], row["seed"], row["log"]) for row in rows] == [
        ("popularity", "0", "market/test"),
        ("ddpg", "0", "market/test"),
        ("ddpg", "1", "market/test"),
    ]
    # Popularity once more, from the saved rates alone.
    agent = make_agent("popularity", RecSessionVectorEnv(1, simulator=random_simulator(items=60), session_length=5))
    agent.load(next((out / "quick" / "agents").glob("short-popularity-*")))
    held_out = HeldOut.of(LoggedSessions.of(InteractionLog.open(out / "logs" / "market" / "test")), 10)
    measured = measure(held_out.gains, [agent.reward_rates[items] for items in held_out.items])
    assert float(rows[0]["map"]) == pytest.approx(measured["map"].mean(), abs=1e-6)
    assert rows[0]["sessions"] == str(held_out.counts.ranked)
    assert "Task short" in text and "Without `deers`" in text
    assert "Left out, as they have no scores of items: `random`." in text
    page = (out / "quick" / "offline.md").read_text()
    assert page.endswith("```\npython -m benchmarks.offline --preset quick\n```\n") and "| MAP | gain | paper |" in page
    capsys.readouterr()
    assert offline(OfflineConfig(out=out, workers=1)) == text
    assert modified(out / "quick") == after
    assert "3 of 3 rankings are finished already" in capsys.readouterr().err


def test_a_missing_agent_is_trained_again_and_ranks_the_same(tmp_path, preset, monkeypatch):
    preset = dataclasses.replace(preset, entries=preset.entries[1:2], seeds=1)
    monkeypatch.setattr(run_command, "make_preset", lambda name: preset)
    out = tmp_path / "out"
    offline(OfflineConfig(out=out, workers=1))
    (kept,) = (out / "quick" / "offline").iterdir()
    (saved,) = (out / "quick" / "agents").iterdir()
    first, weights = kept.read_text(), next(saved.glob("*.safetensors")).name
    kept.unlink()
    for path in saved.iterdir():
        path.unlink()  # as an interrupted save leaves it
    offline(OfflineConfig(out=out, workers=1))
    assert json.loads(kept.read_text()) == json.loads(first)
    assert next(saved.glob("*.safetensors")).name == weights


def test_held_out_sessions_are_not_those_that_agents_learn_from(tmp_path):
    task = Task("short", "RecSessionShort-v0", 50, sessions=1, log_impressions=2500)
    path = held_out_log(task, tmp_path)
    log = InteractionLog.open(path)
    assert path.name == "default-held-out-500" and log.rows >= 500 and log.metadata["seed"] == 12
    other = make_preset("movielens").tasks[0]
    with pytest.raises(ValueError, match="held-out log of 'movielens': got no folder .*put the log that the test"):
        held_out_log(other, tmp_path)
    (tmp_path / "movielens" / "test").mkdir(parents=True)
    assert held_out_log(other, tmp_path) == tmp_path / "movielens" / "test"


def test_without_scikit_learn_the_fix_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"got no scikit-learn.*pip install -e '.\[offline\]'"):
        offline(OfflineConfig(out=tmp_path))


def test_help_names_the_presets():
    shown = subprocess.run(
        [sys.executable, "-m", "benchmarks.offline", "--help"], capture_output=True, text=True, check=True
    )
    assert "--preset {quick,full,movielens}" in shown.stdout
