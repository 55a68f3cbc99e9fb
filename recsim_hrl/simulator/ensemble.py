"""Several simulators of one market behind one core: each session is played by one of them.

A policy that earns its reward from the mistakes of one simulator finds other mistakes in the next one. Which member
plays a session is drawn from the session's own key, so it is the same alone and among thousands, and needs no place in
the state of the users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from recsim_hrl import random
from recsim_hrl.simulator.core import SessionConfig, SessionCore
from recsim_hrl.simulator.folder import SimulatorData
from recsim_hrl.simulator.kernels import MEMBER_STREAM
from recsim_hrl.simulator.tables import SessionState
from recsim_hrl.types import Catalogue


class EnsembleCore(SessionCore):
    """A core whose users are dispatched, in blocks, to the cores of its members.

    Items are found and observed by the tables of the first member, as all members share them. What depends on a
    model or on a pool of users is the member's own.

    Args:
        members: Cores of one catalogue, one configuration and models and pools of one size.
    """

    def __init__(self, members: tuple[SessionCore, ...]) -> None:
        vars(self).update(vars(members[0]))
        self.members = members
        self.simulators = tuple(member.data for member in members)

    @staticmethod
    def of(simulators: Sequence[SimulatorData], config: SessionConfig, threads: int | None = None) -> EnsembleCore:
        """The ensemble of ``simulators``; the candidates are those of the first.

        Raises:
            ValueError: if there is none, or if they differ in catalogue, size of the model or of the pool of users.
        """
        if not simulators:
            raise ValueError("simulators: got none, allowed one or more; pass names or folders of simulators")
        first = simulators[0]
        for place, other in enumerate(simulators[1:], start=1):
            _check_alike(first, other, place)
        alike = [replace(one, catalogue=first.catalogue, recall_order=first.recall_order) for one in simulators]
        return EnsembleCore(tuple(SessionCore(one, config, threads) for one in alike))

    def __reduce__(self) -> tuple:
        return EnsembleCore, (self.members,)

    def with_items(self, more: Catalogue) -> EnsembleCore:
        """See :meth:`SessionCore.with_items`."""
        return EnsembleCore(tuple(member.with_items(more) for member in self.members))

    def without_items(self, candidates: np.ndarray) -> EnsembleCore:
        """See :meth:`SessionCore.without_items`."""
        return EnsembleCore(tuple(member.without_items(candidates) for member in self.members))

    def drawn(self, seeds: np.ndarray, episodes: np.ndarray) -> np.ndarray:
        """(B,) int64, the member that plays session ``episodes`` (B,) of ``seeds`` (B,)."""
        return random.integers(random.mix(random.mix(seeds, MEMBER_STREAM), episodes), len(self.members))

    def whose(self, state: SessionState) -> dict[str, np.ndarray]:
        """See :meth:`SessionCore.whose`; ``simulator_index`` is the place of the member that plays the session."""
        return super().whose(state) | {"simulator_index": self.drawn(state.seed, state.episode)}

    def begin(
        self,
        state: SessionState,
        rows: np.ndarray,
        seeds: np.ndarray,
        episodes: np.ndarray,
        users: np.ndarray | None = None,
    ) -> None:
        """See :meth:`SessionCore.begin`; a user is drawn from the pool of the session's member."""
        for member, of_rows in self._blocks(seeds, episodes):
            given = None if users is None else users[of_rows]
            member.begin(state, rows[of_rows], seeds[of_rows], episodes[of_rows], given)

    def play(
        self, state: SessionState, chosen: np.ndarray, responses: np.ndarray, probs: np.ndarray, moves: bool
    ) -> None:
        for member, rows in self._blocks(state.seed, state.episode):
            if len(rows) == len(chosen):  # as for a single user; nothing needs to be moved
                member.play(state, chosen, responses, probs, moves)
                continue
            block, answers, asked = state.take(rows), responses[rows], probs[rows] if len(probs) else probs
            member.play(block, chosen[rows], answers, asked, moves)
            responses[rows] = answers
            if len(probs):
                probs[rows] = asked
            if moves:
                state.put(rows, block)

    def _blocks(self, seeds: np.ndarray, episodes: np.ndarray) -> list[tuple[SessionCore, np.ndarray]]:
        """Members that play sessions, each with their places (b,) among ``seeds`` (B,)."""
        drawn = self.drawn(seeds, episodes)  # (B,)
        blocks = ((member, np.flatnonzero(drawn == place)) for place, member in enumerate(self.members))
        return [(member, rows) for member, rows in blocks if len(rows)]


def core_of(
    data: SimulatorData | Sequence[SimulatorData], config: SessionConfig, threads: int | None = None
) -> SessionCore:
    """The core of a simulator, or of the ensemble of several."""
    kind = SessionCore if isinstance(data, SimulatorData) else EnsembleCore.of
    return kind(data, config, threads)


def _check_alike(first: SimulatorData, other: SimulatorData, place: int) -> None:
    """Refuse a simulator ``other`` that cannot play beside the ``first``."""
    ours, theirs = first.catalogue, other.catalogue
    same_items = np.array_equal(ours.item_ids, theirs.item_ids) and np.array_equal(ours.embeddings, theirs.embeddings)
    if not same_items:
        raise ValueError(
            f"simulators[{place}]: got {len(theirs)} items that are not the {len(ours)} of simulators[0], allowed the "
            "same items with the same embeddings; fit all of them to logs of one catalogue"
        )
    sizes = {
        "shape of the response model": (first.weights.config, other.weights.config),
        "number of users": (len(first.visits), len(other.visits)),
    }
    for name, (ours, theirs) in sizes.items():
        if ours != theirs:
            raise ValueError(
                f"simulators[{place}]: got {name} {theirs}, allowed that of simulators[0], {ours}; fit all of them "
                "with the same kinds, hidden and pool"
            )
