"""The tuning behind the agents' default settings: the same number of trials of the same length for every agent.

    python -m benchmarks.tuning

Learns and judges on the ``train`` simulator alone, on users that no benchmark run meets, in short and in long
sessions, each trial as a benchmark run is done: the best checkpoint is kept. In the first round every setting is tried
once; in the second the two best settings of each agent are tried twice more, from other seeds. The winner is the one
of the two with the best mean over all three seeds and both tasks, each relative to the better of the two there. Stop
it whenever you like: finished trials are not repeated. Where the settings that are tried come from is told in
docs/agents/index.md.
"""

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from recsim_hrl_agents import LoggedSessions, agent_class, evaluate, make_agent
from recsim_hrl_agents.market import HISTORIES

from benchmarks.aggregate import read_csv, write_csv
from benchmarks.pools import open_pool
from benchmarks.records import simulator_fingerprint
from benchmarks.tasks import Entry, Run, Task, make_preset, training_log
from benchmarks.training import make_env, train_and_keep_the_best
from recsim_hrl.data.log import InteractionLog

COLUMNS = (
    "agent",
    "trial",
    "task",
    "seed",
    "steps",
    "settings",
    "total_reward",
    "click_reward",
    "order_reward",
    "cpu_seconds",
    "simulator",
)
SEEDS = (90, 91, 92)
"""Run seeds of a trial, the first one in the first round; benchmark runs count from 0."""
PARALLEL = 512
"""Users side by side."""
FINALISTS = 2
"""Settings of an agent that reach the second round."""
EVALUATION_SEED = 50_000_000
"""Of the first user that a trial is judged on."""

TASKS = sorted(task.name for task in make_preset("full").tasks)

# Every trial names all that any trial of its agent varies: the table decides the settings, so it must not rest on
# defaults, which are made for fewer users and steps.
_LOG = {"learning_rate": 2e-3, "weight_decay": 1e-4, "passes": 2}
_GREEDY = _LOG | {"hidden": 32, "half_lives": (2.0, 8.0)}
_CF = {"learning_rate": 5e-3, "weight_decay": 0.3, "passes": 2, "factors": 16, "agreement": 0.5}
_FM = _LOG | {"factors": 16, "half_lives": (2.0, 8.0)}
_WIDE_DEEP = _LOG | {"kinds": 32, "factors": 8, "hidden": (64, 32)}
_GRU = _LOG | {"hidden": 32}
_PACE = {"warmup_steps": 20_000, "steps_per_update": 256}
_DDPG = _PACE | {"n_step": 8, "gamma": 0.97, "actor_learning_rate": 1e-3, "final_noise": 1.0, "noise_steps": 250_000}
_DEERS = _PACE | {"gamma": 0.95, "n_step": 1, "double": False, "alpha": 0.1, "learning_rate": 1e-3}
_DEERS |= {"steps_per_update": 512, "width": 32, "joined": 16, "epsilon_steps": 250_000}
_MAHRL = _PACE | {"c": 20, "M": 2, "alpha": 0.5, "actor_learning_rate": 1e-4, "high_learning_rate": 1e-3}
_MAHRL |= {"high_gamma": 0.75, "high_histories": HISTORIES, "high_buffer_size": 60_000, "high_epsilon": 0.1}
_MAHRL |= {"from_goal": True, "knows_internal": True, "noise": 0.2, "final_noise": 0.1}
_MAHRL |= {"search": 100, "products": True, "realised": False}
_GOAL_Q = _PACE | {"c": 10, "gamma": 0.97, "learning_rate": 1e-3, "epsilon": 0.1, "hidden": (64, 32)}
_DQN = {"learning_starts": 20_000, "learning_rate": 1e-3, "gamma": 0.9, "exploration_final_eps": 0.05}
_DQN |= {"evaluation_eps": 0.05, "gradient_steps": 2}
_PPO = {"learning_rate": 2e-4, "gamma": 0.98, "n_epochs": 5, "net_arch": (128, 128)}
_TD3 = {"learning_starts": 20_000, "learning_rate": 3e-4, "gamma": 0.95, "action_noise": 0.2, "gradient_steps": 2}
_SAC = {"learning_starts": 20_000, "learning_rate": 3e-4, "gamma": 0.95, "ent_coef": "auto_0.01", "gradient_steps": 2}

