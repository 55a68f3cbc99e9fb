"""Arrays that belong together: what compiled functions take, and the state of users."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


def plain(value: Any) -> Any:
    """Named tuples as plain ones, in all depths: compiled functions take those over in a third of the time, which for
    one user is a tenth of a step, and name their parts again inside."""
    return tuple(map(plain, value)) if isinstance(value, tuple) else value


class Memory(NamedTuple):
    """Traces of ``B`` users: on each of H time scales the learned ones, then those of the surprises; W in all."""

    whole: np.ndarray  # (B, W) float32, of all kinds together, as they are now
    kinds: np.ndarray  # (B, K, W) float32, of each kind, as they were after the impression that last changed them
    written: np.ndarray  # (B, K) int32, the step after that impression

    def take(self, users: np.ndarray) -> Memory:
        """A copy of the memory of ``users`` (b,)."""
        return Memory(*(part[users] for part in self))

    def split(self, size: int) -> list[Memory]:
        """Views of ``size`` users each."""
        starts = range(0, len(self.whole), size)
        return [Memory(*(part[start : start + size] for part in self)) for start in starts]


class Network(NamedTuple):
    """Weights of the layers, inputs first, in one precision."""

    first: np.ndarray  # (2 W + F, hidden) what reads the item's kind, all kinds, and the item's own features
    first_bias: np.ndarray  # (hidden,)
    second: np.ndarray  # (hidden, hidden)
    second_bias: np.ndarray  # (hidden,)
    head: np.ndarray  # (hidden, R)
    head_bias: np.ndarray  # (R,)


class Model(NamedTuple):
    """A fitted response model, laid out for stepping."""

    network: Network  # float32
    exact: Network  # float64
    left: np.ndarray  # (1 + T, W) float32, what so many steps leave of a trace
    marks: np.ndarray  # (R, 1 + V, 2 W) float32, what a response adds, for each value of the item
    surprises: np.ndarray  # (SURPRISES, 2 W) float32, what a surprise adds


class Items(NamedTuple):
    """What stepping needs of ``I`` items."""

    kinds: np.ndarray  # (I,) int64
    values: np.ndarray  # (I, 1 + V) float32, the first is 1
    features: np.ndarray  # (I, F) float32


class SessionState(NamedTuple):
    """``B`` users in the middle of their sessions."""

    seed: np.ndarray  # (B,) int64
    episode: np.ndarray  # (B,) int64, sessions played before under this seed
    step: np.ndarray  # (B,) int64, items shown so far
    user: np.ndarray  # (B,) int64, index into the simulator's pool
    shown: np.ndarray  # (B, T) int32, candidates shown in this session; only the first `step` of them count
    histories: np.ndarray  # (B, 3, N) int64 browsed, clicked, ordered: catalogue index plus one, most recent last
    recalled: np.ndarray  # (B, Q) int32, candidates of the user's own, in rising order; (B, 0): all are everyone's
    responses: np.ndarray  # (B, R) int64, how often each response was given in this session
    memory: Memory  # what the response model keeps of the user

    def take(self, users: np.ndarray) -> SessionState:
        """A copy of the state of ``users`` (b,)."""
        return SessionState(*(part[users] for part in self[:-1]), self.memory.take(users))

    def put(self, users: np.ndarray, state: SessionState) -> None:
        """Write the ``state`` of ``users`` (b,) in its place."""
        for part, own in zip((*state[:-1], *state.memory), (*self[:-1], *self.memory), strict=True):
            own[users] = part
