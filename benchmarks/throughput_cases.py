"""What the throughput benchmark times: environments of different sizes, ours and others'."""

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np

EMBEDDINGS_AHEAD = 16
"""Embedding actions drawn beforehand for each user; a longer run starts over. Few, as they weigh on the memory. Of item
actions there is a session's worth, so that none comes twice more often than by chance."""
SLATES_AHEAD = 20
"""Slates drawn beforehand for each user: those of the longest session."""
KINDS = {
    "item actions, item ids": {"action": "item", "observation": "item_ids"},
    "embedding actions, item ids": {"action": "embedding", "observation": "item_ids"},
    "embedding actions, embeddings": {"action": "embedding", "observation": "embeddings"},
}
STEP = next(iter(KINDS))
"""What requests are compared with: a step of one item."""
SLATES = {
    "slates of nine, item actions": {"action": "items"},
    "slates of nine, a twentieth of the items replaced from session to session": {"catalog_turnover": 0.05},
    "slates of nine, one vector each": {"action": "query"},
    "slates of nine, nine vectors each": {"action": "embeddings"},
}
"""Of RecSlate, all with item ids; a user-step is a request."""
SARDINE = "SARDINE SingleItem-BoredInf"
CARTPOLE = "CartPole, no users: the yardstick of the machine"
OTHERS = {
    SARDINE: ("sardine", "sardine/SingleItem-BoredInf-v0", "sync"),
    CARTPOLE: ("gymnasium", "CartPole-v1", "vector_entry_point"),
}
"""Environments of others: what to import, the id, and how it is vectorized."""
ON_DEVICE = "on cuda: "


@dataclass(frozen=True)
class Case:
    """One environment with its arguments."""

    name: str
    """One of ``KINDS``, perhaps on a device, of ``SLATES`` or of ``OTHERS``."""
    users: int
    threads: int = 1
    catalogue: int | None = None
    """Items that all are candidates; None: the default, 1,000 of 10,000."""
    session: int = 50
    recall: int | None = None
    """Candidates of a user's own."""


def batch_cases(users: tuple[int, ...], threads: int) -> list[Case]:
    """Every kind alone and in batches of ``users``; those of others; and on a GPU, if there is one."""
    cases = [Case(name, 1) for name in KINDS]
    cases += [Case(name, size, threads) for name in KINDS for size in users]
    if find_spec("sardine"):
        cases += [Case(SARDINE, size) for size in (1, 32)]
    cases += [Case(CARTPOLE, size) for size in (1, 16384)]
    import torch

    if torch.cuda.is_available():
        cases += [Case(ON_DEVICE + name, size) for name in KINDS for size in (4096, 65_536, 262_144)]
    return cases


def catalogue_cases(sizes: tuple[int, ...], users: int, threads: int) -> list[Case]:
    """Embedding actions over whole catalogues, exactly and with a user's own candidates."""
    name = "embedding actions, item ids"
    cases = [Case(name, users, threads, catalogue=size) for size in sizes]
    return [*cases, Case(name, users, threads, catalogue=sizes[-1], recall=1000)]


def session_cases(lengths: tuple[int, ...], users: int, threads: int) -> list[Case]:
    """Item actions in sessions of different lengths, over enough items for the longest."""
    name = "item actions, item ids"
    return [Case(name, users, threads, catalogue=10_000, session=length) for length in lengths]


def slate_cases(users: tuple[int, ...], threads: int) -> list[Case]:
    """Slates in batches of ``users``, and the steps that they are compared with."""
    return [Case(name, size, threads) for size in users for name in (STEP, *SLATES)]


def enlarged(items: int) -> Any:
    """The default simulator with a catalogue of ``items``: those beyond its own are near copies."""
    from recsim_hrl.simulator.folder import load_data
    from recsim_hrl.types import Catalogue

    data, generator = load_data(), np.random.default_rng(0)
    catalogue, size = data.catalogue, len(data.catalogue)
    copied = np.concatenate([np.arange(min(size, items)), generator.integers(0, size, max(0, items - size))])
    embeddings = catalogue.embeddings[copied]
    spread = catalogue.embeddings.std(0)
    for start in range(size, items, 1 << 16):  # in blocks, so that noise does not weigh on the memory
        part = embeddings[start : start + (1 << 16)]
        part += 0.3 * spread * generator.standard_normal(part.shape, dtype=np.float32)
    large = Catalogue(np.arange(items), embeddings, catalogue.categories[copied], catalogue.prices[copied])
    visits = dataclasses.replace(data.visits, items=np.minimum(data.visits.items, items - 1))
    counts = np.zeros((items, 3), np.int64)
    return dataclasses.replace(
        data, catalogue=large, visits=visits, recall_order=generator.permutation(items), item_counts=counts
    )


