"""Plays an agent for many sessions and writes what happened as an interaction log: ``python -m benchmarks.rollouts``.

Session j is the first session of a sub-environment that is reset with SEED + j: the same user with the same luck
whoever plays it, wherever and beside whom. Sessions are cut into shards, each a job in a process of this machine or on
Ray; shards that are finished stay so when the command is stopped. The log that is made of them is the same, to the
byte, whatever the number of workers.
"""

import dataclasses
import hashlib
import io
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import gymnasium as gym
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import tyro
from gymnasium.vector import VectorEnv
from recsim_hrl_agents import storage
from recsim_hrl_agents.base import Agent
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.registry import agent_names, load_agent, make_agent
from torch import Tensor

import recsim_hrl  # noqa: F401  registers the environments
from benchmarks.commands import finish
from benchmarks.jobs import Job, Workers, job_key, keep_jobs, parts_folder
from benchmarks.pools import check_workers
from benchmarks.records import package_versions, simulator_fingerprint
from recsim_hrl.data.files import read_metadata
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.writer import LogWriter
from recsim_hrl.simulator.store import load_simulator
from recsim_hrl.wrappers.infos import require_same_step, step_values

COLUMNS = ("session_id", "step", "user_id", "item_index", "response")


@dataclass(frozen=True)
class RolloutConfig:
    """Play an agent for many sessions, without exploring, and write an interaction log."""

    out: Path
    """Folder of the log; a log that is there is replaced."""
    agent: str = "random"
    """Name of an agent that need not learn, or the folder of a saved one."""
    sessions: int = 10_000
    """Sessions to play."""
    seed: int = 0
    """Sub-environment seed of session 0; session j has the seed SEED + j."""
    env_id: str = "RecSession-v0"
    """Registered environment."""
    session_length: int = 50
    """Items in a session."""
    simulator: str = "default"
    """Name or folder of a simulator; on a cluster, a folder that its nodes see."""
    split: Literal["train", "test"] = "train"
    """Which simulator of a folder that holds two."""
    candidates: int | None = 1000
    """Items that the agent chooses from; None takes the whole catalogue."""
    action: Literal["embedding", "item"] = "embedding"
    """Form of the actions; the one that the agent was trained with."""
    parallel: int = 64
    """Users that run side by side in a job. Networks round by the size of a batch, so it is part of the request."""
    shard: int = 6_400
    """Sessions of a job, a multiple of PARALLEL; the rows of the log do not depend on it."""
    workers: int = os.cpu_count() or 1
    """Jobs at a time, one core each; a cluster that is there already decides for itself."""
    ray: str | None = None
    """Run on Ray: "local" starts it here, "auto" or "HOST:6379" joins a cluster."""

    def __post_init__(self) -> None:
        check_workers(self.workers)
        for name in ("sessions", "session_length", "parallel", "shard"):
            if getattr(self, name) < 1:
                raise ValueError(f"rollouts {name}: got {getattr(self, name)}, allowed 1 or more")
        if self.seed < 0:
            raise ValueError(f"rollouts seed: got {self.seed}, allowed 0 or more")
        if self.shard % self.parallel:
            raise ValueError(
                f"rollouts shard: got {self.shard}, allowed multiples of parallel = {self.parallel}, so that every "
                f"session has the same users beside it; try {max(1, self.shard // self.parallel) * self.parallel}"
            )


@dataclass(frozen=True)
class Player:
    """An agent as it travels to a worker."""

    name: str
    settings: dict[str, Any]
    tensors: dict[str, Tensor]

    @classmethod
    def of(cls, agent: str, market: Market) -> "Player":
        """The agent saved in the folder ``agent``, or the one of that name.

        Raises:
            ValueError: If there is neither, or the agent of that name has learned nothing.
        """
        if Path(agent).is_dir():
            loaded = load_agent(agent, market)
            return cls(loaded.name, dataclasses.asdict(loaded.config), loaded.tensors())
        if agent not in agent_names():
            raise ValueError(
                f"rollouts agent: got {agent!r}, which is no folder, allowed a saved agent or {agent_names()}"
            )
        made = make_agent(agent, market)
        if made.learns_from != "nothing":
            raise ValueError(
                f"rollouts agent: got {agent!r}, which learns from the {made.learns_from}, allowed the folder of a "
                "trained one; train it, and save it with agent.save(folder)"
            )
        return cls(agent, dataclasses.asdict(made.config), made.tensors())

    def ready(self, market: Market) -> Agent:
        """The agent, ready to act."""
        agent = make_agent(self.name, market, **self.settings)
        agent.load_tensors(self.tensors)
        return agent


def make_env(config: RolloutConfig) -> VectorEnv:
    """The vector environment that a job plays in."""
    return gym.make_vec(
        config.env_id,
        num_envs=config.parallel,
        vectorization_mode="vector_entry_point",
        session_length=config.session_length,
        simulator=config.simulator,
        split=config.split,
        candidates=config.candidates,
        action=config.action,
        observation="item_ids",
    )


