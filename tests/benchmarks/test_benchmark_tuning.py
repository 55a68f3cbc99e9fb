"""Tuning: equal budgets, the winner by hand, and trials that stay away from what benchmarks judge."""

import dataclasses

import pytest
from recsim_hrl_agents import agent_class

from benchmarks.aggregate import read_csv
from benchmarks.tasks import make_preset
from benchmarks.tuning import COLUMNS, EVALUATION_SEED, TRIALS, TuningConfig, best_settings, main, trial_runs


def test_every_agent_has_the_same_number_of_trials_of_the_same_length():
    runs = trial_runs(TuningConfig(steps=1000))
    assert {len(trials) for trials in TRIALS.values()} == {len(TRIALS["ddpg"])}
    assert len(runs) == 2 * sum(map(len, TRIALS.values()))
    assert {run.entry.steps for _, run in runs} == {1000}
    for agent, trials in TRIALS.items():
        for settings in trials:
            agent_class(agent).config_class(**settings)


def test_trials_meet_no_user_of_a_benchmark():
    judged = range(EVALUATION_SEED, EVALUATION_SEED + 10_000)
    for run in make_preset("full").runs():
        assert run.training_seed + run.task.parallel < judged.start
        assert run.task.evaluation_seed + run.task.sessions + run.task.parallel < judged.start
    trained = {run.training_seed for _, run in trial_runs(TuningConfig())}
    assert not trained & {run.training_seed for run in make_preset("full").runs()}


def test_best_settings_by_hand():
    def row(agent, trial, task, total):
        return [agent, str(trial), task, "10", "{}", str(total), "0", "0", "1"]

    rows = [row("a", 0, "short", 4), row("a", 0, "long", 20), row("a", 1, "short", 5), row("a", 1, "long", 10)]
    rows += [row("a", 2, "short", 9)]  # not finished yet: only the short task counts towards the best total there
    best = best_settings(rows)
    assert best == {"a": (0, pytest.approx((4 / 9 + 1) / 2))}


def test_the_configuration_reaches_the_runs():
    runs = trial_runs(dataclasses.replace(TuningConfig(), agents=("greedy", "sb3-dqn"), simulator="mine", steps=20))
    assert {run.task.simulator for _, run in runs} == {"mine"}
    assert {run.entry.action for _, run in runs if run.entry.agent == "sb3-dqn"} == {"item"}
    assert {dict(run.entry.settings)["impressions"] for _, run in runs if run.entry.agent == "greedy"} == {200}


def test_trials_of_another_simulator_are_not_continued(tmp_path):
    path = tmp_path / "tuning.csv"
    path.write_text(",".join(COLUMNS) + "\nddpg,0,short,10,{},4,3,1,1,0123456789abcdef\n")
    with pytest.raises(ValueError, match="tuning.csv: 1 trials are of another simulator; move the file away"):
        main(TuningConfig(out=path, agents=("ddpg",)))


@pytest.mark.parametrize("agent", TRIALS)
def test_no_trial_rests_on_a_default_that_another_one_varies(agent):
    assert len({frozenset(trial) for trial in TRIALS[agent]}) == 1


def test_the_defaults_are_the_winners_of_the_committed_table():
    best = best_settings(read_csv(TuningConfig().out))
    assert set(best) == set(TRIALS)
    for agent, (trial, _) in best.items():
        defaults = vars(agent_class(agent).config_class())
        assert {name: defaults[name] for name in TRIALS[agent][trial]} == TRIALS[agent][trial]
