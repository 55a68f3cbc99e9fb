"""Where the time of a training goes: ``python -m benchmarks.training_profile``.

A training of each agent on the default environment, of as many users side by side and with the settings that the full
benchmark has, and a stopwatch around each part. What a part calls counts for the part that is called: learning is
without the replay memory that it asks for a batch. With ``--device`` users, replay memory and agent stay on that
device; it is waited for at every turn of the stopwatch.
"""

import time
from collections import Counter
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
from recsim_hrl_agents.base import Agent

from benchmarks.aggregate import write_csv, write_text
from benchmarks.settings import long_settings
from benchmarks.tables import aligned, grid
from benchmarks.throughput import machine
from recsim_hrl.vector.session import RecSessionVectorEnv
from recsim_hrl.vector.tensors import RecSessionTensorEnv

COLUMNS = ("agent", "part", "seconds", "share", "calls")
LEARNING, LEARNING_HIGH = "learning", "learning, high level"
PARTS = ("environment", "acting", LEARNING, LEARNING_HIGH, "replay memory", "rest")
"""Columns of the table; of an agent of one level the fourth is empty."""


@dataclass(frozen=True)
class ProfileConfig:
    """Which trainings are looked at."""

    out: Path = Path("runs/training_profile")
    """Folder of the table."""
    agents: tuple[str, ...] = ("ddpg", "deers", "mahrl", "mahrl-items", "goal-q")
    """Names of agents that ``train`` steps itself."""
    steps: int = 102_400
    """Environment steps: a fifth of the full benchmark's."""
    users: int = 512
    """Parallel users, as in the full benchmark."""
    seed: int = 0
    """Of agent and users."""
    device: str | None = None
    """Train on tensors there, e.g. "cuda"; None: on arrays."""


class Stopwatch:
    """Seconds of named parts that may call one another; each second counts once, for the innermost."""

    def __init__(self, settle: Callable[[], None] = lambda: None) -> None:
        self._settle = settle  # waits for what has been begun
        self.seconds: dict[str, float] = {}
        self.calls: Counter[str] = Counter()
        self._running: list[str] = []
        self._since = 0.0

    def watched(self, part: str, function: Callable) -> Callable:
        """``function``, timed as ``part``."""

        def timed(*arguments: Any, **named: Any) -> Any:
            self._turn()
            self._running.append(part)
            self.calls[part] += 1
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


def profile(name: str, config: ProfileConfig) -> Stopwatch:
    """One training of the agent ``name``, watched."""
    torch.set_num_threads(1)
    if config.device is None:
        env: VectorEnv = RecSessionVectorEnv(config.users, observation="item_ids")
    else:
        env = RecSessionTensorEnv(config.users, config.device, observation="item_ids")
    agent = make_agent(name, env, config.seed, **long_settings(name))
    watch = Stopwatch(torch.cuda.synchronize) if torch.device(config.device or "cpu").type == "cuda" else Stopwatch()
    env.reset(seed=config.seed)
    env.step(env.action_space.sample())  # compiled before the watch starts
    with ExitStack() as stack:
        for owner, method, part in [(env, "step", "environment"), (agent, "act", "acting"), *_learning(agent)]:
            stack.enter_context(patch.object(owner, method, watch.watched(part, getattr(owner, method))))
        watch.watched("rest", train)(agent, env, config.steps, config.seed)
    env.close()
    return watch


def _learning(agent: Agent) -> list[tuple[Any, str, str]]:
    """(owner, method, part) of what an agent does to learn, at one level or at two."""
    low, high = getattr(agent, "low", agent), getattr(agent, "high", None)
    watched = [(low, "_learn", LEARNING)] + ([] if high is None else [(high, "learn", LEARNING_HIGH)])
    for owner, name in ((low, "_buffer"), (low, "memory"), (high, "memory")):
        memory = getattr(owner, name, None)
        if memory is not None:
            watched += [(memory, method, "replay memory") for method in ("add", "sample")]
    return watched


def main(config: ProfileConfig) -> None:
    """Profile the trainings and write the table."""
    rows, lines = [], [("", "steps/s", "updates/s", *PARTS)]
    for name in config.agents:
        watch = profile(name, config)
        total = sum(watch.seconds.values())
        for part in PARTS:
            if part in watch.seconds:
                spent = watch.seconds[part]
                rows.append([name, part, f"{spent:.2f}", f"{spent / total:.3f}", watch.calls[part]])
        shares = (f"{watch.seconds[part] / total:.0%}" if part in watch.seconds else "" for part in PARTS)
        updates = watch.calls[LEARNING] + watch.calls[LEARNING_HIGH]
        lines.append((name, f"{config.steps / total:,.0f}", f"{updates / total:,.0f}", *shares))
    write_csv(config.out / "training_profile.csv", COLUMNS, rows)
    place = "" if config.device is None else f" on {config.device}"
    about = f"Trainings{place} of {config.steps:,} steps of {config.users} users. Measured on: {machine()}.\n"
    made = f"{about}Made by `python -m benchmarks.training_profile`.\n"
    write_text(config.out / "training_profile.md", f"{grid(lines)}\n\n{made}")
    print(aligned(about.strip(), lines))


if __name__ == "__main__":
    main(tyro.cli(ProfileConfig, description=__doc__))
