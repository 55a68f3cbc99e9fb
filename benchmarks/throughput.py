"""How fast the environments step: ``python -m benchmarks.throughput``.

Every case runs in a process of its own, several times; the table gives the median rate in user-steps per second, the
slowest and the fastest run, and the most memory that the process held. Sessions end and new users arrive as they do;
actions are drawn beforehand. If ``sardine-rec`` is installed, its fastest environment runs in the same table: a user
model by formula, in place of a learned one. The machine is described in the file; compare ratios, not rates.
"""

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import tyro
from gymnasium.spaces import Discrete, Space

from benchmarks.aggregate import write_csv, write_text

COLUMNS = ("case", "users", "threads", "user_steps_per_s", "slowest", "fastest", "peak_memory_mib")
DRAWN = {"item": 512, "embedding": 16}
"""Actions drawn beforehand for each user; a longer run starts over. Few embeddings, as they weigh on the memory."""


@dataclass(frozen=True)
class ThroughputConfig:
    """What is timed, and how long."""

    out: Path = Path("runs/throughput")
    """Folder of throughput.csv and throughput.md."""
    users: tuple[int, ...] = (64, 1024, 4096, 16384)
    """Sizes of the vector environment."""
    seconds: float = 3.0
    """Least duration of a run."""
    repeats: int = 5
    """Runs of each case."""
    threads: int = 2
    """Threads of the vector environment; a single user gets one."""


@dataclass(frozen=True)
class Case:
    """One environment with its arguments."""

    name: str
    users: int
    threads: int
    arguments: tuple[tuple[str, object], ...] = ()


def cases(config: ThroughputConfig) -> list[Case]:
    """All cases that can run here."""
    kinds = {
        "item actions, item ids": (("action", "item"), ("observation", "item_ids")),
        "embedding actions, item ids": (("observation", "item_ids"),),
        "embedding actions, embeddings": (),
    }
    found = [Case(name, 1, 1, arguments) for name, arguments in kinds.items()]
    found += [Case(name, size, config.threads, arguments) for name, arguments in kinds.items() for size in config.users]
    if find_spec("sardine"):
        found += [Case("SARDINE SingleItem-BoredInf", size, 1) for size in (1, 32)]
    return found


def stepper(case: Case) -> Callable[[int], None]:
    """A function that plays so many steps of all users of the case's environment."""
    import gymnasium as gym

    if case.name.startswith("SARDINE"):
        import sardine  # noqa: F401  (registers its ids)

        name, arguments, vectorization = "sardine/SingleItem-BoredInf-v0", {}, "sync"
    else:
        import recsim_hrl  # noqa: F401

        name, arguments, vectorization = "RecSession-v0", dict(case.arguments), "vector_entry_point"
    if case.users > 1:
        env = gym.make_vec(name, num_envs=case.users, vectorization_mode=vectorization, **arguments)
        actions = _draw(env.single_action_space, (case.users,))
    else:
        env = gym.make(name, **arguments)
        actions = _draw(env.action_space, ())
    env.reset(seed=0)

    def play(steps: int) -> None:
        for step in range(steps):
            _, _, terminated, truncated, _ = env.step(actions[step % len(actions)])
            if case.users == 1 and (terminated or truncated):
                env.reset()

    return play


def _draw(space: Space, users: tuple[int, ...]) -> np.ndarray:
    generator = np.random.default_rng(0)
    if isinstance(space, Discrete):
        return generator.integers(space.n, size=(DRAWN["item"], *users))
    size = (DRAWN["embedding"], *users, *space.shape)
    return generator.uniform(space.low, space.high, size).astype(space.dtype)


def measure(case: Case, config: ThroughputConfig) -> list[object]:
    """A row of the table."""
    play = stepper(case)
    steps = 8
    play(steps)  # the first steps allocate
    while True:  # so many steps that a run lasts long enough
        started = time.perf_counter()
        play(steps)
        lasted = time.perf_counter() - started
        if lasted >= 0.2 * config.seconds:
            break
        steps *= 2
    steps = max(1, round(steps * config.seconds / lasted))
    rates = []
    for _ in range(config.repeats):
        started = time.perf_counter()
        play(steps)
        rates.append(steps * case.users / (time.perf_counter() - started))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    numbers = (statistics.median(rates), min(rates), max(rates), memory)
    return [case.name, case.users, case.threads, *(f"{number:.0f}" for number in numbers)]


def to_text(rows: list[list[object]]) -> str:
    """The table for people."""
    lines = ["| environment | users | threads | user-steps/s, median (slowest–fastest) | peak memory |"]
    lines.append("|---|---:|---:|---:|---:|")
    for name, users, threads, median, slowest, fastest, memory in rows:
        rate = f"{int(median):,} ({int(slowest):,}–{int(fastest):,})"
        lines.append(f"| {name} | {users:,} | {threads} | {rate} | {memory} MiB |")
    return "\n".join(lines)


def machine() -> str:
    """What the numbers were measured on."""
    import os

    import torch

    names = {line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")}
    return (
        f"{', '.join(sorted(names)) or platform.processor() or 'unknown processor'}, {os.cpu_count()} cores; "
        f"Python {platform.python_version()}, torch {torch.__version__}, NumPy {np.__version__}"
    )


def _cpu_lines() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def main(config: ThroughputConfig) -> None:
    """Time every case and write the table."""
    rows = []
    for case in cases(config):
        os.environ["OMP_NUM_THREADS"] = str(case.threads)  # read by the process when it loads NumPy
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            rows.append(pool.submit(measure, case, config).result())
        print(" | ".join(str(cell) for cell in rows[-1]), flush=True)
    text = to_text(rows)
    write_csv(config.out / "throughput.csv", COLUMNS, rows)
    write_text(
        config.out / "throughput.md",
        f"{text}\n\nMeasured on: {machine()}.\nMade by `python -m benchmarks.throughput`.\n",
    )
    print(text)


if __name__ == "__main__":
    main(tyro.cli(ThroughputConfig, description=__doc__))
