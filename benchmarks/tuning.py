"""The tuning behind the agents' default settings: the same number of trials of the same length for every agent.

    python -m benchmarks.tuning

Learns and judges on the ``train`` simulator alone, on users that no benchmark run meets, one seed per trial. A trial
is played in short and in long sessions; the best settings are those with the best mean of both, each relative to the
best trial of the same agent there. Stop it whenever you like: finished trials are not repeated. What else was tried,
and how far the table is complete, is told in docs/agents/index.md.
"""

import dataclasses
import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from recsim_hrl_agents import LoggedSessions, evaluate, make_agent, train

from benchmarks.aggregate import read_csv, write_csv
from benchmarks.records import simulator_fingerprint
from benchmarks.tasks import Entry, Run, Task, make_preset, training_log
from benchmarks.training import make_env
from recsim_hrl.data.log import InteractionLog

COLUMNS = (
    "agent",
    "trial",
    "task",
    "steps",
    "settings",
    "total_reward",
    "click_reward",
    "order_reward",
    "cpu_seconds",
    "simulator",
)
SEED = 90
"""Run seed of every trial; benchmark runs count from 0."""
EVALUATION_SEED = 50_000_000
"""Of the first user that a trial is judged on."""

# Every trial names all that any trial of its agent varies: the table decides the defaults, so it must not rest on them.
_GREEDY = {"hidden": 32, "learning_rate": 2e-3, "half_lives": (2.0, 8.0), "weight_decay": 1e-4}
_DDPG = {"n_step": 8, "gamma": 0.95, "gradient_at_item": False, "final_noise": 1.0}
_DQN = {"learning_rate": 1e-3, "gamma": 0.9, "net_arch": (64,), "batch_size": 512, "exploration_fraction": 0.6}
_WIDE = {"net_arch": (128, 128), "batch_size": 128, "exploration_fraction": 0.3}
_PPO = {"learning_rate": 2e-4, "gamma": 0.98, "n_epochs": 5, "batch_size": 1600, "gae_lambda": 0.95}
_PPO |= {"use_sde": True, "log_std_init": -2.0}
_TD3 = {"learning_rate": 1e-3, "gamma": 0.98, "noise_theta": 0.15, "action_noise": 0.2}
_TD3 |= {"gradient_steps": 1, "batch_size": 128}

