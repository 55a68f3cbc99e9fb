"""What is run: frozen tasks, the agents that enter, and presets that put both together with seeds and budgets.

A task trains on the ``train`` simulator of a market and is judged on its ``test`` simulator, which was fitted on
other sessions. Session j of an evaluation is the same user with the same luck for every agent and every seed.
"""

import contextlib
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from benchmarks.settings import long_settings

Scalar = int | float | str | bool
Setting = Scalar | tuple[Scalar, ...]
PresetName = Literal["quick", "full", "movielens"]

MOVIELENS = Path("runs/movielens")
"""Where ``benchmarks.movielens`` puts logs and simulators, which may not be shipped, unless it is told otherwise."""

LOG_SEED = 11
"""Of the log that popularity and greedy learn from; no other log of the default market is written with it."""

HELD_OUT_SEED = 12
"""Of the log that nobody learns from."""

HELD_OUT_SHARE = 5
"""The held-out log of the default market has a fifth of the impressions of the training log."""


@dataclass(frozen=True)
class Task:
    """An environment, and how agents are judged in it."""

    name: str
    """What tables call it."""
    env_id: str
    """Registered environment."""
    session_length: int
    """Items in a session."""
    sessions: int
    """Evaluation sessions, each of another user; the same for all agents."""
    simulator: str = "default"
    """Name or folder of a simulator with the splits ``train`` and ``test``."""
    candidates: int | None = 1000
    """Items that an agent chooses from; None takes the whole catalogue."""
    parallel: int = 64
    """Users that run side by side."""
    log_impressions: int = 1_000_000
    """About how many impressions the log holds that popularity and greedy learn from, where it can be generated."""
    history: int = 10
    """Items of each history that an observation holds (MaHRL's N)."""
    evaluation_seed: int = 10_000_000
    """Sub-environment seed of the first evaluation session; no training seed comes near it."""

    users_leave: ClassVar[bool] = False
    """Whether the simulators' leave model decides what happens."""

    def __post_init__(self) -> None:
        for name in ("session_length", "sessions", "parallel", "log_impressions", "history"):
            if getattr(self, name) < 1:
                raise ValueError(f"task {self.name} {name}: got {getattr(self, name)}, allowed 1 or more")

    def arguments(self) -> dict[str, Any]:
        """Those of the environment that make it this task."""
        return {"session_length": self.session_length, "candidates": self.candidates, "history": self.history}


@dataclass(frozen=True)
class Entry:
    """An agent that enters a benchmark, with its budget."""

    agent: str
    """Name in the registry of agents."""
    steps: int = 0
    """Environment steps of training, counted over all parallel users; of a ranker, impressions that it reads."""
    settings: tuple[tuple[str, Setting], ...] = ()
    """Settings that differ from the agent's defaults, as (name, value) pairs."""
    action: Literal["embedding", "item", "items", "query"] = "embedding"
    """Form of the environment's actions; the last two are those of slates."""
    needs_log: bool = False
    """Whether the agent is fitted on the market's training log."""
    deterministic: bool = False
    """Whether every seed gives the same agent, so that one is enough."""

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"entry {self.agent} steps: got {self.steps}, allowed 0 or more")


@dataclass(frozen=True)
class Run:
    """One agent on one task from one seed: what the sweep does, or finds done."""

    task: Task
    entry: Entry
    seed: int

    @property
    def training_seed(self) -> int:
        """Seed of the first training user; runs keep a distance that no number of parallel users bridges."""
        return 100_000 * (self.seed + 1)

    @property
    def name(self) -> str:
        """What progress calls it."""
        return f"{self.task.name} {self.entry.agent} seed {self.seed}"

    @property
    def cost(self) -> int:
        """Environment steps of the run, for progress and for starting long runs first."""
        return self.entry.steps + self.task.sessions * self.task.session_length


@dataclass(frozen=True)
class Preset:
    """Tasks, agents and seeds that make one table."""

    name: str
    tasks: tuple[Task, ...]
    entries: tuple[Entry, ...]
    seeds: int
    skipped: frozenset[tuple[str, str]] = frozenset()
    """(task, agent) pairs that the table does without."""

    def runs(self) -> list[Run]:
        """Every run of the preset, in the order of the tables."""
        return [
            Run(task, entry, seed)
            for task in self.tasks
            for entry in self.entries
            if (task.name, entry.agent) not in self.skipped
            for seed in range(1 if entry.deterministic else self.seeds)
        ]


def _pair(sessions: int, parallel: int, **changes: Any) -> tuple[Task, Task]:
    """The short and the long task of a market."""
    changes |= {"sessions": sessions, "parallel": parallel}
    return Task("short", "RecSessionShort-v0", 50, **changes), Task("long", "RecSessionLong-v0", 200, **changes)


RANKERS = ("cf", "fm", "wide-deep", "gru", "greedy")
"""Agents that are fitted on a log."""
FLAT = ("ddpg", "deers", "sb3-dqn", "sb3-ppo", "sb3-td3", "sb3-sac")
"""Agents of one level that learn by acting."""
HIERARCHICAL = ("mahrl", "hrl-i", "hrl-s", "hrl-g", "mahrl-anchored", "mahrl-items", "goal-q")
"""Agents of two levels."""
AGENTS = (*RANKERS, *FLAT, *HIERARCHICAL)
"""All agents that learn something of single users."""

