"""What a user-step must cost at the least, counted from the shapes, and where the rest of its time goes.

The two floors are arithmetic (the operations of the network and of the search for the nearest item, at the rate of a
matrix product of the sizes that stepping uses) and memory (the bytes that a user-step must move, at the rate of a
copy). Both rates are measured in the same process as the stages.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from recsim_hrl.simulator import kernels
from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.simulator.folder import load_data
from recsim_hrl.types import R

EXPONENTIAL = 20
"""Operations that an exponential is counted as: what its polynomial has."""
SHOWN = 20
"""Items shown before the stages are timed, so that sessions are in their middle."""


@dataclass(frozen=True)
class Counts:
    """Of one user-step."""

    operations: int
    """Of float32: additions and multiplications."""
    bytes: int
    """Read or written that belong to this user or item alone; weights stay in the cache."""


def count(core: SessionCore) -> Counts:
    """Operations and bytes of a user-step, from the shapes of the core's tables."""
    network, model = core.model.network, core.model
    inputs, hidden = network.first.shape
    products = inputs * hidden + hidden * hidden + hidden * R
    traces = model.marks.shape[2]
    operations = 2 * products + 2 * hidden * (EXPONENTIAL + 3) + R * EXPONENTIAL
    operations += traces * (2 + 2 * model.marks.shape[1] + 2 * (R - 1))
    size, dim = core.vectors.directions.shape
    # Every embedding action is searched for; of item actions, drawn as in _actions, those that were shown.
    searched = 1.0 if core.config.action == "embedding" else SHOWN / size
    operations += round(searched * size * (2 * dim + 1))
    item = 8 + 4 * core.codes.values.shape[1] + 4 * core.codes.features.shape[1]
    history = 3 * core.config.history * 8
    moved = 2 * 4 * traces + item + 3 * history + 8 * 10  # memory, item, histories moved and seen, counters
    if core.config.action == "embedding":
        moved += 4 * dim
    if core.config.observation == "embeddings":
        moved += 2 * 3 * core.config.history * 4 * core.catalogue.embeddings.shape[1]
    return Counts(operations, moved)


def rates(core: SessionCore, seconds: float) -> tuple[float, float]:
    """Of one thread: operations per second in products of the network's sizes, and bytes per second in a copy."""
    network = core.model.network
    block, (inputs, hidden) = kernels.block_of(network), network.first.shape
    generator = np.random.default_rng(0)
    seen, layer = (generator.standard_normal((block, n), dtype=np.float32) for n in (inputs, hidden))
    out = np.empty((block, hidden), np.float32)

    def products() -> None:
        for _ in range(100):
            np.dot(seen, network.first, out)
            np.dot(layer, network.second, out)

    done = 100 * 2 * block * hidden * (inputs + hidden)
    source = np.ones(1 << 25, np.uint8)
    target = np.empty_like(source)
    return done / _fastest(products, seconds), 2 * len(source) / _fastest(lambda: np.copyto(target, source), seconds)


def stages(core: SessionCore, users: int, seconds: float) -> dict[str, float]:
    """Nanoseconds per user-step of each stage of a step, on one thread."""
    state, generator = core.initial(np.arange(users), np.zeros(users, np.int64)), np.random.default_rng(0)
    for _ in range(SHOWN):
        core.step(state, _actions(core, users, generator))
    saved, model, network = state.step.copy(), core.model, core.model.network
    action, chosen = _actions(core, users, generator), np.empty(users, np.int64)
    responses, nobody = np.empty(users, np.int64), np.empty((0, R), np.float32)
    block = min(kernels.block_of(network), users)
    all_seen = np.zeros((users, network.first.shape[0]), np.float32)
    layer, deeper = (np.empty((block, len(network.second)), np.float32) for _ in range(2))
    probs = np.empty((block, R), np.float32)

    def choose() -> None:
        chosen[:] = core.choose(state, action)

    def play() -> None:
        state.step[:] = saved
        responses[:] = -1
        kernels.play(model, core.codes, core.candidates, state, 0.0, chosen, responses, nobody, True, 0, users)

    names = {
        "choose": choose,
        "read": lambda: kernels.look(model, core.codes, state.memory, chosen, state.step, 0, users, all_seen),
        "network": lambda: _apply(network, all_seen, layer, deeper, probs),
        "play": play,
        "observe": lambda: core.observe(state),
    }
    lasted = {name: 1e9 * _fastest(stage, seconds) / users for name, stage in names.items()}
    lasted["draw and write"] = lasted.pop("play") - lasted["read"] - lasted["network"]
    return lasted


@njit
def _apply(network, seen, layer, deeper, probs):
    """The network for all who are ``seen``, a block at a time."""
    block = len(layer)
    for first in range(0, len(seen) - block + 1, block):
        kernels.apply(network, seen[first : first + block], layer, deeper, probs)


def _actions(core: SessionCore, users: int, generator: np.random.Generator) -> np.ndarray:
    if core.config.action == "item":
        return generator.integers(len(core.candidates), size=users)
    return generator.uniform(-core.bound, core.bound, (users, core.vectors.directions.shape[1])).astype(np.float32)


def _fastest(function: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest of the calls that fit in ``seconds``: what the machine can do when it is left alone."""
    function()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        started = time.perf_counter()
        function()
        best = min(best, time.perf_counter() - started)
    return best


def floor_rows(arguments: dict, users: int, seconds: float) -> list[list[object]]:
    """Rows (what, nanoseconds per user-step of one thread) of one kind of environment."""
    core = SessionCore(load_data(), SessionConfig(**arguments), threads=1)
    counts, (arithmetic, copying) = count(core), rates(core, seconds)
    rows: list[list[object]] = [
        ["operations", counts.operations],
        ["bytes", counts.bytes],
        ["operations per nanosecond", arithmetic / 1e9],
        ["bytes per nanosecond", copying / 1e9],
        ["floor: arithmetic", 1e9 * counts.operations / arithmetic],
        ["floor: memory", 1e9 * counts.bytes / copying],
    ]
    return rows + [[f"stage: {name}", lasted] for name, lasted in stages(core, users, seconds).items()]
