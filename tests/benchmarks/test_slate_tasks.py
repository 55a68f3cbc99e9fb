"""Presets of slates: frozen, with one budget, and with seeds that do not meet."""

import gymnasium as gym
import pytest
from recsim_hrl_agents.registry import agent_class, agent_config, slate_agent_names

from benchmarks.aggregate import read_csv
from benchmarks.slate_bounds import PLANNER_SEED, SEED_STEP, PlannerSearch
from benchmarks.slate_settings import SLATE_ABLATED, SLATE_TRIALS, SLATE_WINNERS, slate_settings
from benchmarks.slate_tasks import slate_entry, slate_learners, slate_preset, slates_task, temper_task
from benchmarks.slate_tuning import SLATES, SlateTuningConfig
from benchmarks.tasks import Run
from benchmarks.training import VALIDATION_SEED, make_env
from benchmarks.tuning import EVALUATION_SEED, best_settings, trial_runs
from recsim_hrl.simulator.store import random_simulator, save_simulator

PRESETS = ("quick", "full", "movielens")


@pytest.mark.parametrize(("name", "seeds"), [("quick", 1), ("full", 5), ("movielens", 3)])
def test_presets_have_both_rules_and_one_budget(name, seeds):
    preset = slate_preset(name)
    rules = [(task.name, task.leave, task.reward, task.slate_size, task.session_length) for task in preset.tasks]
    assert rules == [("slates", "learned", "responses", 9, 20), ("temper", "temper", "clicks", 9, 20)]
    assert len({entry.steps for entry in preset.entries}) == 1
    for entry in preset.entries:
        from_log = agent_class(entry.agent).learns_from == "log"
        assert entry.needs_log == from_log
        assert not from_log or dict(entry.settings)["impressions"] == 9 * entry.steps
    agents = [entry.agent for entry in preset.entries]
    assert len(set(agents)) == len(agents) and set(agents) <= set(slate_agent_names())
    learners = [agent for agent in slate_agent_names() if agent_class(agent).learns_from != "nothing"]
    assert slate_learners() == learners
    if name != "quick":
        assert agents == [agent for agent in learners if name == "full" or agent not in SLATE_ABLATED]
    ablations = set(agents) & set(SLATE_ABLATED)
    assert len(preset.runs()) == (2 * len(agents) - len(ablations)) * seeds
    assert not [run for run in preset.runs() if run.task.name == "temper" and run.entry.agent in ablations]
    for entry in preset.entries:
        agent_config(entry.agent, **dict(entry.settings))  # all settings are the agent's


def test_the_arguments_reach_the_environment(tmp_path):
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60, users=8), tmp_path / split)
    size = {"slate_size": 3, "session_length": 4, "candidates": 20, "stock": 30, "simulator": str(tmp_path)}
    for task in (slates_task(**size, turnover=0.2, sessions_later=3), temper_task(**size)):
        env = make_env(Run(task, slate_entry("hac", 100), 0), "test")
        config = env.unwrapped.core.config
        assert (config.slate_size, config.max_requests, config.candidates, config.stock) == (3, 4, 20, 30)
        assert (config.leave, config.reward, config.history) == (task.leave, task.reward, 20)
        assert (config.catalog_turnover, config.catalog_start) == (task.turnover, task.sessions_later)
        assert env.unwrapped.core.data.name == "random" and isinstance(env, gym.vector.VectorEnv)


def test_users_of_different_purposes_do_not_meet():
    for name in PRESETS:
        preset = slate_preset(name)
        for task in preset.tasks:
            starts = {run.training_seed for run in preset.runs()}
            spans = sorted((start, start + task.parallel) for start in starts)
            spans.append((task.evaluation_seed, task.evaluation_seed + task.sessions + task.parallel))
            spans.append((VALIDATION_SEED, VALIDATION_SEED + 10_000))
            last = PLANNER_SEED + SEED_STEP * PlannerSearch().rounds
            spans += [(PLANNER_SEED, last), (EVALUATION_SEED, EVALUATION_SEED + 10_000)]
            assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False))
    assert PlannerSearch().sessions + slates_task().parallel <= SEED_STEP, "no round meets the users of another"


def test_every_agent_has_as_many_trials_on_the_train_simulator_alone():
    assert set(SLATE_TRIALS) == set(slate_learners()) - set(SLATE_ABLATED)
    assert {len(trials) for trials in SLATE_TRIALS.values()} == {4}
    for agent, trials in SLATE_TRIALS.items():
        assert len({frozenset(trial) for trial in trials}) == 1, f"{agent}: no trial rests on a default of another"
        default = vars(agent_config(agent))
        assert {name: default[name] for name in trials[0]} == trials[0], "what has no winner yet has the first trial"
        for trial in trials:
            agent_config(agent, **trial)
    runs = trial_runs(SlateTuningConfig(), family=SLATES)
    assert len(runs) == 4 * len(SLATE_TRIALS)
    assert {run.task.name for _, run in runs} == {"slates"}
    assert {run.entry.steps for _, run in runs} == {slate_preset("full").entries[0].steps}


def test_the_winners_are_those_of_the_committed_table():
    path = SlateTuningConfig().out
    rows = read_csv(path) if path.exists() else []
    assert {agent: trial for agent, (trial, _) in best_settings(rows, SLATES).items()} == SLATE_WINNERS


def test_ablations_have_the_settings_of_the_whole_but_for_what_makes_them_so(monkeypatch):
    tuned = {"gamma": 0.8, "entropy": 0.5}
    monkeypatch.setitem(SLATE_TRIALS, "hsrl", (tuned,))
    monkeypatch.setitem(SLATE_WINNERS, "hsrl", 0)
    assert slate_settings("hsrl") == tuned and slate_settings("hsrl-no-entropy") == {"gamma": 0.8}
    for agent in set(SLATE_ABLATED) & set(slate_learners()):
        whole, own = SLATE_ABLATED[agent]
        configs = [vars(agent_config(name, **slate_settings(name))) for name in (whole, agent)]
        assert {name for name in configs[0] if configs[0][name] != configs[1][name]} == set(own)
