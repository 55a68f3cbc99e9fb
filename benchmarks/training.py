"""Does one run: makes the environments, lets the agent learn on one simulator and judges it on the other."""

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.vector import VectorEnv
from recsim_hrl_agents import registry, storage
from recsim_hrl_agents.base import Agent
from recsim_hrl_agents.logged import LoggedSessions
from recsim_hrl_agents.loop import evaluate, train
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.registry import make_agent

import recsim_hrl  # noqa: F401  registers the environments
from benchmarks.records import RunRecord, agent_path, package_versions
from benchmarks.slate_evaluation import evaluate_slates
from benchmarks.slate_tasks import SlateTask
from benchmarks.tasks import Entry, Run, Task, training_log
from recsim_hrl.data.log import InteractionLog

CHECKPOINTS = 8
"""Points of a learning curve; at each the agent as it stands is judged on users of the train simulator."""
VALIDATION_SHARE = 8
"""Judging a checkpoint shows an eighth as many items as the whole training (102,400 steps: 256 short sessions)."""
VALIDATION_ITEMS = 25_600
"""Judging a checkpoint shows no more than that: 512 short or 128 long sessions."""
VALIDATION_SEED = 20_000_000
"""Of the first user that a checkpoint is judged on; no training or evaluation user comes near."""
KEEP_EVERY = 50_000
"""Environment steps after which a training is kept, to go on from there after a kill."""
ROUNDING = 1e-4
"""How far an item's embedding in a log may be from the simulator's; its values are about 1."""
Point = tuple[int, float, float]
"""Of a learning curve: environment steps, mean reward and mean steps of a session of the checkpoint."""
_BEST = "best"


def make_env(run: Run, split: str) -> VectorEnv:
    """The vector environment of a run on the ``train`` or the ``test`` simulator."""
    task = run.task
    return gym.make_vec(
        task.env_id,
        num_envs=task.parallel,
        vectorization_mode="vector_entry_point",
        simulator=task.simulator,
        split=split,
        action=run.entry.action,
        # Agents look embeddings up themselves, which keeps their replay memories small.
        observation="item_ids",
        **task.arguments(),
    )


def agent_config(entry: Entry) -> dict[str, Any]:
    """All settings of an entry's agent, defaults included."""
    return dataclasses.asdict(registry.agent_config(entry.agent, **dict(entry.settings)))


def execute(run: Run, key: str, logs: Path, agents: Path | None = None, unfinished: Path | None = None) -> RunRecord:
    """Train, or fit, the agent of ``run`` on the train simulator and evaluate it on the test simulator.

    Args:
        run: Task, agent and seed.
        key: What the record is filed under.
        logs: Where :func:`benchmarks.tasks.training_log` keeps logs.
        agents: Folder to save the agent in; a worker that does not see it, on another machine, saves none.
        unfinished: Folder in which a training that is killed leaves what the next call goes on from; it is not made.

    Raises:
        ValueError: If the two simulators do not share their candidates.
    """
    # Other runs work beside this one; two threads each would make all of them many times slower.
    torch.set_num_threads(1)
    learning, judging = make_env(run, "train"), make_env(run, "test")
    # A worker on another machine may not see the folder.
    keep = unfinished / f"unfinished-{key}" if unfinished is not None and unfinished.is_dir() else None
    try:
        _require_same_items(run, Market.of(learning), Market.of(judging))
        agent = agent_of(run, learning)
        started = time.monotonic()
        curve = learn(agent, run, learning, logs, keep)
        trained = time.monotonic()
        if agents is not None and agents.is_dir():
            agent.save(agent_path(run, key, agents))
        found = judge(agent, run.task, judging)
        judged = time.monotonic()
    finally:
        learning.close()
        judging.close()
    if keep is not None:
        shutil.rmtree(keep, ignore_errors=True)
    return RunRecord(
        key=key,
        task=run.task.name,
        agent=run.entry.agent,
        seed=run.seed,
        steps=run.entry.steps if agent.learns_from == "environment" else 0,
        train_seconds=trained - started,
        evaluate_seconds=judged - trained,
        curve=tuple(point[:2] for point in curve),
        depth_curve=tuple((steps, depth) for steps, _, depth in curve) if isinstance(run.task, SlateTask) else (),
        versions=package_versions(),
        **found,
    )


def judge(agent: Agent, task: Task, env: VectorEnv) -> dict[str, Any]:
    """What the evaluation sessions of a task tell of an agent in ``env``, as fields of a record."""
    if isinstance(task, SlateTask):
        return evaluate_slates(agent, env, task.sessions, task.evaluation_seed).fields()
    outcome = evaluate(agent, env, task.sessions, task.evaluation_seed)
    rewards = {"click_rewards": outcome.click_reward, "order_rewards": outcome.order_reward}
    return {name: tuple(values.tolist()) for name, values in rewards.items()}