TRIALS: dict[str, tuple[dict[str, Any], ...]] = {
    "cf": (
        _CF,
        _CF | {"weight_decay": 0.03},
        _CF | {"weight_decay": 1.0},
        _CF | {"learning_rate": 2e-3},
        _CF | {"factors": 32},
        _CF | {"agreement": 1.0},
    ),
    "fm": (
        _FM,
        _FM | {"weight_decay": 1e-2},
        _FM | {"weight_decay": 0.3},
        _FM | {"learning_rate": 5e-3},
        _FM | {"factors": 32},
        _FM | {"half_lives": (1.5, 4.0, 12.0)},
    ),
    "wide-deep": (
        _WIDE_DEEP,
        _WIDE_DEEP | {"weight_decay": 1e-2},
        _WIDE_DEEP | {"weight_decay": 0.3},
        _WIDE_DEEP | {"learning_rate": 5e-3},
        _WIDE_DEEP | {"hidden": (128, 64)},
        _WIDE_DEEP | {"kinds": 64},
    ),
    "gru": (
        _GRU,
        _GRU | {"weight_decay": 1e-2},
        _GRU | {"weight_decay": 0.3},
        _GRU | {"learning_rate": 5e-3},
        _GRU | {"hidden": 64},
        _GRU | {"passes": 1},
    ),
    "greedy": (
        _GREEDY,
        _GREEDY | {"hidden": 64},
        _GREEDY | {"learning_rate": 5e-3},
        _GREEDY | {"half_lives": (1.5, 4.0, 12.0)},
        _GREEDY | {"weight_decay": 1e-2},
        _GREEDY | {"passes": 4},
    ),
    "goal-q": (
        _GOAL_Q,
        _GOAL_Q | {"epsilon": 0.05},
        _GOAL_Q | {"steps_per_update": 512},
        _GOAL_Q | {"learning_rate": 5e-4},
        _GOAL_Q | {"gamma": 0.98},
        _GOAL_Q | {"hidden": (128, 64)},
    ),
    "ddpg": (
        _DDPG,
        _DDPG | {"n_step": 3},
        _DDPG | {"n_step": 16, "gamma": 0.98},
        _DDPG | {"final_noise": 0.3},
        _DDPG | {"actor_learning_rate": 3e-4},
        _DDPG | {"gamma": 0.95},
    ),
    "deers": (
        _DEERS,
        _DEERS | {"double": True},
        _DEERS | {"n_step": 4},
        _DEERS | {"gamma": 0.9},
        _DEERS | {"learning_rate": 3e-4},
        _DEERS | {"alpha": 0.02},
    ),
    "mahrl": (
        _MAHRL,
        _MAHRL | {"c": 10},
        _MAHRL | {"c": 10, "M": 1},
        _MAHRL | {"alpha": 0.1},
        _MAHRL | {"high_learning_rate": 3e-4},
        _MAHRL | {"actor_learning_rate": 1e-3},
    ),
    "sb3-dqn": (
        _DQN,
        _DQN | {"gamma": 0.8},
        _DQN | {"gamma": 0.95},
        _DQN | {"learning_rate": 5e-4},
        _DQN | {"exploration_final_eps": 0.1, "evaluation_eps": 0.1},
        _DQN | {"gradient_steps": 4},
    ),
    "sb3-ppo": (
        _PPO,
        _PPO | {"learning_rate": 4e-4},
        _PPO | {"learning_rate": 1e-4},
        _PPO | {"gamma": 0.95},
        _PPO | {"n_epochs": 10},
        _PPO | {"net_arch": ()},
    ),
    "sb3-td3": (
        _TD3,
        _TD3 | {"gradient_steps": 4},
        _TD3 | {"gamma": 0.98},
        _TD3 | {"gamma": 0.9},
        _TD3 | {"action_noise": 0.5},
        _TD3 | {"learning_rate": 1e-3},
    ),
    "sb3-sac": (
        _SAC,
        _SAC | {"gradient_steps": 4},
        _SAC | {"gamma": 0.98},
        _SAC | {"gamma": 0.9},
        _SAC | {"ent_coef": "0.01"},
        _SAC | {"learning_rate": 1e-3},
    ),
}
"""Settings that were tried, as many for each agent."""


@dataclass(frozen=True)
class TuningConfig:
    """What is tried, and how long."""

    simulator: str = "default"
    """Name or folder of the simulator; only its split ``train`` is touched."""
    out: Path = Path("benchmarks/results/tuning.csv")
    """The table; trials that it holds are not repeated."""
    agents: tuple[str, ...] = tuple(TRIALS)
    """Agents to tune."""
    steps: int = 512_000
    """Environment steps per trial of agents that act, and impressions that those fitted on a log read."""
    impressions: int = 25_600
    """Items shown when a trial is judged: 512 short or 128 long sessions."""
    logs: Path = Path("runs/logs")
    """Where the log that greedy learns from is kept."""
    workers: int = os.cpu_count() or 1
    """Trials at a time, one core each."""
    ray: str | None = None
    """Run on Ray: "local" starts it here, "auto" or "HOST:6379" joins a cluster."""


def trial_runs(config: TuningConfig, rows: Sequence[Sequence[str]] = ()) -> list[tuple[int, Run]]:
    """(trial, run) of all that is to be run, given the ``rows`` that are there: the first round, or also the second."""
    changes = {"simulator": config.simulator, "parallel": PARALLEL}
    tasks = [dataclasses.replace(task, **changes) for task in make_preset("full").tasks]
    second_round = finalists(rows)
    runs = []
    for agent in config.agents:
        for trial, settings in enumerate(TRIALS[agent]):
            budget = {"impressions": config.steps} if agent_class(agent).learns_from == "log" else {}
            action = "item" if agent == "sb3-dqn" else "embedding"
            entry = Entry(agent, config.steps, tuple((settings | budget).items()), action=action)
            seeds = SEEDS if trial in second_round.get(agent, ()) else SEEDS[:1]
            runs += [(trial, Run(task, entry, seed)) for task in tasks for seed in seeds]
    return runs