def play(player: Player, config: RolloutConfig, first: int, count: int) -> bytes:
    """A job: the sessions ``first`` to ``first + count``, as a Parquet file with the columns of ``COLUMNS``."""
    torch.set_num_threads(1)  # other jobs work beside this one
    env = make_env(config)
    try:
        agent = player.ready(Market.of(env))
        parts = [
            play_batch(agent, env, config.seed + start, start, min(config.parallel, first + count - start))
            for start in range(first, first + count, config.parallel)
        ]
    finally:
        env.close()
    table = pa.table({name: np.concatenate([part[name] for part in parts]) for name in COLUMNS})
    file = io.BytesIO()
    pq.write_table(table, file, compression="zstd")
    return file.getvalue()


def play_batch(agent: Agent, env: VectorEnv, seed: int, session: int, count: int) -> dict[str, np.ndarray]:
    """The first session of ``count`` sub-environments, in the order of a log; ids count up from ``session``."""
    require_same_step(env)
    size = env.num_envs
    observations, infos = env.reset(seed=seed)
    running, users = np.arange(size) < count, infos["user"]  # (B,) bool, (B,)
    agent.begin(np.ones(size, bool), seed + np.arange(size))
    steps: list[tuple[np.ndarray, ...]] = []
    while running.any():
        observations, _, terminated, truncated, infos = env.step(agent.act(observations, explore=False))
        ended = terminated | truncated  # (B,)
        rows = np.flatnonzero(running)
        item, response = (step_values(infos, name, ended)[rows] for name in ("item", "response"))
        steps.append((session + rows, np.full(len(rows), len(steps)), users[rows], item, response))
        running = running & ~ended
        if ended.any():
            agent.begin(ended)
    columns = [np.concatenate(column) for column in zip(*steps, strict=True)]  # (rows,) each
    order = np.argsort(columns[0], kind="stable")
    return {name: column[order] for name, column in zip(COLUMNS, columns, strict=True)}


def rollout(config: RolloutConfig) -> InteractionLog:
    """Play what is missing and write the log.

    Raises:
        ValueError: If the agent or the simulator cannot be had.
        RuntimeError: If jobs failed; the others are kept.
    """
    env = make_env(dataclasses.replace(config, parallel=1))
    try:
        player = Player.of(config.agent, Market.of(env))
    finally:
        env.close()
    about = _about(player, config)
    if _is_written(config.out, about):
        return InteractionLog.open(config.out)
    jobs = [
        Job(f"sessions {first} to {first + count - 1}", f"{first:012d}-{count}.parquet", (first, count), count)
        for first, count in _cuts(config)
    ]
    with parts_folder(config.out, job_key(about)) as parts:
        keep_jobs(jobs, parts, play, Workers(config.workers, config.ray), noun="shards", shared=(player, config))
        catalogue = load_simulator(config.simulator, config.split).catalogue
        with LogWriter(config.out, catalogue, {"source": "benchmarks.rollouts", "rollout": about}) as writer:
            for job in jobs:
                for columns in _columns(parts / job.file):
                    writer.append(columns)
    return InteractionLog.open(config.out)


def _cuts(config: RolloutConfig) -> list[tuple[int, int]]:
    return [(first, min(config.shard, config.sessions - first)) for first in range(0, config.sessions, config.shard)]


def _about(player: Player, config: RolloutConfig) -> dict[str, Any]:
    """Everything that decides the log, as JSON values."""
    place = {"out", "workers", "ray", "shard", "agent"}
    asked = {name: value for name, value in dataclasses.asdict(config).items() if name not in place}
    weights = hashlib.sha256()
    for name, tensor in sorted(player.tensors.items()):
        weights.update(name.encode() + tensor.contiguous().numpy().tobytes())
    agent = {"name": player.name, "settings": player.settings, "weights_sha256": weights.hexdigest()}
    fingerprint = simulator_fingerprint(config.simulator)
    return storage.plain(asked | {"agent": agent, "simulators": fingerprint, "versions": package_versions()})


def _is_written(path: Path, about: dict[str, Any]) -> bool:
    """Whether the log of this very rollout is at ``path``."""
    return path.is_dir() and read_metadata(path).get("rollout") == about


def _columns(path: Path) -> Iterator[dict[str, np.ndarray]]:
    """A shard in blocks."""
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            yield {name: batch.column(name).to_numpy() for name in COLUMNS}


def main() -> int:
    """Command line; returns the exit status."""
    config = tyro.cli(RolloutConfig, prog="python -m benchmarks.rollouts", description=__doc__)
    return finish(lambda: f"{rollout(config).report()}\nwrote {config.out}", "Finished shards are")


if __name__ == "__main__":
    sys.exit(main())