def trained_agent(run: Run, key: str, env: VectorEnv, logs: Path, agents: Path, keep: Path | None = None) -> Agent:
    """The agent that ``run`` trains: as :func:`execute` saved it in the folder ``agents``, or trained now; ``keep`` as
    in :func:`train_and_keep_the_best`."""
    agent, path = agent_of(run, env), agent_path(run, key, agents)
    if storage.is_saved(path):
        agent.load(path)
        return agent
    learn(agent, run, env, logs, keep)
    if agents.is_dir():
        agent.save(path)
    return agent


def agent_of(run: Run, env: VectorEnv) -> Agent:
    """The agent of a run as it begins, for an environment of the run."""
    return make_agent(run.entry.agent, env, seed=run.training_seed, **dict(run.entry.settings))


def learn(agent: Agent, run: Run, env: VectorEnv, logs: Path, keep: Path | None = None) -> list[Point]:
    """Let the agent learn from what it learns from; returns the points of its learning curve, if any.

    Args:
        agent: Learns in place.
        run: What the agent and its budget are.
        env: The run's environment over the train simulator.
        logs: Where :func:`benchmarks.tasks.training_log` keeps logs.
        keep: See :func:`train_and_keep_the_best`.
    """
    if agent.learns_from == "nothing":
        return []
    if agent.learns_from == "log":
        agent.fit(logged_sessions(training_log(run.task, logs), Market.of(env)))
        return []
    return train_and_keep_the_best(agent, run, env, keep)


def train_and_keep_the_best(agent: Agent, run: Run, env: VectorEnv, keep: Path | None = None) -> list[Point]:
    """Train, and leave the agent at its best checkpoint: what it learns last is not always what it learned best.

    Checkpoints are judged without exploring, on the train simulator and on users apart from all others. The same for
    every agent that learns by acting.

    Args:
        agent: Learns in place.
        run: What the agent and its budget are.
        env: The run's environment over the train simulator.
        keep: Folder in which the training and the best checkpoint so far are kept, so that the same call goes on
            after a kill; for agents that bring a loop of their own nothing is kept.

    Returns:
        A point for every checkpoint.
    """
    if hasattr(agent, "learn"):
        keep = None
    copy, judging = make_agent(run.entry.agent, env, seed=0, **dict(run.entry.settings)), make_env(run, "train")
    shown = min(VALIDATION_ITEMS, run.entry.steps // VALIDATION_SHARE)
    sessions = max(8, shown // run.task.session_length)
    curve, best = _judged(keep)

    def check(point: dict[str, float]) -> None:
        if curve and point["env_steps"] <= curve[-1][0]:
            return  # judged before the kill
        weights = {name: value.detach().clone() for name, value in agent.tensors().items()}
        copy.load_tensors(weights)
        outcome = evaluate(copy, judging, sessions, VALIDATION_SEED)
        value = float(outcome.total_reward.mean())
        if not curve or value > max(reward for _, reward, *_ in curve):
            best.clear()
            best.update(weights)
        curve.append((int(point["env_steps"]), value, float(outcome.length.mean())))
        if keep is not None:
            storage.save(keep / _BEST, {"curve": curve}, best, _BEST)

    every, training = max(1, run.entry.steps // CHECKPOINTS), keep and keep / "training"
    try:
        train(agent, env, run.entry.steps, run.training_seed, check, every, training, KEEP_EVERY)
    finally:
        judging.close()
    agent.load_tensors(best)
    return curve


def _judged(keep: Path | None) -> tuple[list[Point], dict[str, torch.Tensor]]:
    """What a training that was killed left in ``keep``: the checkpoints judged so far, and the best one's tensors."""
    if keep is None or not storage.is_saved(keep / _BEST, _BEST):
        return [], {}
    described, best = storage.load(
        keep / _BEST, _BEST, f"written by a benchmark; delete {keep} to train from the start"
    )
    return [(int(steps), *map(float, values)) for steps, *values in described["curve"]], best


def logged_sessions(path: Path, market: Market) -> LoggedSessions:
    """The sessions of the log at ``path``, whose items must be those of ``market``."""
    log = InteractionLog.open(path)
    items = log.items.embeddings.numpy()  # (I, D)
    # A log that is generated again on another processor differs from the simulator's in the last digit.
    if items.shape != market.item_embeddings.shape or not np.allclose(items, market.item_embeddings, 0.0, ROUNDING):
        raise ValueError(
            f"log {path}: got items that are not those of the simulator, allowed the log of the same market; put it "
            "there, or delete a generated one to write it again"
        )
    return LoggedSessions.of(log)


def _require_same_items(run: Run, learning: Market, judging: Market) -> None:
    for name in ("item_embeddings", "candidates"):
        if not np.array_equal(getattr(learning, name), getattr(judging, name)):
            raise ValueError(
                f"simulators of {run.task.simulator!r}: got {name} that differ between train and test, allowed equal "
                "ones; fit both on logs of one market"
            )
