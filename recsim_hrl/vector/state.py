"""The users of an environment in the middle of their sessions, as plain arrays by name, to put aside and go on from.

Nothing is drawn from a generator with a state, so where the users stand is all there is to keep.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from gymnasium.error import ResetNeeded

from recsim_hrl.simulator.core import SessionCore
from recsim_hrl.simulator.tables import Memory, SessionState
from recsim_hrl.types import R
from recsim_hrl.vector.shell import SessionBatch
from recsim_hrl.vector.users import SEED_BITS, Arrays

TASK = "task"
"""Array (32,) uint8 of a state: the digest of the task that it belongs to."""
ANSWERS = "answers"
"""Array (B, T) int8 of a state: the responses of the sessions, where the environment tells of the log's support."""


def task_digest(core: SessionCore) -> np.ndarray:
    """(32,) uint8, a hash of all that decides what happens to users: arguments, simulator, and items on offer."""
    digest = hashlib.sha256(repr(core.config).encode())
    arrays = []
    for data in core.simulators:
        arrays += [data.weights.arrays[name] for name in sorted(data.weights.arrays)]
        for part in (core.catalogue, data.visits):
            arrays += [getattr(part, field.name) for field in dataclasses.fields(part)]
    for array in (*arrays, core.candidates, core.vectors.open):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def take_state(batch: SessionBatch) -> Arrays:
    """Copies of all arrays that say where the users of ``batch`` stand.

    Raises:
        ResetNeeded: Before the first reset.
    """
    state = require_started(batch.state)
    parts = state._asdict() | state.memory._asdict() | _answers(batch)
    return {TASK: task_digest(batch.core)} | {
        name: part.copy() for name, part in parts.items() if isinstance(part, np.ndarray)
    }


def put_state(batch: SessionBatch, arrays: Arrays) -> None:
    """Put the users of ``batch`` where those of :func:`take_state` stood.

    Raises:
        ValueError: If the arrays are not those of such a batch, or say what cannot be.
    """
    core, nobody = batch.core, np.zeros(batch.size, np.int64)
    fresh = core.initial(nobody, nobody)
    expected = fresh._asdict() | fresh.memory._asdict() | _answers(batch)
    del expected["memory"]
    check_state(arrays, expected | {TASK: task_digest(core)})
    _check_ranges(arrays, core)
    kept = {name: arrays[name].copy() for name in expected}
    memory = Memory(*(kept.pop(name) for name in Memory._fields))
    if batch.support is not None:
        batch.support.answers = kept.pop(ANSWERS)
    state = SessionState(memory=memory, **kept)
    batch.resume(state, state.seed, state.episode)


def _answers(batch: SessionBatch) -> Arrays:
    """What is kept of users only where the support is told."""
    return {} if batch.support is None else {ANSWERS: batch.support.answers}


def require_started(state):
    """``state``, if there is one."""
    if state is None:
        raise ResetNeeded("state_dict: the environment has not started a session; call reset() first")
    return state


def check_state(arrays: Arrays, expected: Arrays) -> None:
    """Refuse arrays that differ from the ``expected`` ones in names, shapes or types, or that are of another task."""
    if set(arrays) != set(expected):
        raise ValueError(
            f"environment state: got arrays {sorted(arrays)}, allowed {sorted(expected)}; "
            "pass what state_dict() of an environment of the same kind gave"
        )
    for name, own in expected.items():
        array = arrays[name]
        if not isinstance(array, np.ndarray) or (array.dtype, array.shape) != (own.dtype, own.shape):
            got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ValueError(
                f"environment state {name}: got {got}, allowed {own.dtype} {own.shape}; make the environment with the "
                "arguments of the one that gave the state"
            )
    if not np.array_equal(arrays[TASK], expected[TASK]):
        got, allowed = (one.tobytes().hex()[:16] for one in (arrays[TASK], expected[TASK]))
        raise ValueError(
            f"environment state: got that of another task ({got}), allowed that of this one ({allowed}); make the "
            "environment with the same arguments, simulator and split, and with the same items added and removed"
        )


def _check_ranges(arrays: Arrays, core: SessionCore) -> None:
    """Refuse indices that point nowhere: compiled code would follow them."""
    candidates, last_step = len(core.candidates) - 1, core.config.session_length - 1
    most = {
        "seed": SEED_BITS,
        "episode": SEED_BITS,
        "step": last_step,
        "user": core.users - 1,
        "shown": candidates,
        "histories": len(core.catalogue),
        "recalled": candidates,
        "responses": last_step,
        "written": arrays["step"][:, None],
    } | ({ANSWERS: R - 1} if ANSWERS in arrays else {})
    for name, limit in most.items():
        array = arrays[name]
        if ((array < 0) | (array > limit)).any():
            raise ValueError(
                f"environment state {name}: got values from {array.min()} to {array.max()}, allowed 0 to "
                f"{np.max(limit)}; pass what state_dict() gave, unchanged"
            )