_ON_RATINGS = tuple(agent for agent in AGENTS if agent != "mahrl-anchored")
"""Agents of the preset movielens, where patience wins nothing: MaHRL, its ablations and MaHRL with items as goals stand
for the hierarchy."""
_QUICK = ("greedy", "ddpg", "sb3-ppo", "mahrl-items", "goal-q")
"""Agents of the quick preset: one that learns from a log, flat ones and ones of two levels."""


def entry_of(agent: str, steps: int, settings: Mapping[str, Setting]) -> Entry:
    """An agent that acts ``steps`` times, or reads as many impressions of the log."""
    reads = agent in RANKERS
    named = dict(settings) | ({"impressions": steps} if reads else {})
    action = "item" if agent == "sb3-dqn" else "embedding"
    return Entry(agent, steps, tuple(named.items()), action=action, needs_log=reads)


def _entries(agents: Sequence[str], steps: int) -> tuple[Entry, ...]:
    """The two that learn nothing of single users, and ``agents`` with as many steps each."""
    learners = (entry_of(agent, steps, long_settings(agent)) for agent in agents)
    return (Entry("random"), Entry("popularity", needs_log=True, deterministic=True), *learners)


def make_preset(name: PresetName) -> Preset:
    """The frozen preset ``name``: quick (under 3 minutes on 2 cores), full (about 2 hours) or movielens.

    Agents that learn have as many steps each, 512 users side by side and the settings for that; in full all agents
    enter, in movielens all but one.

    Raises:
        ValueError: If there is no such preset.
    """
    match name:
        case "quick":
            tasks = _pair(sessions=100, parallel=512, log_impressions=200_000)
            return Preset("quick", tasks, _entries(_QUICK, 102_400), seeds=2)
        case "full":
            entries = _entries(AGENTS, 512_000)
            return Preset("full", _pair(sessions=400, parallel=512), entries, seeds=5)
        case "movielens":
            tasks = _pair(sessions=200, parallel=512, simulator=str(MOVIELENS / "simulators" / "movielens"))
            return Preset("movielens", tasks, _entries(_ON_RATINGS, 204_800), seeds=3)
    raise ValueError(f"preset: got {name!r}, allowed 'quick', 'full' or 'movielens'")


def training_log(task: Task, folder: Path) -> Path:
    """The interaction log that agents of a task may learn from; that of the default market is written on first use.

    Args:
        task: Says which market, and how long a log.
        folder: Where logs are kept between sweeps.

    Returns:
        A folder that ``InteractionLog.open`` reads: ``folder/<market>``, or its half ``train`` where it has one.

    Raises:
        ValueError: If the market's log is not there and cannot be made.
    """
    if task.simulator != "default":
        market, path = Path(task.simulator).name, _market_log(task, folder)
        if not path.exists():
            raise ValueError(
                f"training log of {market!r}: got no folder {path}, and only the log of 'default' can be "
                "generated; put the log that the train simulator was fitted on there, or its halves train and test"
            )
        return path / "train" if (path / "train").is_dir() else path
    return default_log(folder / f"default-{task.log_impressions}", task.log_impressions, LOG_SEED)


def held_out_log(task: Task, folder: Path) -> Path:
    """The interaction log that no agent of a task learns from; that of the default market is written on first use.

    Args:
        task: Says which market, and how long its training log is.
        folder: As for :func:`training_log`.

    Returns:
        A folder that ``InteractionLog.open`` reads: sessions of the default market of their own, or the half ``test``
        of another market's log.

    Raises:
        ValueError: If the market's log is not there in two halves and cannot be made.
    """
    if task.simulator != "default":
        path = _market_log(task, folder) / "test"
        if not path.is_dir():
            raise ValueError(
                f"held-out log of {path.parent.name!r}: got no folder {path}, and only that of 'default' can be "
                "generated; put the log that the test simulator was fitted on there"
            )
        return path
    impressions = max(1, task.log_impressions // HELD_OUT_SHARE)
    return default_log(folder / f"default-held-out-{impressions}", impressions, HELD_OUT_SEED)


def _market_log(task: Task, folder: Path) -> Path:
    """Where the log of a market other than the default one lies, whole or in halves."""
    return folder / Path(task.simulator).name


def default_log(path: Path, impressions: int, seed: int) -> Path:
    """A log of the default market at ``path``, of about so many ``impressions``; written if it is not there."""
    if not path.exists():
        # Imported here: most runs need no log, and a worker should not pay for the world.
        from recsim_hrl.data.world import World
        from recsim_hrl.data.world_log import write_log

        path.parent.mkdir(parents=True, exist_ok=True)
        # Workers of another machine, which do not see the driver's log, may write it side by side: the first one stays.
        with tempfile.TemporaryDirectory(prefix=".", dir=path.parent) as beside:
            written = write_log(World(), Path(beside) / path.name, impressions=impressions, seed=seed)
            with contextlib.suppress(OSError):
                written.rename(path)
    return path