def execute_trial(trial: int, run: Run, config: TuningConfig) -> list[object]:
    """Learn and judge on the train simulator; returns a row of the table but for its simulator."""
    torch.set_num_threads(1)
    settings = dict(run.entry.settings)
    env = make_env(run, "train")
    try:
        started = time.process_time()
        agent = make_agent(run.entry.agent, env, seed=run.training_seed, **settings)
        if agent.learns_from == "log":
            agent.fit(LoggedSessions.of(InteractionLog.open(_log_of(run.task, config.logs))))
        else:
            train_and_keep_the_best(agent, run, env)
        seconds = time.process_time() - started
        sessions = max(1, config.impressions // run.task.session_length)
        outcome = evaluate(agent, env, sessions, EVALUATION_SEED)
    finally:
        env.close()
    rewards = (outcome.total_reward, outcome.click_reward, outcome.order_reward)
    means = [f"{reward.mean():.3f}" for reward in rewards]
    about = [run.entry.agent, trial, run.task.name, run.seed, run.entry.steps, json.dumps(settings)]
    return [*about, *means, f"{seconds:.0f}"]


def _log_of(task: Task, logs: Path) -> Path:
    """The log of the default market: every folder given in its stead is a fit to that market."""
    return training_log(dataclasses.replace(task, simulator="default"), logs)


def finalists(rows: Sequence[Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """Trials of each agent that reach the second round: the best of the first, once all of it is there."""
    first = _scores([row for row in rows if int(row[3]) == SEEDS[0]])
    return {
        agent: tuple(sorted(scores, key=scores.get, reverse=True)[:FINALISTS])
        for agent, scores in first.items()
        if len(scores) == len(TRIALS[agent])
    }


def best_settings(rows: Sequence[Sequence[str]]) -> dict[str, tuple[int, float]]:
    """Best finalist of each agent, and its mean total reward relative to the better finalist in each task."""
    chosen = finalists(rows)
    last = _scores([row for row in rows if int(row[1]) in chosen.get(row[0], ())], len(SEEDS))
    return {agent: max(scores.items(), key=lambda pair: pair[1]) for agent, scores in last.items() if scores}


def _scores(rows: Sequence[Sequence[str]], seeds: int = 1) -> dict[str, dict[int, float]]:
    """Score of each trial of each agent that has all its ``seeds`` in both tasks.

    It is the mean total reward, relative to the best of the agent's trials in each task.
    """
    totals: dict[str, dict[int, dict[str, list[float]]]] = {}
    for agent, trial, task, _, _, _, total, *_ in rows:
        totals.setdefault(agent, {}).setdefault(int(trial), {}).setdefault(task, []).append(float(total))
    scores = {}
    for agent, trials in totals.items():
        complete = {
            trial: {task: sum(values) / seeds for task, values in tasks.items()}
            for trial, tasks in trials.items()
            if sorted(tasks) == TASKS and all(len(values) == seeds for values in tasks.values())
        }
        best = {task: max((means[task] for means in complete.values()), default=0.0) for task in TASKS}
        scores[agent] = {
            trial: sum(means[task] / best[task] for task in TASKS) / len(TASKS) for trial, means in complete.items()
        }
    return scores


def _missing(config: TuningConfig, rows: Sequence[Sequence[str]]) -> list[tuple[int, Run]]:
    """What :func:`trial_runs` asks for and ``rows`` do not hold."""
    finished = {tuple(row[:6]) for row in rows}
    return [
        (trial, run)
        for trial, run in trial_runs(config, rows)
        if tuple(map(str, (run.entry.agent, trial, run.task.name, run.seed, run.entry.steps)))
        + (json.dumps(dict(run.entry.settings)),)
        not in finished
    ]


def main(config: TuningConfig) -> None:
    """Run what is missing and print which settings did best."""
    fingerprint = simulator_fingerprint(config.simulator)
    rows = read_csv(config.out) if config.out.exists() else []
    if others := [row for row in rows if row[-1] != fingerprint]:
        raise ValueError(
            f"{config.out}: {len(others)} trials are of another simulator; move the file away to tune anew"
        )
    with open_pool(config.workers, config.ray) as pool:
        while missing := _missing(config, rows):  # the first round, then the second
            for outcome in pool.finished(execute_trial, [(trial, run, config) for trial, run in missing]):
                if outcome.error is not None:
                    raise outcome.error
                rows.append([*map(str, outcome.result), fingerprint])
                write_csv(config.out, COLUMNS, sorted(rows, key=lambda row: (row[0], int(row[1]), row[2], row[3])))
                print(" ".join(rows[-1]), flush=True)
    for agent, (trial, score) in best_settings(rows).items():
        print(f"{agent}: trial {trial} {TRIALS[agent][trial]}, {score:.3f} of the better finalist in each task")


if __name__ == "__main__":
    main(tyro.cli(TuningConfig))
