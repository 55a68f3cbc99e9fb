"""Trainings that go on after a kill at any moment, as if nothing had happened.

A checkpoint is a folder with ``checkpoint.json`` (what is trained) and one safetensors file: all tensors of the agent,
the environment and the loop, and the tree (:mod:`.state_tree`) that says where each belongs. It is written beside the
one before and takes its place in one rename.
"""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv

from recsim_hrl_agents import storage
from recsim_hrl_agents.base import Agent
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.state_tree import Collector, Restorer

_KIND = "checkpoint"
_FIX = "written by train(..., checkpoint=...); delete the folder to train from the start"
_TREE = "tree"


class Checkpoint:
    """The folder of one training.

    Args:
        path: The folder; made when the first checkpoint is written.
        every: Environment steps from one checkpoint to the next.
        agent: Filled in place when the training goes on.
        env: The same.
        about: What else decides the training's outcome, as JSON values.

    Raises:
        ValueError: If agent or environment cannot be put aside.
    """

    def __init__(self, path: str | Path, every: int, agent: Agent, env: VectorEnv, about: dict[str, Any]) -> None:
        if every < 1:
            raise ValueError(f"checkpoint_every: got {every}, allowed 1 or more environment steps")
        if hasattr(agent, "learn"):
            raise ValueError(
                f"checkpoint: got agent {agent.name}, which brings a loop of its own, allowed are agents that train() "
                "steps itself; leave checkpoint out, and a training that is killed starts anew"
            )
        # Asked of the class: a wrapper would pass the question on and forget what it remembers itself.
        if not all(hasattr(type(env), name) for name in ("state_dict", "load_state_dict")):
            raise ValueError(
                f"checkpoint: got a {type(env).__name__}, which has no state_dict() and load_state_dict(), allowed are "
                "environments with both, such as RecSession-v0 made by gym.make_vec with "
                "vectorization_mode='vector_entry_point'; give yours the two methods, or leave checkpoint out"
            )
        self._folder, self._every, self._agent, self._env = Path(path), every, agent, env
        settings = {
            "agent": agent.name,
            "config": dataclasses.asdict(agent.config),
            "agent_seed": agent.seed,
            "device": str(getattr(agent, "device", "cpu")),
            "users": env.num_envs,
            "market": market_digest(agent.market),
        }
        self._settings = storage.plain(settings | about)
        self._written = 0
        self._collector().collect(agent, "agent")  # what cannot be kept is told now, and not in an hour

    def restore(self, totals: Any) -> dict[str, Any] | None:
        """Fill agent, environment and ``totals`` with what was written last; returns the rest, None if nothing was.

        Raises:
            ValueError: If the checkpoint is damaged, or of another training.
        """
        if not storage.is_saved(self._folder, _KIND):
            return None
        described, tensors = storage.load(self._folder, _KIND, _FIX)
        for key, value in self._settings.items():
            if described.get(key) != value:
                raise ValueError(
                    f"{self._folder}: got the checkpoint of a training with {key} {described.get(key)}, allowed "
                    f"{value}; train with what it was made with, or name another folder"
                )
        restorer = Restorer(tensors)
        try:
            tree = json.loads(tensors[_TREE].numpy().tobytes())
            self._env.load_state_dict(restorer.restore(tree["env"], None, "env"))
            parts = {"agent": self._agent, "totals": totals}
            parts = restorer.restore(tree["training"], parts, "training")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RuntimeError) as error:
            raise ValueError(
                f"{self._folder}: got a checkpoint that does not fit ({error}), allowed one {_FIX}"
            ) from error
        self._written = parts["env_steps"]
        return parts

    def _collector(self) -> Collector:
        return Collector({"recsim_hrl_agents", "recsim_hrl", type(self._agent).__module__.partition(".")[0]})

    def is_due(self, env_steps: int) -> bool:
        """Whether the last checkpoint is so old that one should be written after ``env_steps``."""
        return env_steps - self._written >= self._every

    def write(self, env_steps: int, **parts: Any) -> None:
        """Replace the checkpoint by the agent, the environment and ``parts`` as they are now."""
        collector = self._collector()
        parts = {"agent": self._agent, "env_steps": env_steps, **parts}
        tree = {
            "env": collector.collect(self._env.state_dict(), "env"),
            "training": collector.collect(parts, "training"),
        }
        text = np.frombuffer(json.dumps(tree).encode(), np.uint8).copy()
        tensors = collector.tensors | {_TREE: torch.from_numpy(text)}
        storage.save(self._folder, self._settings | {"env_steps": env_steps}, tensors, _KIND)
        self._written = env_steps


def market_digest(market: Market) -> str:
    """16 hexadecimal digits that tell markets apart: items, spaces and history."""
    digest = hashlib.sha256()
    for field in dataclasses.fields(market):
        value = getattr(market, field.name)
        digest.update(value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode())
    return digest.hexdigest()[:16]
