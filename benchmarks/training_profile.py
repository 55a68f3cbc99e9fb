"""Where the time of a training goes: ``python -m benchmarks.training_profile``.

A whole training of DDPG+ on the default environment, with a stopwatch around each part. What a part calls counts for
the part that is called: the networks are without the replay memory that they ask for a batch. With ``--device`` users,
replay memory and agent stay on that device; it is waited for at every turn of the stopwatch.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import tyro
from gymnasium.vector import VectorEnv
from recsim_hrl_agents import make_agent, train

from benchmarks.aggregate import write_csv, write_text
from benchmarks.throughput import machine
from recsim_hrl.vector.session import RecSessionVectorEnv
from recsim_hrl.vector.tensors import RecSessionTensorEnv

COLUMNS = ("part", "seconds", "share", "us_per_user_step")


@dataclass(frozen=True)
class ProfileConfig:
    """Which training is looked at."""

    out: Path = Path("runs/training_profile")
    """Folder of the table."""
    agent: str = "ddpg"
    """Name of an agent that learns from the environment."""
    steps: int = 51_200
    """Environment steps: half of the full benchmark's."""
    users: int = 64
    """Parallel users, as in the benchmark."""
    seed: int = 0
    """Of agent and users."""
    device: str | None = None
    """Train on tensors there, e.g. "cuda"; None: on arrays."""


class Stopwatch:
    """Seconds of named parts that may call one another; each second counts once, for the innermost."""

    def __init__(self, settle: Callable[[], None] = lambda: None) -> None:
        self._settle = settle  # waits for what has been begun
        self.seconds: dict[str, float] = {}
        self._running: list[str] = []
        self._since = 0.0

    def watched(self, part: str, function: Callable) -> Callable:
        """``function``, timed as ``part``."""

        def timed(*arguments: Any, **named: Any) -> Any:
            self._turn()
            self._running.append(part)
            try:
                return function(*arguments, **named)
            finally:
                self._turn()
                self._running.pop()

        return timed

    def _turn(self) -> None:
        """Give the time since the last turn to the part that was running."""
        self._settle()
        now = time.perf_counter()
        if self._running:
            part = self._running[-1]
            self.seconds[part] = self.seconds.get(part, 0.0) + now - self._since
        self._since = now


def profile(config: ProfileConfig) -> dict[str, float]:
    """Seconds of each part of one training."""
    torch.set_num_threads(1)
    if config.device is None:
        env: VectorEnv = RecSessionVectorEnv(config.users, observation="item_ids")
    else:
        env = RecSessionTensorEnv(config.users, config.device, observation="item_ids")
    agent = make_agent(config.agent, env, config.seed)
    watch = Stopwatch(torch.cuda.synchronize) if torch.device(config.device or "cpu").type == "cuda" else Stopwatch()
    env.reset(seed=config.seed)
    env.step(env.action_space.sample())  # compiled before the watch starts
    parts = [
        (env, "step", "environment"),
        (agent, "act", "acting: the actor and its noise"),
        (agent, "update", "the agent's own"),
        (agent, "_learn", "learning: networks forward and back"),
        (agent, "_descend", "learning: gradients and optimizer"),
    ]
    if hasattr(agent, "_buffer"):
        parts += [(agent._buffer, name, "replay memory") for name in ("add", "sample")]
    with ExitStack() as stack:
        for owner, name, part in parts:
            if hasattr(owner, name):
                stack.enter_context(patch.object(owner, name, watch.watched(part, getattr(owner, name))))
        watch.watched("loop", train)(agent, env, config.steps, config.seed)
    return watch.seconds


def main(config: ProfileConfig) -> None:
    """Profile a training and write the table."""
    seconds = profile(config)
    total = sum(seconds.values())
    rows = [
        [part, f"{spent:.2f}", f"{spent / total:.3f}", f"{1e6 * spent / config.steps:.1f}"]
        for part, spent in sorted(seconds.items(), key=lambda item: -item[1])
    ]
    lines = ["| part | seconds | share | µs per user-step |", "|---|---:|---:|---:|"]
    lines += [f"| {part} | {spent} | {float(share):.1%} | {each} |" for part, spent, share, each in rows]
    text = "\n".join(lines)
    place = "" if config.device is None else f" on {config.device}"
    about = f"{config.agent}{place}, {config.steps:,} steps of {config.users} users. Measured on: {machine()}.\n"
    write_csv(config.out / "training_profile.csv", COLUMNS, rows)
    made = f"{about}Made by `python -m benchmarks.training_profile`.\n"
    write_text(config.out / "training_profile.md", f"{text}\n\n{made}")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(ProfileConfig, description=__doc__))
