"""The tuning behind the settings of long trainings: the same number of trials of the same length for every agent.

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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from recsim_hrl_agents import LoggedSessions, evaluate

from benchmarks.aggregate import read_csv, write_csv
from benchmarks.pools import open_pool
from benchmarks.records import simulator_fingerprint
from benchmarks.settings import TRIALS
from benchmarks.tasks import Entry, Run, Setting, Task, entry_of, make_preset, training_log
from benchmarks.training import agent_of, make_env, train_and_keep_the_best
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
FINALISTS = 2
"""Settings of an agent that reach the second round."""
EVALUATION_SEED = 50_000_000
"""Of the first user that a trial is judged on."""


@dataclass(frozen=True)
class Family:
    """What is tuned alike: agents that share their tasks and have as many trials each."""

    tasks: tuple[Task, ...]
    """On which settings are tried."""
    trials: Mapping[str, tuple[dict[str, Any], ...]]
    """Settings that are tried, by agent."""
    entry: Callable[[str, int, Mapping[str, Setting]], Entry]
    """The entry of an agent, given its steps and settings."""

    @property
    def task_names(self) -> list[str]:
        """Names of the tasks, sorted."""
        return sorted(task.name for task in self.tasks)


SESSIONS = Family(make_preset("full").tasks, TRIALS, entry_of)
"""Agents of RecSession."""
TASKS = SESSIONS.task_names


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


def trial_runs(
    config: TuningConfig, rows: Sequence[Sequence[str]] = (), family: Family = SESSIONS
) -> list[tuple[int, Run]]:
    """(trial, run) of all that is to be run, given the ``rows`` that are there: the first round, or also the second."""
    tasks = [dataclasses.replace(task, simulator=config.simulator) for task in family.tasks]
    second_round = finalists(rows, family)
    runs = []
    for agent in config.agents:
        for trial, settings in enumerate(family.trials[agent]):
            entry = family.entry(agent, config.steps, settings)
            seeds = SEEDS if trial in second_round.get(agent, ()) else SEEDS[:1]
            runs += [(trial, Run(task, entry, seed)) for task in tasks for seed in seeds]
    return runs


def execute_trial(trial: int, run: Run, config: TuningConfig) -> list[object]:
    """Learn and judge on the train simulator; returns a row of the table but for its simulator."""
    torch.set_num_threads(1)
    env = make_env(run, "train")
    try:
        started = time.process_time()
        agent = agent_of(run, env)
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
    about = [run.entry.agent, trial, run.task.name, run.seed, run.entry.steps, json.dumps(dict(run.entry.settings))]
    return [*about, *means, f"{seconds:.0f}"]


def _log_of(task: Task, logs: Path) -> Path:
    """The log of the default market: every folder given in its stead is a fit to that market."""
    return training_log(dataclasses.replace(task, simulator="default"), logs)


def finalists(rows: Sequence[Sequence[str]], family: Family = SESSIONS) -> dict[str, tuple[int, ...]]:
    """Trials of each agent that reach the second round: the best of the first, once all of it is there."""
    first = _scores([row for row in rows if int(row[3]) == SEEDS[0]], family)
    return {
        agent: tuple(sorted(scores, key=scores.get, reverse=True)[:FINALISTS])
        for agent, scores in first.items()
        if len(scores) == len(family.trials[agent])
    }


def best_settings(rows: Sequence[Sequence[str]], family: Family = SESSIONS) -> dict[str, tuple[int, float]]:
    """Best finalist of each agent, and its mean total reward relative to the better finalist in each task."""
    chosen = finalists(rows, family)
    last = _scores([row for row in rows if int(row[1]) in chosen.get(row[0], ())], family, len(SEEDS))
    return {agent: max(scores.items(), key=lambda pair: pair[1]) for agent, scores in last.items() if scores}


def _scores(rows: Sequence[Sequence[str]], family: Family, seeds: int = 1) -> dict[str, dict[int, float]]:
    """Score of each trial of each agent that has all its ``seeds`` in all tasks.

    It is the mean total reward, relative to the best of the agent's trials in each task.
    """
    names = family.task_names
    totals: dict[str, dict[int, dict[str, list[float]]]] = {}
    for agent, trial, task, _, _, _, total, *_ in rows:
        totals.setdefault(agent, {}).setdefault(int(trial), {}).setdefault(task, []).append(float(total))
    scores = {}
    for agent, trials in totals.items():
        complete = {
            trial: {task: sum(values) / seeds for task, values in tasks.items()}
            for trial, tasks in trials.items()
            if sorted(tasks) == names and all(len(values) == seeds for values in tasks.values())
        }
        best = {task: max((means[task] for means in complete.values()), default=0.0) for task in names}
        scores[agent] = {
            trial: sum(means[task] / best[task] for task in names) / len(names) for trial, means in complete.items()
        }
    return scores


def _missing(config: TuningConfig, rows: Sequence[Sequence[str]], family: Family) -> list[tuple[int, Run]]:
    """What :func:`trial_runs` asks for and ``rows`` do not hold."""
    finished = {(*row[:5], _in_order(json.loads(row[5]))) for row in rows}
    return [
        (trial, run)
        for trial, run in trial_runs(config, rows, family)
        if (run.entry.agent, str(trial), run.task.name, str(run.seed), str(run.entry.steps))
        + (_in_order(dict(run.entry.settings)),)
        not in finished
    ]


def _in_order(settings: dict[str, object]) -> str:
    """``settings`` as text that tells nothing of the order in which they were written down."""
    return json.dumps(settings, sort_keys=True)


def main(config: TuningConfig, family: Family = SESSIONS) -> None:
    """Run what is missing and print which settings did best."""
    fingerprint = simulator_fingerprint(config.simulator, any(task.users_leave for task in family.tasks))
    rows = read_csv(config.out) if config.out.exists() else []
    if others := [row for row in rows if row[-1] != fingerprint]:
        raise ValueError(
            f"{config.out}: {len(others)} trials are of another simulator; move the file away to tune anew"
        )
    with open_pool(config.workers, config.ray) as pool:
        while missing := _missing(config, rows, family):  # the first round, then the second
            for outcome in pool.finished(execute_trial, [(trial, run, config) for trial, run in missing]):
                if outcome.error is not None:
                    raise outcome.error
                rows.append([*map(str, outcome.result), fingerprint])
                write_csv(config.out, COLUMNS, sorted(rows, key=lambda row: (row[0], int(row[1]), row[2], row[3])))
                print(" ".join(rows[-1]), flush=True)
    for agent, (trial, score) in best_settings(rows, family).items():
        tried = family.trials[agent][trial]
        print(f"{agent}: trial {trial} {tried}, {score:.3f} of the better finalist in each task")


if __name__ == "__main__":
    main(tyro.cli(TuningConfig))
