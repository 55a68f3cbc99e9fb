"""Tuning: equal budgets, the winner by hand, and trials that stay away from what benchmarks judge."""

import dataclasses
import json
from pathlib import Path

import pytest
from recsim_hrl_agents import agent_class

from benchmarks.aggregate import read_csv
from benchmarks.settings import TRIALS, WINNERS
from benchmarks.tasks import make_preset
from benchmarks.tuning import (
    COLUMNS,
    EVALUATION_SEED,
    SEEDS,
    TASKS,
    TuningConfig,
    best_settings,
    finalists,
    main,
    trial_runs,
)


def test_every_agent_has_the_same_number_of_trials_of_the_same_length():
    runs = trial_runs(TuningConfig(steps=1000))
    assert {len(trials) for trials in TRIALS.values()} == {len(TRIALS["ddpg"])}
    assert len(runs) == 2 * sum(map(len, TRIALS.values()))
    assert {run.entry.steps for _, run in runs} == {1000}
    assert {run.task.parallel for _, run in runs} == {task.parallel for task in make_preset("full").tasks}
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


def rows_of(agent, totals, seed):
    """One seed's rows: ``totals`` are (short, long) of each trial."""
    tasks = [
        (trial, task, value)
        for trial, pair in totals.items()
        for task, value in zip(("short", "long"), pair, strict=True)
    ]
    return [[agent, str(trial), task, str(seed), "10", "{}", str(value), "0", "0", "1"] for trial, task, value in tasks]


FIRST = {0: (4, 20), 1: (5, 10), 2: (2, 18), 3: (1, 1), 4: (1, 1), 5: (1, 1)}  # scores 0.9, 0.75, 0.65 and next to none


def test_the_best_of_the_first_round_reach_the_second():
    rows = rows_of("ddpg", FIRST, SEEDS[0])
    assert finalists(rows) == {"ddpg": (0, 1)}
    assert finalists(rows[:-1]) == {}  # the first round is not over
    again = [(trial, run.seed) for trial, run in trial_runs(TuningConfig(agents=("ddpg",)), rows) if run.seed != 90]
    assert sorted(again) == sorted([(trial, seed) for trial in (0, 1) for seed in SEEDS[1:]] * 2)


def test_the_winner_by_hand():
    rows = rows_of("ddpg", FIRST, SEEDS[0])
    assert best_settings(rows) == {}  # the second round is not over
    rows += rows_of("ddpg", {0: (4, 10), 1: (7, 20)}, SEEDS[1])
    rows += rows_of("ddpg", {0: (4, 15), 1: (6, 30)}, SEEDS[2])
    # Means: trial 0 has 4 and 15, trial 1 has 6 and 20, the better in both.
    assert best_settings(rows) == {"ddpg": (1, pytest.approx(1.0))}
    rows = rows_of("ddpg", FIRST, SEEDS[0]) + rows_of("ddpg", {0: (8, 22), 1: (4, 30)}, SEEDS[1])
    rows += rows_of("ddpg", {0: (6, 18), 1: (3, 35)}, SEEDS[2])
    # Means: trial 0 has 6 and 20, trial 1 has 4 and 25.
    assert best_settings(rows) == {"ddpg": (0, pytest.approx((1 + 20 / 25) / 2))}


def test_the_configuration_reaches_the_runs():
    runs = trial_runs(dataclasses.replace(TuningConfig(), agents=("greedy", "sb3-dqn"), simulator="mine", steps=20))
    assert {run.task.simulator for _, run in runs} == {"mine"}
    assert {run.entry.action for _, run in runs if run.entry.agent == "sb3-dqn"} == {"item"}
    assert {dict(run.entry.settings)["impressions"] for _, run in runs if run.entry.agent == "greedy"} == {20}


def test_trials_of_another_simulator_are_not_continued(tmp_path):
    path = tmp_path / "tuning.csv"
    path.write_text(",".join(COLUMNS) + "\nddpg,0,short,90,10,{},4,3,1,1,0123456789abcdef\n")
    with pytest.raises(ValueError, match="tuning.csv: 1 trials are of another simulator; move the file away"):
        main(TuningConfig(out=path, agents=("ddpg",)))


@pytest.mark.parametrize("agent", TRIALS)
def test_no_trial_rests_on_a_default_that_another_one_varies(agent):
    assert len({frozenset(trial) for trial in TRIALS[agent]}) == 1


def test_the_committed_table_holds_the_trials_that_are_tried_now():
    rows = read_csv(TuningConfig().out)
    assert rows and {row[0] for row in rows} <= set(TRIALS)
    for agent, trial, _, seed, steps, settings, *_ in rows:
        tried = TRIALS[agent][int(trial)]
        assert json.loads(settings).items() >= json.loads(json.dumps(tried)).items()
        assert int(seed) in SEEDS and int(steps) == TuningConfig().steps


def test_settings_of_long_trainings_are_the_winners():
    assert {agent: trial for agent, (trial, _) in best_settings(read_csv(TuningConfig().out)).items()} == WINNERS


def test_the_page_tells_of_the_winners():
    page = (Path(__file__).parents[2] / "docs" / "agents" / "mahrl.md").read_text(encoding="utf-8")
    rows = read_csv(TuningConfig().out)
    for agent, trial in WINNERS.items():
        own = [row for row in rows if row[:2] == [agent, str(trial)]]
        totals = {task: [float(row[6]) for row in own if row[2] == task] for task in TASKS}
        assert {len(values) for values in totals.values()} == {len(SEEDS)}
        told = [f"{sum(v) / len(v):.1f} | {min(v):.1f} to {max(v):.1f}" for v in (totals["short"], totals["long"])]
        assert f"| `{agent}` | {' | '.join(told)} |" in page
