"""Presets: frozen, complete, and with seeds that do not meet."""

import pytest
from recsim_hrl_agents.registry import agent_class, agent_config, agent_names

from benchmarks.settings import ABLATED, TRIALS, WINNERS, long_settings
from benchmarks.tasks import RANKERS, Entry, Preset, Run, Task, make_preset, training_log
from recsim_hrl.data.log import InteractionLog


@pytest.mark.parametrize(("name", "seeds"), [("quick", 2), ("full", 5), ("movielens", 3)])
def test_presets_compare_agents_in_short_and_long_sessions(name, seeds):
    preset = make_preset(name)
    assert [(task.name, task.env_id, task.session_length) for task in preset.tasks] == [
        ("short", "RecSessionShort-v0", 50),
        ("long", "RecSessionLong-v0", 200),
    ]
    agents = {entry.agent for entry in preset.entries}
    assert agents <= set(agent_names()) and agents >= {"random", "ddpg", "mahrl-items", "goal-q", "greedy"}
    if name != "quick":
        assert agents == set(agent_names()) - ({"mahrl-anchored"} if name == "movielens" else set())
    # Popularity is the same from every seed and runs once.
    assert len(preset.runs()) == 2 * ((len(agents) - 1) * seeds + 1)


@pytest.mark.parametrize("name", ["quick", "full", "movielens"])
def test_agents_that_learn_have_one_budget(name):
    entries = [entry for entry in make_preset(name).entries if entry.agent not in ("random", "popularity")]
    assert len({entry.steps for entry in entries}) == 1
    for entry in entries:
        settings = dict(entry.settings)
        agent_config(entry.agent, **settings)  # all settings are the agent's
        from_log = agent_class(entry.agent).learns_from == "log"
        assert (entry.agent in RANKERS) == entry.needs_log == from_log
        assert not from_log or settings["impressions"] == entry.steps


def test_ablations_have_the_settings_of_mahrl_but_for_what_makes_them_so(monkeypatch):
    tuned = {"M": 3, "c": 12, "guide": "both", "high_histories": ("browsed", "clicked"), "alpha": 0.7}
    monkeypatch.setitem(TRIALS, "mahrl", (tuned,))
    monkeypatch.setitem(WINNERS, "mahrl", 0)
    for agent in ABLATED:
        config, own = agent_config(agent, **long_settings(agent)), agent_config(agent)
        differing = {
            name for name, value in vars(agent_config("mahrl", **tuned)).items() if getattr(config, name) != value
        }
        assert differing == set(ABLATED[agent])
        assert all(getattr(config, name) == getattr(own, name) for name in ABLATED[agent])
    assert long_settings("mahrl") == tuned


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match="preset: got 'huge', allowed 'quick', 'full' or 'movielens'"):
        make_preset("huge")


def test_training_and_evaluation_seeds_do_not_meet():
    for name in ("quick", "full", "movielens"):
        preset = make_preset(name)
        for task in preset.tasks:
            judged = set(range(task.evaluation_seed, task.evaluation_seed + task.sessions + task.parallel))
            starts = sorted({run.training_seed for run in preset.runs() if run.task == task})
            learned = [seed + place for seed in starts for place in range(task.parallel)]
            assert len(learned) == len(set(learned))
            assert not judged & set(learned)


def test_order_of_runs_by_hand():
    task = Task("short", "RecSessionShort-v0", 50, sessions=10)
    preset = Preset("tiny", (task,), (Entry("ddpg", steps=7), Entry("popularity", deterministic=True)), seeds=2)
    assert [(run.entry.agent, run.seed, run.cost) for run in preset.runs()] == [
        ("ddpg", 0, 507),
        ("ddpg", 1, 507),
        ("popularity", 0, 500),
    ]
    assert [run.training_seed for run in preset.runs()] == [100_000, 200_000, 100_000]


def test_settings_are_checked():
    with pytest.raises(ValueError, match="task short sessions: got 0, allowed 1 or more"):
        Task("short", "RecSessionShort-v0", 50, sessions=0)
    with pytest.raises(ValueError, match="entry ddpg steps: got -1"):
        Entry("ddpg", steps=-1)
    assert Run(Task("short", "RecSessionShort-v0", 50, 1), Entry("random"), 0).cost == 50


def test_a_log_that_cannot_be_made_is_asked_for(tmp_path):
    task = make_preset("movielens").tasks[0]
    with pytest.raises(ValueError, match="training log of 'movielens': got no folder .*put the log"):
        training_log(task, tmp_path)
    (tmp_path / "movielens").mkdir()
    assert training_log(task, tmp_path) == tmp_path / "movielens"


def test_the_default_log_is_written_once(tmp_path):
    task = Task("short", "RecSessionShort-v0", 50, sessions=1, log_impressions=500)
    path = training_log(task, tmp_path / "logs")
    assert InteractionLog.open(path).rows >= 500
    written = (path / "metadata.json").stat().st_mtime_ns
    assert training_log(task, tmp_path / "logs") == path
    assert (path / "metadata.json").stat().st_mtime_ns == written
