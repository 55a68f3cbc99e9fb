"""Ways to find the item of an embedding action in a large catalogue: ``python -m benchmarks.catalogues``.

An actor (DDPG+) is trained in the environment with every item of the catalogue as a candidate; then each way answers
the actions that it takes in sessions of new users. Recall@1 is the share of actions for which a way finds the item
nearest of all. An index is there to find it; a user's own candidates are not, they offer an item that is less like the
action, and the cosine lost tells by how much. Vectors near items would flatter an index: an actor's actions are far
from all items.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from recsim_hrl_agents import make_agent, train

from benchmarks.aggregate import write_csv, write_text
from benchmarks.throughput import machine
from benchmarks.throughput_cases import enlarged
from recsim_hrl.simulator.approximate import ApproximateSearch
from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.vector.session import RecSessionVectorEnv

COLUMNS = ("way", "recall_at_1", "cosine_lost", "us_per_query", "seconds_to_build", "mib")


@dataclass(frozen=True)
class CatalogueConfig:
    """What is compared, and on what."""

    out: Path = Path("runs/catalogues")
    """Folder of catalogues.csv and catalogues.md."""
    items: int = 553_156
    """Size of the catalogue: that of HRL-Rec's data."""
    train_steps: int = 20_000
    """Environment steps that the actor learns for."""
    users: int = 128
    """Users whose sessions the actions come from."""
    every: int = 5
    """One step in so many is looked at."""
    probes: tuple[int, ...] = (16, 64, 256)
    """Cells of the index that are searched."""
    own: tuple[int, ...] = (1000, 10_000)
    """Candidates of a user's own."""
    seed: int = 0
    """Of the actor, its training, and (one million later) the users whose actions are looked at."""


@dataclass(frozen=True)
class Asked:
    """An actor's actions and their answers."""

    actions: np.ndarray  # (n, D)
    nearest: np.ndarray  # (n,) the nearest candidate of all


def actions_of_an_actor(data: object, config: CatalogueConfig) -> np.ndarray:
    """(steps, B, D) actions of a trained actor in sessions of new users."""
    env = RecSessionVectorEnv(64, simulator=data, candidates=None, observation="item_ids")
    agent = make_agent("ddpg", env, config.seed)
    train(agent, env, config.train_steps, config.seed)
    judged = RecSessionVectorEnv(config.users, simulator=data, candidates=None, observation="item_ids")
    observations, _ = judged.reset(seed=config.seed + 1_000_000)
    taken = []
    for step in range(judged.core.config.session_length):
        actions = agent.act(observations)
        if step % config.every == 0:
            taken.append(actions)
        observations, *_ = judged.step(actions)
    return np.stack(taken)


def compare(data: object, actions: np.ndarray, config: CatalogueConfig) -> list[list[object]]:
    """Rows of the table."""
    core, ready = _timed(lambda: SessionCore(data, SessionConfig(candidates=None), threads=1))
    state = core.initial(np.arange(config.users) + config.seed + 1_000_000, np.zeros(config.users, np.int64))
    core.choose(state, actions[0])  # compiles
    exact, lasted = _timed(lambda: np.concatenate([core.choose(state, one) for one in actions]))
    vectors, asked = core.vectors, Asked(actions.reshape(-1, actions.shape[2]), exact)
    table = vectors.directions.nbytes + vectors.table.nbytes
    rows = [["exact", 1.0, 0.0, 1e6 * lasted / len(exact), ready, table / 2**20]]
    for probes in config.probes:
        index, built = _timed(lambda probes=probes: ApproximateSearch(vectors, probes))
        nothing, none = np.zeros((len(exact), 1), np.int32), np.zeros(len(exact), np.int64)
        index.find(asked.actions[:64], nothing[:64], none[:64])
        found, lasted = _timed(lambda index=index, a=nothing, b=none: index.find(asked.actions, a, b))
        cost = (1e6 * lasted / len(exact), built, (vectors.directions.nbytes + vectors.item.nbytes) / 2**20)
        rows.append([f"index, {probes} cells", *_quality(core, asked, found), *cost])
    for own in config.own:
        smaller = SessionCore(data, SessionConfig(candidates=None, recall=own), threads=1)
        theirs, built = _timed(lambda one=smaller: one.initial(state.seed, state.episode))
        smaller.choose(theirs, actions[0])
        found, lasted = _timed(lambda one=smaller, at=theirs: np.concatenate([one.choose(at, a) for a in actions]))
        cost = (1e6 * lasted / len(exact), built, theirs.recalled.nbytes / config.users / 2**20)
        rows.append([f"{own:,} of a user's own", *_quality(core, asked, found), *cost])
    return rows


def _quality(core: SessionCore, asked: Asked, found: np.ndarray) -> tuple[float, float]:
    """Recall@1, and how much nearer the nearest is on average."""
    directions = core.vectors.directions
    actions = asked.actions / np.linalg.norm(asked.actions, axis=1, keepdims=True)
    cosine = [(directions[candidates] * actions).sum(1) for candidates in (asked.nearest, found)]
    return float((found == asked.nearest).mean()), float((cosine[0] - cosine[1]).mean())


def _timed(function: Callable[[], object]) -> tuple:
    started = time.perf_counter()
    value = function()
    return value, time.perf_counter() - started


def to_text(rows: list[list[object]], config: CatalogueConfig) -> str:
    """The table for people."""
    lines = ["| way | recall@1 | cosine lost | per action, one thread | to build | memory |"]
    lines.append("|---|---:|---:|---:|---:|---:|")
    for way, recall, lost, lasted, built, memory in rows:
        of = f"{config.users} sessions" if "own" in way else "once"
        size = f"{memory * 1024:.0f} KiB a user" if "own" in way else f"{memory:.0f} MiB"
        lines.append(f"| {way} | {recall:.3f} | {lost:.4f} | {lasted:,.0f} µs | {built:.1f} s, {of} | {size} |")
    return "\n".join(lines)


def main(config: CatalogueConfig) -> None:
    """Train, compare, and write the table."""
    data = enlarged(config.items)
    actions = actions_of_an_actor(data, config)
    rows = compare(data, actions, config)
    text = to_text(rows, config)
    write_csv(config.out / "catalogues.csv", COLUMNS, [[row[0], *(f"{cell:.6g}" for cell in row[1:])] for row in rows])
    about = f"{actions.shape[0] * actions.shape[1]:,} actions of DDPG+ after {config.train_steps:,} steps, over "
    about += f"{config.items:,} items. Measured on: {machine()}.\nMade by `python -m benchmarks.catalogues`.\n"
    write_text(config.out / "catalogues.md", f"{text}\n\n{about}")
    print(text)


if __name__ == "__main__":
    main(tyro.cli(CatalogueConfig, description=__doc__))