def make(case: Case) -> tuple[Any, Callable[[int], None]]:
    """The case's environment, reset, and a function that plays so many steps of all its users."""
    if case.name in OTHERS:
        return _make_other(case)
    if case.name in SLATES:
        from recsim_hrl.vector.slate import RecSlateVectorEnv

        arguments = {"observation": "item_ids"} | SLATES[case.name]
        return _make_many(RecSlateVectorEnv(case.users, threads=case.threads, **arguments), SLATES_AHEAD)
    on_device, name = case.name.startswith(ON_DEVICE), case.name.removeprefix(ON_DEVICE)
    arguments: dict[str, Any] = KINDS[name] | {"session_length": case.session}
    if case.catalogue is not None:
        arguments |= {"simulator": enlarged(case.catalogue), "candidates": None}
    if case.recall is not None:
        arguments["recall"] = case.recall
    if on_device:
        return _make_on_device(case, arguments)
    if case.users == 1:
        return _make_single(arguments)
    from recsim_hrl.vector.session import RecSessionVectorEnv

    ahead = case.session if arguments["action"] == "item" else EMBEDDINGS_AHEAD
    return _make_many(RecSessionVectorEnv(case.users, threads=case.threads, **arguments), ahead)


def _make_many(env: Any, ahead: int) -> tuple[Any, Callable[[int], None]]:
    """A vector environment with ``ahead`` actions drawn beforehand."""
    env.reset(seed=0)
    env.action_space.seed(0)
    return env, _player(env, [env.action_space.sample() for _ in range(ahead)])


def _player(env: Any, actions: list) -> Callable[[int], None]:
    coming = cycle(actions)  # goes on where the last call ended: from the start, a session would meet its items again

    def play(steps: int) -> None:
        for action in islice(coming, steps):
            env.step(action)

    return play


def _make_single(arguments: dict[str, Any]) -> tuple[Any, Callable[[int], None]]:
    import gymnasium as gym

    import recsim_hrl  # noqa: F401  (registers its ids)

    return _single(gym.make("RecSession-v0", **arguments), arguments["session_length"])


def _single(env: Any, ahead: int) -> tuple[Any, Callable[[int], None]]:
    env.reset(seed=0)
    env.action_space.seed(0)
    coming = cycle([env.action_space.sample() for _ in range(ahead)])

    def play(steps: int) -> None:
        for action in islice(coming, steps):
            _, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                env.reset()

    return env, play


def _make_other(case: Case) -> tuple[Any, Callable[[int], None]]:
    import gymnasium as gym

    package, name, vectorization = OTHERS[case.name]
    import_module(package)  # registers its ids
    if case.users == 1:
        return _single(gym.make(name, disable_env_checker=True), 50)  # SARDINE's fails, with a warning
    return _make_many(gym.make_vec(name, num_envs=case.users, vectorization_mode=vectorization), 50)


def _make_on_device(case: Case, arguments: dict[str, Any]) -> tuple[Any, Callable[[int], None]]:
    import torch

    from recsim_hrl.vector.tensors import RecSessionTensorEnv

    env = RecSessionTensorEnv(case.users, "cuda", **arguments)
    env.reset(seed=0)
    env.action_space.seed(0)
    actions = [torch.from_numpy(env.action_space.sample()).cuda() for _ in range(EMBEDDINGS_AHEAD)]
    play_on = _player(env, actions)

    def play(steps: int) -> None:
        play_on(steps)
        torch.cuda.synchronize()

    return env, play


@dataclass(frozen=True)
class Timing:
    """One run of a case."""

    rate: float
    """User-steps per second."""
    ready_seconds: float
    """From the environment's own imports to its first step."""
    peak_memory_mib: float


def time_case(case: Case, seconds: float) -> Timing:
    """Play a case for at least so many ``seconds``, once it is warm."""
    started = time.perf_counter()
    _, play = make(case)
    play(1)
    ready = time.perf_counter() - started
    steps = 1
    while True:  # so many steps that a run lasts long enough
        started = time.perf_counter()
        play(steps)
        lasted = time.perf_counter() - started
        if lasted >= 0.2 * seconds:
            break
        steps *= 2
    steps = max(1, round(steps * seconds / lasted))
    started = time.perf_counter()
    play(steps)
    rate = steps * case.users / (time.perf_counter() - started)
    return Timing(rate, ready, _peak_mib())


def _peak_mib() -> float:
    """The most memory that this process has held; what the system tells of children begins with their parent's."""
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    [line] = [line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024
