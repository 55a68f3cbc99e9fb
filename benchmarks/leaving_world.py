"""What is known of leaving where the world is known: true hazards, the best that could be foretold, and visits in which
nobody leaves."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsim_hrl.data.behaviour import BehaviourConfig, Tactic
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.world import World
from recsim_hrl.data.world_log import MEAN_LENGTH, VISITS_PER_USER, leave_chance, patience_of, simulate_visits
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.validity.evaluate import world_of

_NODES = 32
"""Levels of patience that the best prediction sums over."""
_HARDLY_EVER = 1e-12


@dataclass(frozen=True)
class Market:
    """The world behind a log, and how the log was written."""

    world: World
    behaviour: BehaviourConfig
    seed: int
    users: int
    """Whom visits are drawn from."""

    @staticmethod
    def of(log: InteractionLog, impressions: int) -> "Market":
        """The market of a ``log`` that ``recsim-hrl generate --impressions`` made, whole or a part of it.

        Raises:
            ValueError: if the log tells of no world.
        """
        world = world_of(log.metadata, log.items, str(log.path))
        if world is None:
            raise ValueError(f"{log.path}: got a log of real users, allowed one that `recsim-hrl generate` made")
        about = log.metadata["behaviour"]
        tactics = tuple(Tactic(**tactic) for tactic in about["tactics"])
        users = max(1, round(impressions / MEAN_LENGTH / VISITS_PER_USER))
        return Market(world, BehaviourConfig(**about | {"tactics": tactics}), log.metadata["seed"], users)

    def lengths(self, visits: np.ndarray, behaviour: BehaviourConfig) -> np.ndarray:
        """(S,) how long the ``visits`` (S,) by their numbers are under ``behaviour``."""
        found = simulate_visits(self.world, behaviour, torch.from_numpy(visits), self.users, self.seed)
        return torch.bincount(torch.searchsorted(torch.from_numpy(visits), found.session)).numpy()

    def endless(self, visits: np.ndarray, behaviour: BehaviourConfig, log: Sequences, places: np.ndarray) -> Sequences:
        """The ``visits`` (S,), which are the sessions at ``places`` (S,) of ``log``, had nobody left; behind the log's.

        Up to where the user left they are what the log holds, if ``behaviour`` is the log's: draws are the same.

        Raises:
            ValueError: if the log was made for another number of users.
        """
        stays = dataclasses.replace(behaviour, leave_rate=_HARDLY_EVER)
        found = simulate_visits(self.world, stays, torch.from_numpy(visits), self.users, self.seed)
        lengths = torch.bincount(torch.searchsorted(torch.from_numpy(visits), found.session)).numpy()
        if (found.user[np.cumsum(lengths) - 1].numpy() != log.user_ids[places]).any():
            raise ValueError(
                f"users: got {self.users}, of whom other ones make these visits than in the log; pass what "
                "`recsim-hrl generate --impressions` was asked for"
            )
        return Sequences(
            np.concatenate([log.items, found.item.numpy().astype(np.int32)]),
            np.concatenate([log.responses, found.response.numpy().astype(np.int8)]),
            np.concatenate([log.offsets, log.offsets[-1] + np.cumsum(lengths)]),
            np.concatenate([log.user_ids, log.user_ids[places]]),
            np.concatenate([log.previous, log.previous[places]]),
        )

    def hazards(self, log: Sequences, places: np.ndarray, visits: np.ndarray) -> "TrueHazards":
        """What is true of leaving in the sessions at ``places`` (S,) of ``log``, whose numbers are ``visits`` (S,)."""
        lengths = log.lengths[places]
        order = np.argsort(-lengths, kind="stable")
        first, source = (np.cumsum(lengths) - lengths)[order], log.offsets[places][order]
        alive = np.searchsorted(-lengths[order], -np.arange(lengths.max()))  # (T,) longer than so many
        state = self.world.initial(self.world.users(torch.from_numpy(log.user_ids[places][order])))
        patience = patience_of(self.behaviour, torch.from_numpy(visits[order]), self.seed)  # (S,)
        nodes, belief = _patience_levels(self.behaviour, len(places))  # (J,), (S, J)
        shift, known, foretold = (np.empty(int(lengths.sum())) for _ in range(3))
        for step, size in enumerate(alive.tolist()):
            state, belief, rows = state.take(torch.arange(size)), belief[:size], source[:size] + step
            items, responses = (torch.from_numpy(part[rows].astype(np.int64)) for part in (log.items, log.responses))
            state = self.world.update(state, items, responses)
            levels = leave_chance(self.behaviour, nodes, state.trust_shift.double().unsqueeze(1)).clamp_max(1.0)
            place = first[:size] + step
            shift[place] = state.trust_shift
            known[place] = leave_chance(self.behaviour, patience[:size], state.trust_shift).clamp_max(1.0)
            foretold[place] = (belief * levels).sum(1)
            belief = belief * (1.0 - levels)  # of those who stayed
            belief = belief / belief.sum(1, keepdim=True)
        return TrueHazards(shift, known, foretold)


@dataclass(frozen=True)
class TrueHazards:
    """Of impressions of whole sessions, one session after the other."""

    trust_shift: np.ndarray  # (n,) how far trust has moved in the visit
    known: np.ndarray  # (n,) the hazard, of which patience is hidden
    foretold: np.ndarray  # (n,) its mean over the patience of those who stayed so long: the best prediction there is


def _patience_levels(config: BehaviourConfig, size: int) -> tuple[Tensor, Tensor]:
    """(J,) levels of patience, and (size, J) how likely each is of a user who has seen nothing."""
    normal, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    likely = torch.from_numpy(weights / weights.sum()).expand(size, -1)
    return torch.exp(config.patience_spread * torch.from_numpy(normal)), likely