TRIALS: dict[str, tuple[dict[str, Any], ...]] = {
    "greedy": (
        _GREEDY,
        _GREEDY | {"hidden": 64},
        _GREEDY | {"learning_rate": 5e-3},
        _GREEDY | {"half_lives": (1.5, 4.0, 12.0)},
        _GREEDY | {"weight_decay": 1e-2},
        _GREEDY | {"hidden": 64, "learning_rate": 5e-3},
    ),
    "ddpg": (
        _DDPG | {"n_step": 3},
        _DDPG,
        _DDPG | {"gamma": 0.97},
        _DDPG | {"gamma": 0.98},
        _DDPG | {"n_step": 16, "gamma": 0.98},
        _DDPG | {"n_step": 16, "gamma": 0.98, "gradient_at_item": True, "final_noise": 0.2},
    ),
    "sb3-dqn": (
        _DQN | _WIDE | {"learning_rate": 5e-4, "gamma": 0.95},
        _DQN | _WIDE | {"gamma": 0.8},
        _DQN,
        _DQN | {"gamma": 0.5},
        _DQN | {"learning_rate": 2e-3, "net_arch": (32,)},
        _DQN | {"gamma": 0.95},
    ),
    "sb3-ppo": (
        _PPO | {"gamma": 0.95, "use_sde": False, "log_std_init": -1.0},
        _PPO | {"learning_rate": 1e-4},
        _PPO,
        _PPO | {"gamma": 0.95},
        _PPO | {"gamma": 0.95, "n_epochs": 10},
        _PPO | {"learning_rate": 5e-5},
    ),
    "sb3-td3": (
        _TD3 | {"learning_rate": 5e-4, "gamma": 0.95, "noise_theta": 1.0},
        _TD3,
        _TD3 | {"gamma": 0.95, "gradient_steps": 2, "action_noise": 0.3},
        _TD3 | {"learning_rate": 3e-4, "gradient_steps": 4, "batch_size": 256},
        _TD3 | {"learning_rate": 5e-4, "gamma": 0.95, "action_noise": 0.5},
        _TD3 | {"gradient_steps": 2, "action_noise": 0.5},
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
    steps: int = 50_000
    """Environment steps per trial of agents that act; those fitted on a log read ten times as many impressions."""
    impressions: int = 12_800
    """Items shown when a trial is judged: 256 short or 64 long sessions."""
    logs: Path = Path("runs/logs")
    """Where the log that greedy learns from is kept."""
    workers: int = os.cpu_count() or 1
    """Processes."""


def trial_runs(config: TuningConfig) -> list[tuple[int, Run]]:
    """(trial, run) of everything that ``config`` asks for."""
    tasks = [dataclasses.replace(task, simulator=config.simulator) for task in make_preset("full").tasks]
    runs = []
    for agent in config.agents:
        for trial, settings in enumerate(TRIALS[agent]):
            budget = {"impressions": 10 * config.steps} if agent == "greedy" else {}
            action = "item" if agent == "sb3-dqn" else "embedding"
            entry = Entry(agent, config.steps, tuple((settings | budget).items()), action=action)
            runs += [(trial, Run(task, entry, SEED)) for task in tasks]
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
            train(agent, env, run.entry.steps, run.training_seed)
        seconds = time.process_time() - started
        sessions = max(1, config.impressions // run.task.session_length)
        outcome = evaluate(agent, env, sessions, EVALUATION_SEED)
    finally:
        env.close()
    rewards = (outcome.total_reward, outcome.click_reward, outcome.order_reward)
    means = [f"{reward.mean():.3f}" for reward in rewards]
    return [run.entry.agent, trial, run.task.name, run.entry.steps, json.dumps(settings), *means, f"{seconds:.0f}"]


def _log_of(task: Task, logs: Path) -> Path:
    """The log of the default market: every folder given in its stead is a fit to that market."""
    return training_log(dataclasses.replace(task, simulator="default"), logs)


def best_settings(rows: Sequence[Sequence[str]]) -> dict[str, tuple[int, float]]:
    """Best trial of each agent, and its mean total reward relative to the best trial in each task."""
    totals: dict[str, dict[str, dict[int, float]]] = {}
    for agent, trial, task, _, _, total, *_ in rows:
        totals.setdefault(agent, {}).setdefault(task, {})[int(trial)] = float(total)
    best = {}
    for agent, tasks in totals.items():
        complete = set.intersection(*(set(trials) for trials in tasks.values()))
        relative = {
            trial: sum(trials[trial] / max(trials.values()) for trials in tasks.values()) / len(tasks)
            for trial in sorted(complete)
        }
        if relative:
            best[agent] = max(relative.items(), key=lambda pair: pair[1])
    return best


def main(config: TuningConfig) -> None:
    """Run what is missing and print which settings did best."""
    fingerprint = simulator_fingerprint(config.simulator)
    rows = read_csv(config.out) if config.out.exists() else []
    if others := [row for row in rows if row[-1] != fingerprint]:
        raise ValueError(
            f"{config.out}: {len(others)} trials are of another simulator; move the file away to tune anew"
        )
    finished = {(agent, int(trial), task, int(steps), settings) for agent, trial, task, steps, settings, *_ in rows}
    missing = [
        (trial, run)
        for trial, run in trial_runs(config)
        if (run.entry.agent, trial, run.task.name, run.entry.steps, json.dumps(dict(run.entry.settings)))
        not in finished
    ]
    with ProcessPoolExecutor(config.workers) as pool:
        waiting = [pool.submit(execute_trial, trial, run, config) for trial, run in missing]
        for future in as_completed(waiting):
            rows.append([*map(str, future.result()), fingerprint])
            write_csv(config.out, COLUMNS, sorted(rows, key=lambda row: (row[0], int(row[1]), row[2])))
            print(" ".join(rows[-1]), flush=True)
    for agent, (trial, score) in best_settings(rows).items():
        print(f"{agent}: trial {trial} {TRIALS[agent][trial]}, {score:.3f} of the best in each task")


if __name__ == "__main__":
    main(tyro.cli(TuningConfig))
