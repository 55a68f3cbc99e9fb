"""The one training loop and the one evaluation that all agents share."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from torch import Tensor

from recsim_hrl.wrappers.infos import final_observations, require_same_step, step_values
from recsim_hrl_agents.base import Agent, Array, Transitions
from recsim_hrl_agents.checkpoints import Checkpoint
from recsim_hrl_agents.market import device_of

Record = dict[str, float]
"""A point of a learning curve: ``env_steps``, mean rewards of the sessions that ended since the last, metrics."""

REWARDS = ("total_reward", "click_reward", "order_reward")
_NONE = np.zeros(0)


class SessionTotals:
    """Running sums of the sessions in progress."""

    def __init__(self, size: int) -> None:
        self._sums = np.zeros((len(REWARDS) + 1, size))  # (4, B): the rewards and the length

    def add(self, rewards: Array, infos: dict, ended: Array) -> dict[str, np.ndarray]:
        """Add a step; returns the totals (E,) of the E sessions that it ended, and starts them anew."""
        if isinstance(rewards, Tensor):  # all sessions end together, and the environment tells what they brought
            session = infos.get("session")
            return {name: session[name].numpy(force=True) if session else _NONE for name in (*REWARDS, "length")}
        self._sums[0] += rewards
        self._sums[1] += step_values(infos, "click_reward", ended)
        self._sums[2] += step_values(infos, "order_reward", ended)
        self._sums[3] += 1
        finished = self._sums[:, ended]
        self._sums[:, ended] = 0.0
        return dict(zip((*REWARDS, "length"), finished, strict=True))


class Curve:
    """Collects finished sessions and metrics into records.

    Args:
        every: Environment steps per record.
        progress: Called with each record as it comes.
    """

    def __init__(self, every: int, progress: Callable[[Record], None] | None) -> None:
        if every < 1:
            raise ValueError(f"record_every: got {every}, allowed 1 or more environment steps")
        self.records: list[Record] = []
        self._every = every
        self._progress = progress
        self._sessions: list[dict[str, np.ndarray]] = []
        self._metrics: list[dict[str, float | Tensor]] = []

    def add(self, env_steps: int, sessions: dict[str, np.ndarray], metrics: dict[str, float | Tensor]) -> None:
        """One step of the training."""
        if len(sessions["length"]):
            self._sessions.append(sessions)
        if metrics:
            self._metrics.append(metrics)
        previous = self.records[-1]["env_steps"] if self.records else 0
        if env_steps - previous >= self._every:
            self._record(env_steps)

    def finish(self, env_steps: int) -> None:
        """Record what came since the last record, at the end of the training."""
        if not self.records or self.records[-1]["env_steps"] < env_steps:
            self._record(env_steps)

    def state(self) -> dict[str, Any]:
        """The records, and what came since the last of them."""
        return {"records": self.records, "sessions": self._sessions, "metrics": self._metrics}

    def resume(self, state: dict[str, Any]) -> None:
        """Go on from what :meth:`state` gave; ``progress`` was told of its records already."""
        self.records, self._sessions, self._metrics = state["records"], state["sessions"], state["metrics"]

    def _record(self, env_steps: int) -> None:
        record: Record = {"env_steps": float(env_steps)}
        if self._sessions:
            for key in self._sessions[0]:
                record[key] = float(np.concatenate([sessions[key] for sessions in self._sessions]).mean())
        if self._metrics:
            for key in self._metrics[-1]:
                values = [torch.as_tensor(metrics[key]).double() for metrics in self._metrics if key in metrics]
                record[key] = float(torch.stack(values).mean())
        self._sessions, self._metrics = [], []
        self.records.append(record)
        if self._progress is not None:
            self._progress(record)


def train(
    agent: Agent,
    env: VectorEnv,
    steps: int,
    seed: int = 0,
    progress: Callable[[Record], None] | None = None,
    record_every: int = 10_000,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 10_000,
) -> list[Record]:
    """Let an agent learn by acting.

    Args:
        agent: Learns in place.
        env: Vector environment under SAME_STEP autoreset. One that gives tensors wants an agent that takes them;
            nothing then leaves the device but the records.
        steps: Environment steps, counted over all sub-environments; rounded up to a whole step of them all.
        seed: Sub-environment i starts from seed + i. The agent's own draws come from the agent's seed.
        progress: Called with each record of the learning curve.
        record_every: Environment steps per record.
        checkpoint: Folder in which the whole training is kept, so that the same call, with an agent and an environment
            made as the first ones were, goes on after a kill at any moment and ends with the same weights and curve.
            ``progress`` is told of a record once more, if the kill came between it and a checkpoint. When the training
            ends, the folder stays, and the same call returns at once.
        checkpoint_every: Environment steps from one checkpoint to the next; the result does not depend on it.

    Returns:
        The learning curve. Its rewards are those of exploring sessions, below what :func:`evaluate` measures.

    Raises:
        ValueError: If agent and environment cannot be trained or put aside together, or if the checkpoint is damaged
            or of another training.
    """
    _check_training(agent, env, steps)
    curve, kept = Curve(record_every, progress), None
    if checkpoint is not None:
        about = {"steps": steps, "seed": seed, "record_every": record_every}
        kept = Checkpoint(checkpoint, checkpoint_every, agent, env, about)
    if hasattr(agent, "learn"):  # stable-baselines3 brings its own loop
        agent.learn(env, steps, seed, curve)
        return curve.records
    _run(agent, env, steps, seed, curve, kept)
    return curve.records


def _run(agent: Agent, env: VectorEnv, steps: int, seed: int, curve: Curve, kept: Checkpoint | None) -> None:
    """The loop of :func:`train`, from the start or from what is ``kept``."""
    totals, env_steps, on_tensors = SessionTotals(env.num_envs), 0, device_of(env) is not None
    before = kept.restore(totals) if kept else None
    if before:
        observations, env_steps = before["observations"], before["env_steps"]
        curve.resume(before["curve"])
        if env_steps >= steps:
            return
    else:
        observations, _ = env.reset(seed=seed)
        agent.begin(np.ones(env.num_envs, bool))
    while env_steps < steps:
        actions = agent.act(observations, explore=True)
        next_observations, rewards, terminated, truncated, infos = env.step(actions)
        ended = terminated | truncated
        transitions = Transitions(
            observations=observations,
            actions=actions,
            items=step_values(infos, "item", ended),
            rewards=rewards if on_tensors else rewards.astype(np.float32),
            next_observations=final_observations(next_observations, infos, ended),
            terminated=terminated,
            truncated=truncated,
            **_answers(infos, ended, agent.market.slate_size),
        )
        metrics = agent.update(transitions)
        observations = next_observations
        # On tensors all sessions end together, and asking whether any did would stall the device.
        starting = np.full(env.num_envs, "final_obs" in infos) if on_tensors else ended
        if starting.any():
            agent.begin(starting)
        env_steps += env.num_envs
        curve.add(env_steps, totals.add(rewards, infos, ended), metrics)
        if kept and kept.is_due(env_steps) and env_steps < steps:
            kept.write(env_steps, observations=observations, totals=totals, curve=curve.state())
    curve.finish(env_steps)
    if kept:
        kept.write(env_steps, observations=observations, totals=totals, curve=curve.state())


def _answers(infos: dict, ended: Array, slate_size: int | None) -> dict[str, Array]:
    """What users answered to slates, which is more than one reward tells."""
    if slate_size is None:
        return {}
    return {"responses": step_values(infos, "response", ended), "is_seen": step_values(infos, "is_seen", ended)}


def _check_training(agent: Agent, env: VectorEnv, steps: int) -> None:
    """Refuse what :func:`train` cannot do."""
    if steps < 1:
        raise ValueError(f"train steps: got {steps}, allowed 1 or more environment steps")
    if agent.learns_from != "environment":
        raise ValueError(
            f"train: got agent {agent.name}, which learns from {agent.learns_from}, allowed are agents that learn from "
            "the environment; evaluate it, or call its fit(log)"
        )
    require_same_step(env)
    if device_of(env) is not None and not agent.takes_tensors:
        raise ValueError(
            f"train: got an environment that gives tensors and agent {agent.name}, which takes arrays; allowed is e.g. "
            "agent ddpg, or the same task with gym.make_vec"
        )


@dataclass(frozen=True)
class Evaluation:
    """What sessions brought, one entry per session; entry j of two evaluations with one seed is the same user."""

    total_reward: np.ndarray  # (S,)
    click_reward: np.ndarray  # (S,)
    order_reward: np.ndarray  # (S,)
    length: np.ndarray  # (S,) items shown


def evaluate(agent: Agent, env: VectorEnv, sessions: int, seed: int = 0) -> Evaluation:
    """Play sessions without exploring and without learning.

    Session j is always the first session of a sub-environment reset with seed + j, so agents are compared on the
    same users with the same luck, and the number of sub-environments makes no difference. Memory that an agent keeps
    of sessions in progress is lost: evaluate between trainings, not in the middle of one.

    Args:
        agent: Any agent that is ready to act.
        env: Vector environment under SAME_STEP autoreset.
        sessions: How many.
        seed: Seed of session 0.

    Returns:
        Rewards and lengths of the sessions, in order.
    """
    if sessions < 1:
        raise ValueError(f"evaluate sessions: got {sessions}, allowed 1 or more")
    require_same_step(env)
    if device_of(env) is not None:
        raise ValueError(
            "evaluate: got an environment that gives tensors, allowed are those that give arrays; make the same task "
            "with gym.make_vec(..., vectorization_mode='vector_entry_point'), whose sessions are equal"
        )
    results = np.zeros((len(REWARDS) + 1, sessions))
    for first in range(0, sessions, env.num_envs):
        count = min(env.num_envs, sessions - first)
        totals = _first_sessions(agent, env, seed + first, count)  # (4, B)
        results[:, first : first + count] = totals[:, :count]
    return Evaluation(*results)


def _first_sessions(agent: Agent, env: VectorEnv, seed: int, count: int) -> np.ndarray:
    """(4, B) rewards and length of each sub-environment's first session; those from ``count`` on may be cut short."""
    size = env.num_envs
    results = np.zeros((len(REWARDS) + 1, size))
    running = np.ones(size, bool)
    totals = SessionTotals(size)
    observations, _ = env.reset(seed=seed)
    agent.begin(running, seed + np.arange(size))
    while running[:count].any():
        observations, rewards, terminated, truncated, infos = env.step(agent.act(observations, explore=False))
        ended = terminated | truncated
        sums = np.stack(list(totals.add(rewards, infos, ended).values()))  # (4, E)
        first_time = running & ended
        results[:, first_time] = sums[:, running[ended]]
        running &= ~ended
        if ended.any():
            agent.begin(ended)
    return results
