"""What single units of work cost on one core: ``python -m benchmarks.costs``.

Measures user-steps, gradient steps, impressions of log written, read and fitted, and jobs handed out; writes them as
costs.csv with the machine's description beside it, and brings docs/scale.md up to date, which says what they make of a
large log. Seconds are those of the processor in the fastest of several repeats, as other programs can only add to them;
only jobs, whose cost is waiting, are timed by the clock.
"""

import itertools
import json
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from gymnasium.vector import VectorEnv
from recsim_hrl_agents.base import Agent, Transitions
from recsim_hrl_agents.baselines.sb3_agents import DQNAgent
from recsim_hrl_agents.flat.ddpg import DDPG
from recsim_hrl_agents.loop import train
from recsim_hrl_agents.market import Market
from stable_baselines3 import DQN
from threadpoolctl import threadpool_limits

import recsim_hrl  # noqa: F401  registers the environments
from benchmarks import scale
from benchmarks.aggregate import write_csv, write_text
from benchmarks.pools import open_pool
from benchmarks.rollouts import Player, RolloutConfig, play
from benchmarks.scale import COLUMNS, RESULTS, Cost
from benchmarks.throughput import machine
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.splits import split_by_time
from recsim_hrl.data.world import World
from recsim_hrl.data.world_log import write_log
from recsim_hrl.data.writer import LogWriter
from recsim_hrl.simulator.fit import BATCH, FitConfig, fit_simulator, load_sequences
from recsim_hrl.simulator.folder import load_data

TRAINING_USERS, SESSION_LENGTH = 64, 50
"""Users that an agent trains with side by side, and items in a session."""


@dataclass(frozen=True)
class CostsConfig:
    """How much of everything is done to find what one of it costs."""

    out: Path = RESULTS
    """Folder of costs.csv and about.json."""
    page: Path | None = scale.PAGE
    """Page whose tables are made anew; None for none."""
    users: int = 1024
    """Users side by side while user-steps are timed."""
    steps: int = 500
    """Steps of all users in a repeat."""
    learning_steps: int = 19_200
    """Environment steps of the trainings whose gradient steps are timed; those before learning starts included."""
    impressions: int = 300_000
    """Impressions of the log that is written, read and fitted."""
    jobs: int = 500
    """Empty jobs in a repeat."""
    repeats: int = 3
    """Repeats; the fastest one counts."""


def make_env(users: int, action: str) -> VectorEnv:
    """Users with 1,000 candidates, who are told of as item ids."""
    how = {"vectorization_mode": "vector_entry_point", "observation": "item_ids"}
    return gym.make_vec("RecSession-v0", num_envs=users, action=action, **how)


def seconds_of(function: Callable[[], Any], repeats: int = 1) -> float:
    """Processor seconds of the fastest call."""
    taken = []
    for _ in range(repeats):
        started = time.process_time()
        function()
        taken.append(time.process_time() - started)
    return min(taken)


def bytes_of(function: Callable[[], Any]) -> tuple[int, int]:
    """Bytes of NumPy and Python that a call's result holds, and that were held at the most on the way."""
    tracemalloc.start()
    try:
        kept = function()
        held, most = tracemalloc.get_traced_memory()
        del kept
    finally:
        tracemalloc.stop()
    return held, most


def env_costs(config: CostsConfig) -> list[Cost]:
    """User-steps, and the memory of users."""
    costs = []
    for action, name in (("item", "user_step"), ("embedding", "user_step_embedding")):
        env = make_env(config.users, action)
        env.action_space.seed(0)
        # A session's worth, in turn: users who met their items again would each ask for the most similar one.
        drawn = itertools.cycle([env.action_space.sample() for _ in range(SESSION_LENGTH)])
        env.reset(seed=0)

        def steps(env: VectorEnv = env, drawn: Iterator = drawn) -> None:
            for actions in itertools.islice(drawn, config.steps):
                env.step(actions)

        seconds = seconds_of(steps, config.repeats) / (config.steps * config.users)
        what = f"one item to one of {config.users} users side by side, {action} actions, 1,000 candidates"
        costs.append(Cost(name, seconds, "s", "user-step", what))
    few, many = (bytes_of(lambda users=users: _started(users))[0] for users in (64, config.users + 64))
    costs.append(Cost("user_memory", (many - few) / config.users, "B", "user side by side", "state of a session"))
    data = load_data()
    held, _ = bytes_of(lambda: data.memories)
    visits = sum(array.nbytes for array in vars(data.visits).values())
    what = "memory and last visit of a user whom sessions may start with, in each process"
    costs.append(Cost("pool_memory", (held + visits) / len(data.visits), "B", "user in the pool", what))
    return costs


