"""The users of an environment in the middle of their sessions, as plain arrays by name, to put aside and go on from.

Nothing is drawn from a generator with a state, so where the users stand is all there is to keep.
"""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np
from gymnasium.error import ResetNeeded

from recsim_hrl.simulator.core import SessionCore
from recsim_hrl.simulator.slate_core import SlateCore, SlateState
from recsim_hrl.simulator.tables import SessionState
from recsim_hrl.simulator.temper import FULL_TEMPER, LEAST_TEMPER
from recsim_hrl.types import R
from recsim_hrl.vector.shell import SessionBatch
from recsim_hrl.vector.slate_batch import SlateBatch
from recsim_hrl.vector.users import SEED_BITS, Arrays

TASK = "task"
"""Array (32,) uint8 of a state: the digest of the task that it belongs to."""
ANSWERS = "answers"
"""Array (B, T) int8 of a state: the responses of the sessions, where the environment tells of the log's support."""
_FURTHEST = np.finfo(np.float64).max

Core = SessionCore | SlateCore
Batch = SessionBatch | SlateBatch
State = SessionState | SlateState


def task_digest(core: Core) -> np.ndarray:
    """(32,) uint8, a hash of all that decides what happens to users: arguments, simulator, and items on offer."""
    digest = hashlib.sha256(repr(core.config).encode())
    arrays, session = [], _session(core)
    for data in core.simulators:
        arrays += [data.weights.arrays[name] for name in sorted(data.weights.arrays)]
        parts = [core.catalogue, data.visits]
        if isinstance(core, SlateCore):
            parts += [data.leaving] if core.config.leave == "learned" else []
        for part in parts:
            arrays += [getattr(part, field.name) for field in dataclasses.fields(part)]
    if isinstance(core, SlateCore) and core.config.action == "tokens":
        arrays.append(core.table)
    for array in (*arrays, session.candidates, session.vectors.open):
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return np.frombuffer(digest.digest(), np.uint8)


def _session(core: Core) -> SessionCore:
    """The core that shows the items one by one."""
    return core.session if isinstance(core, SlateCore) else core


def take_state(batch: Batch) -> Arrays:
    """Copies of all arrays that say where the users of ``batch`` stand.

    Raises:
        ResetNeeded: Before the first reset.
    """
    state = require_started(batch.state)
    parts = _arrays(state) | _answers(batch)
    return {TASK: task_digest(batch.core)} | {name: part.copy() for name, part in parts.items()}


def put_state(batch: Batch, arrays: Arrays) -> None:
    """Put the users of ``batch`` where those of :func:`take_state` stood.

    Raises:
        ValueError: If the arrays are not those of such a batch, or say what cannot be.
    """
    core, nobody = batch.core, np.zeros(batch.size, np.int64)
    fresh = core.initial(nobody, nobody)
    check_state(arrays, _arrays(fresh) | _answers(batch) | {TASK: task_digest(core)})
    _check_ranges(arrays, core)
    if batch.support is not None:
        batch.support.answers = arrays[ANSWERS].copy()
    batch.resume(_filled(fresh, arrays), arrays["seed"], arrays["episode"])


def _arrays(state: State) -> Arrays:
    """All arrays of a ``state`` by name, also those of the named tuples in it."""
    arrays: Arrays = {}
    for name, part in state._asdict().items():
        arrays |= {name: part} if isinstance(part, np.ndarray) else _arrays(part)
    return arrays


def _filled(state: State, arrays: Arrays) -> State:
    """A state of the form of ``state`` that holds copies of ``arrays``."""
    parts = state._asdict().items()
    return type(state)(
        *(arrays[name].copy() if isinstance(part, np.ndarray) else _filled(part, arrays) for name, part in parts)
    )


def _answers(batch: Batch) -> Arrays:
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


def _check_ranges(arrays: Arrays, core: Core) -> None:
    """Refuse indices that point nowhere: compiled code would follow them."""
    session = _session(core)
    candidates, last_step = len(session.candidates) - 1, session.config.session_length - 1
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
    if isinstance(core, SlateCore):
        most |= {"request": core.config.max_requests - 1, "step": arrays["request"] * core.config.slate_size}
        most |= {"left": 0, "temper": FULL_TEMPER, "total": _FURTHEST}
    least = {"temper": LEAST_TEMPER, "total": -_FURTHEST}
    for name, limit in most.items():
        array, low = arrays[name], least.get(name, 0)
        if not ((array >= low) & (array <= limit)).all():
            raise ValueError(
                f"environment state {name}: got values from {array.min()} to {array.max()}, allowed {low:g} to "
                f"{np.max(limit):g}; pass what state_dict() gave, unchanged"
            )
