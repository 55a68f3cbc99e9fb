"""Sensitivity and convergence of MaHRL: what is varied, by hand; and both commands on a tiny market."""

from dataclasses import replace

import pytest
from recsim_hrl_agents.registry import agent_config

import benchmarks.sensitivity as sensitivity_command
from benchmarks.aggregate import read_csv
from benchmarks.convergence import AGENTS, ConvergenceConfig, convergence, steps_until_there
from benchmarks.records import load_record
from benchmarks.sensitivity import (
    BASE,
    CHOICES,
    CHOSEN,
    HISTORY_LENGTH,
    SCALES,
    STUDIES,
    Scale,
    SensitivityConfig,
    sensitivity,
    variants,
)
from benchmarks.tasks import Preset, Task
from recsim_hrl.simulator.store import random_simulator, save_simulator


@pytest.fixture
def tiny_market(tmp_path, monkeypatch):
    """Both presets on a market of 60 items, in trainings of a moment."""
    for split in ("train", "test"):
        save_simulator(random_simulator(items=60), tmp_path / "market" / split)
    market = {"simulator": str(tmp_path / "market"), "candidates": 30}
    tasks = (Task("short", "RecSessionShort-v0", 6, 12, **market), Task("long", "RecSessionLong-v0", 12, 12, **market))
    monkeypatch.setattr(sensitivity_command, "make_preset", lambda name: Preset("full", tasks, (), seeds=1))
    small = {"warmup_steps": 16, "steps_per_update": 16, "batch_size": 8, "hidden": 8, "high_buffer_size": 100}
    scale = Scale(96, 2, 8, 4, ("short", "long"), ("short", "long"), tuple(small.items()))
    monkeypatch.setitem(SCALES, "quick", scale)
    return tmp_path


def test_studies_vary_one_setting_each():
    wanted = variants(SensitivityConfig(preset="full"))
    assert STUDIES["alpha"] == (0.1, 0.3, 0.5, 0.7, 0.9) and STUDIES["M"] == (1, 2, 3, 4)  # Figures 8 and 9
    for variant in wanted:
        run = variant.runs[0]
        settings = dict(run.entry.settings)
        agent_config(run.entry.agent, **settings)
        if variant.study == CHOICES:
            assert settings == BASE | CHOSEN[variant.value]
        elif variant.study == HISTORY_LENGTH:
            assert settings == BASE and run.task.history == int(variant.value)
        else:
            also = {"c": 24} if variant.study == "M" else {}  # what 1, 2, 3 and 4 divide
            assert settings == BASE | also | {variant.study: float(variant.value)} and run.task.history == 10
    assert len(wanted) == sum(map(len, STUDIES.values())) + 2 * len(CHOSEN)
    assert {variant.runs[0].task.name.partition("-")[0] for variant in wanted if variant.study != CHOICES} == {"long"}
    assert {len(variant.runs) for variant in wanted} == {2}


def test_as_written_is_what_the_paper_says():
    *_, paper = CHOSEN.values()
    config = agent_config("mahrl", **BASE | paper)
    assert (config.guide, config.search, config.realised, config.from_goal) == ("reward", 0, False, False)
    assert (config.alpha, config.beta, config.gamma, config.n_step) == (0.5, 1.0, 0.95, 1)
    assert config.relu_output and config.high_histories == ("clicked", "ordered")
    assert not config.products and config.low_level().known_reward == 0


def test_unknown_studies_are_refused():
    with pytest.raises(ValueError, match=r"studies: got \['gamma'\], allowed \['alpha', 'M'"):
        SensitivityConfig(studies=("gamma", "alpha"))


def test_sensitivity_of_a_tiny_market(tiny_market, monkeypatch):
    config = SensitivityConfig(studies=("alpha", HISTORY_LENGTH), out=tiny_market, workers=1)
    monkeypatch.setitem(STUDIES, "alpha", (0.1, BASE["alpha"]))
    monkeypatch.setitem(STUDIES, HISTORY_LENGTH, (5, 10))
    told = sensitivity(config)
    folder = tiny_market / "sensitivity-quick"
    records = [load_record(path) for path in (folder / "runs").glob("*.json")]
    # Two seeds and two tasks of three variants: where alpha and N are as ever, the studies share their runs.
    assert len(records) == 2 * 2 * 3
    rows = read_csv(folder / "sensitivity.csv")
    assert [row[:4] for row in rows[:3]] == [["alpha", "short", "0.1", "2"], ["alpha", "short", "0.5", "2"]] + [
        ["alpha", "long", "0.1", "2"]
    ]
    results = {tuple(row[:3]): row[3:] for row in rows}
    for task in ("short", "long"):
        assert results["alpha", task, str(BASE["alpha"])] == results[HISTORY_LENGTH, task, "10"]
    windows = [one for one in records if one.task == "short-n5"]
    click = sum(sum(one.click_rewards) for one in windows) / 16
    assert float(results[HISTORY_LENGTH, "short", "5"][4]) == pytest.approx(click)
    assert "N, long sessions" in told and (folder / "sensitivity.png").stat().st_size > 1000
    assert "python -m benchmarks.sensitivity --preset quick" in (folder / "sensitivity.md").read_text()
    written = {path: path.stat().st_mtime_ns for path in (folder / "runs").glob("*.json")}
    assert sensitivity(config) == told  # finished runs are found
    assert written == {path: path.stat().st_mtime_ns for path in (folder / "runs").glob("*.json")}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1, 5, 9.4, 9.5, 10, 10], 4),  # 95% of 10
        ([0, 20, 10], 2),  # above it is there too
        ([-10, -4, -2.2, -2.1, -2], 4),  # 5% of the size below a negative final value
        ([3], 1),
    ],
)
def test_steps_until_there_by_hand(values, expected):
    assert steps_until_there(range(1, len(values) + 1), values) == expected
    tail = [0.0] * 8 + [4, 9, 10, 10, 10, 8] + [5.0] * 4 + [15.0] * 2  # twenty points: the final value is that of two
    assert steps_until_there(range(20), tail) == 18


def test_convergence_of_a_tiny_market(tiny_market):
    config = ConvergenceConfig(out=tiny_market, workers=1)
    told = convergence(config)
    folder = tiny_market / "convergence-quick"
    rows = read_csv(folder / "convergence.csv")
    assert {tuple(row[:3]) for row in rows} == {
        (task, agent, seed) for task in ("short", "long") for agent in AGENTS for seed in "0"
    }
    assert {row[3] for row in rows} == {"total_reward", "order_reward", "q", "high_q"}
    assert {row[1] for row in rows if row[3] == "high_q"} == set(AGENTS) - {"ddpg"}, "DDPG+ has no high level"
    assert max(float(row[4]) for row in rows) == 96
    assert (
        "Q, high level" in told and "seconds of one core" in told and (folder / "convergence.png").stat().st_size > 1000
    )
    assert len(list((folder / "runs").glob("*.json"))) == 10


def test_all_train_for_three_budgets_hrl_g_with_one_goal_and_mahrl_with_more():
    from benchmarks.convergence import training_preset

    runs = training_preset(replace(ConvergenceConfig(), preset="full")).runs()
    assert {run.entry.steps for run in runs} == {1_536_000}
    goals = {
        run.entry.agent: agent_config(run.entry.agent, **dict(run.entry.settings)).M
        for run in runs
        if run.entry.agent != "ddpg"
    }
    assert goals["hrl-g"] == 1 and goals["mahrl"] > 1