def _started(users: int) -> VectorEnv:
    env = make_env(users, "item")
    env.reset(seed=0)
    return env


class _TimedDDPG(DDPG):
    spent, updates = 0.0, 0

    def update(self, transitions: Transitions) -> dict[str, float]:
        started = time.process_time()
        metrics = super().update(transitions)
        if metrics:
            self.spent, self.updates = self.spent + time.process_time() - started, self.updates + 1
        return metrics


class _TimedDQN(DQNAgent):
    class algorithm(DQN):  # noqa: N801  the name that the agent looks for
        spent, updates = 0.0, 0

        def train(self, gradient_steps: int, batch_size: int = 100) -> None:
            started = time.process_time()
            super().train(gradient_steps, batch_size)
            # Of the class, as the agent keeps no algorithm after its training.
            type(self).spent += time.process_time() - started
            type(self).updates += gradient_steps


def learning_costs(config: CostsConfig) -> list[Cost]:
    """Gradient steps of DDPG+ and DQN, and what a training step costs with all that belongs to it."""
    costs, steps = [], config.learning_steps
    for kind, action, name in ((_TimedDDPG, "embedding", "ddpg"), (_TimedDQN, "item", "dqn")):
        env = make_env(TRAINING_USERS, action)
        # The second half alone: agents do not learn from their first steps.
        half, whole = (
            min(_trained(kind, env, length) for _ in range(config.repeats)) for length in (steps // 2, steps)
        )
        seconds, spent, updates = (after - before for before, after in zip(half, whole, strict=True))
        settings = kind.config_class()
        what = f"batch of {settings.batch_size}, the agent's default settings"
        costs.append(Cost(f"gradient_step_{name}", spent / updates, "s", "gradient step", what))
        taken, a_step = seconds / (steps - steps // 2), updates / (steps - steps // 2)
        what = f"environment, choice and learning, {TRAINING_USERS} users; {1 / a_step:.0f} of them to a gradient step"
        costs.append(Cost(f"training_step_{name}", taken, "s", "training user-step", what))
    return costs


def _trained(kind: type[Agent], env: VectorEnv, steps: int) -> tuple[float, float, int]:
    """Seconds of a training, those of its gradient steps, and their number."""
    agent = kind(Market.of(env))
    timed = agent if isinstance(agent, _TimedDDPG) else kind.algorithm
    timed.spent, timed.updates = 0.0, 0
    seconds = seconds_of(lambda: train(agent, env, steps))
    return seconds, timed.spent, timed.updates


def log_costs(config: CostsConfig, folder: Path) -> list[Cost]:
    """A log written, read, split, loaded and fitted, and played."""
    log = InteractionLog.open(write_log(World(), folder / "log", config.impressions))
    rows, blocks = log.rows, [{n: v for n, v in b.items() if n != "item_index"} for b in log.batches()]

    def write() -> None:
        with LogWriter(folder / "again", log.item_table) as writer:
            for block in blocks:
                writer.append(block)

    def consume() -> None:
        for _ in log.batches():
            pass

    size = sum(path.stat().st_size for path in (folder / "log" / "interactions").iterdir())
    columns = f"{len(log.columns)} columns"
    costs = [
        Cost("log_size", size / rows, "B", "impression", f"{columns}, Parquet with zstd"),
        Cost("log_write", seconds_of(write, config.repeats) / rows, "s", "impression", f"{columns}, checked"),
        Cost("log_read", seconds_of(consume, config.repeats) / rows, "s", "impression", f"{columns}, checked"),
    ]
    split = seconds_of(lambda: split_by_time(log, folder / "halves"), config.repeats)
    costs.append(Cost("log_split", split / rows, "s", "impression", "read twice, written once, in two halves"))
    held, _ = bytes_of(lambda: load_sequences(log))  # what it takes on the way is a constant and one column twice
    costs.append(Cost("fit_memory", held / rows, "B", "impression", "the log, while a simulator is fitted to it"))
    # A second pass and nothing else: what is done once for a log is not part of it.
    settings = [FitConfig(passes=passes, batch=BATCH[1]) for passes in (1, 2)]  # batches as large as those of long logs
    once, twice = (
        seconds_of(lambda fit=fit: fit_simulator(log, folder / "fit", fit, report=_silent), config.repeats)
        for fit in settings
    )
    costs.append(Cost("fit_pass", (twice - once) / rows, "s", "impression and pass", "default settings, one process"))
    return costs


def _silent(_: str) -> None:
    pass


def rollout_costs(config: CostsConfig, folder: Path) -> list[Cost]:
    """Sessions played by an agent that learned nothing and by DDPG+, with the file that keeps them."""
    env, costs = make_env(TRAINING_USERS, "embedding"), []
    DDPG(Market.of(env)).save(folder / "ddpg")
    for agent, name in (("random", "random"), (str(folder / "ddpg"), "ddpg")):
        asked = RolloutConfig(folder / "out", agent, parallel=TRAINING_USERS)
        player = Player.of(agent, Market.of(env))
        sessions = max(1, config.impressions // 3 // (asked.session_length * TRAINING_USERS)) * TRAINING_USERS
        seconds = seconds_of(lambda player=player, asked=asked, n=sessions: play(player, asked, 0, n), config.repeats)
        size = len(play(player, asked, 0, sessions))
        rows, what = sessions * asked.session_length, f"{TRAINING_USERS} users side by side, written as a shard"
        costs.append(Cost(f"rollout_{name}", seconds / rows, "s", "impression", what))
    costs.append(Cost("rollout_size", size / rows, "B", "impression", "a shard on its way to the driver"))
    return costs


def job_costs(config: CostsConfig) -> list[Cost]:
    """Jobs that do nothing."""
    costs = []
    for address, name, where in ((None, "local", "a process"), ("local", "ray", "Ray on this machine")):
        with open_pool(1, address) as pool:
            _hand_out(pool, config.jobs)  # the first one starts the worker
            taken = []
            for _ in range(config.repeats):
                started = time.monotonic()
                _hand_out(pool, config.jobs)
                taken.append(time.monotonic() - started)
        costs.append(Cost(f"job_{name}", min(taken) / config.jobs, "s", "job", f"to {where} and back"))
    return costs


def _hand_out(pool: Any, jobs: int) -> None:
    for outcome in pool.finished(np.sqrt, [(1.0,)] * jobs):
        if outcome.error is not None:
            raise outcome.error


def main(config: CostsConfig) -> None:
    """Measure, write the table, and bring the page up to date."""
    torch.set_num_threads(1)
    with threadpool_limits(1), tempfile.TemporaryDirectory(prefix="costs-") as folder:
        costs = [*env_costs(config), *learning_costs(config), *log_costs(config, Path(folder))]
        costs += [*rollout_costs(config, Path(folder)), *job_costs(config)]
    write_csv(config.out / "costs.csv", COLUMNS, [cost.row() for cost in costs])
    about = {"machine": machine(), "command": "python -m benchmarks.costs"}
    write_text(config.out / "about.json", json.dumps(about, indent=2) + "\n")
    print(scale.costs_table(costs))
    if config.page is not None:
        scale.main(scale.ScaleConfig(config.out, config.page))


if __name__ == "__main__":
    main(tyro.cli(CostsConfig, description=__doc__))
