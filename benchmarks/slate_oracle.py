"""Reference policies of RecSlate, which look inside the simulator: what agents are held against.

A user reads a slate from the first slot to the last, and each answer changes what the user does below. An oracle fills
the slots in the same order, each with the item that is best for the user as that slot will find him: in the *expected*
state, the mean of the states after a skip, a click and an order of the item above, weighed by their probabilities. A
user's memory is a sum over the answers, so the mean after one item is exact; what the response model makes of a mean,
and so everything further down, is an approximation, without which every slot would have three times as many states as
the one above. Whether the user still looks weighs all items for a slot alike, so it decides nothing.

Greedy slots are not the best slate: an item may pay by what it does for those below it. The planner, whose weights are
tuned on whole sessions with the leave rule, is there for that. The tests hold both facts against all slates of a small
market.
"""

import torch
from gymnasium.vector import VectorEnv
from recsim_hrl_agents.base import Observations
from torch import Tensor

from recsim_hrl.simulator.market import Policy, SimulatorMarket, Users, View
from recsim_hrl.simulator.policies import ItemOrder, item_order
from recsim_hrl.simulator.slate_core import SlateCore, SlateState
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.tables import Memory
from recsim_hrl.types import R

USERS_OF_AN_ORDER = 64
"""Pool users whose mean answers rank the items for the planner."""


def slate_market(core: SlateCore) -> SimulatorMarket:
    """The learned users behind a task of slates."""
    return SimulatorMarket(Simulator.of(core.data), core.config.session_length)


def order_of(market: SimulatorMarket, users: int) -> ItemOrder:
    """How the average of the first of a pool of ``users`` takes to each item, at the start of a session."""
    return item_order(market, torch.arange(min(users, USERS_OF_AN_ORDER)))


def expected_users(market: SimulatorMarket, users: Users, items: Tensor, probs: Tensor) -> Users:
    """The mean of users after their answers to one item each.

    Args:
        market: Of the users.
        users: Before; they stay as they are.
        items: (B,) catalogue indices.
        probs: (B, R) of the answers.
    """
    means: list = [0.0, 0.0]
    for response in range(R):
        copies = Memory(*(part.copy() for part in users.memory))
        after = market.update(Users(copies, users.step), items, torch.full((len(items),), response))
        weight = probs[:, response].numpy()  # (B,)
        means[0] = means[0] + weight[:, None] * after.memory.whole
        means[1] = means[1] + weight[:, None, None] * after.memory.kinds
    return Users(Memory(*means, after.memory.written), after.step)


class SlateOracle:
    """A policy for single items that answers requests with slates; evaluation takes it for an agent.

    Args:
        env: RecSlate-v0, as a vector environment with action="items"; the oracle looks inside.
        market: Of :func:`slate_market`; the policy's own model.
        policy: Scores items for the slots, one after the other.
        every: Looks at every so-manieth item on offer alone; the search for a planner's weights can do with fewer.
    """

    def __init__(self, env: VectorEnv, market: SimulatorMarket, policy: Policy, every: int = 1) -> None:
        self._env, self._market, self._policy, self._every = env.unwrapped, market, policy, every
        self._running = torch.ones(env.num_envs, dtype=torch.bool)

    def begin(self, starting, seeds=None) -> None:
        """Told that sessions begin; only the first of each seed is judged, so the others are not worth the time."""
        if seeds is None:
            self._running[torch.from_numpy(starting)] = False
        else:
            self._running[:] = True

    def act(self, observations: Observations, *, explore: bool = False):
        """(B, K) places in the stock."""
        core, state = self._env.core, self._env._batch.state  # what no agent may look at
        rows = self._running.nonzero()[:, 0]  # (b,)
        slates = torch.zeros(len(self._running), core.config.slate_size, dtype=torch.int64)
        slates[rows] = self._fill(core, state, rows)
        return slates.numpy()

    def _fill(self, core: SlateCore, state: SlateState, rows: Tensor) -> Tensor:
        """(b, K) places in the stock, slot by slot, for the users at ``rows`` (b,)."""
        # All users are in the first session of their seeds, which has one catalogue.
        first, size = int(core.first_on_offer(state.session.episode)[rows[0]]), len(core.candidates)
        places = (first + torch.arange(0, core.offered, self._every)) % size  # (C,)
        view = self._view(core, state, rows, places)
        slate = []
        for _ in range(core.config.slate_size):
            best = self._policy.score(view).masked_fill(view.shown, -torch.inf).argmax(1)  # (b,)
            item = view.candidates[best]
            probs = self._market.probs(view.tracked, item.unsqueeze(1))[:, 0]  # (b, R)
            view.tracked = expected_users(self._market, view.tracked, item, probs)
            category = self._market.catalogue.categories[item]
            view.run = torch.where(category == view.last_category, view.run + 1, 1)
            view.last_category = category
            view.shown[torch.arange(len(rows)), best] = True
            slate.append(places[best])
        return torch.stack(slate, 1)

    def _view(self, core: SlateCore, state: SlateState, rows: Tensor, places: Tensor) -> View:
        """What a policy sees before the first slot."""
        users, index = rows.numpy(), places.numpy()
        nothing = torch.zeros(len(rows), dtype=torch.int64)
        is_open = torch.from_numpy(core.is_open(state)[users][:, index])  # (b, C)
        last, run = self._runs(core, state, users)
        return View(
            self._market.catalogue,
            candidates=torch.from_numpy(core.candidates[index]),
            shown=~is_open,
            step=0,  # this and the next three are for policies that draw, or follow clicks
            session_key=nothing,
            key=nothing,
            clicks=nothing.unsqueeze(1),
            last_category=last,
            run=run,
            tracked=Users(state.session.memory.take(users), state.session.step[users]),
        )

    def _runs(self, core: SlateCore, state: SlateState, users) -> tuple[Tensor, Tensor]:
        """(b,) category of the last item seen, -1 at the start, and (b,) how many in a row were of it."""
        last = torch.full((len(users),), -1)
        run = torch.zeros(len(users), dtype=torch.int64)
        categories = self._market.catalogue.categories[torch.from_numpy(core.candidates)]  # (P,)
        for row, user in enumerate(users):
            seen = categories[torch.from_numpy(state.session.shown[user, : state.session.step[user]]).long()]
            if len(seen):
                last[row] = seen[-1]
                changes = (seen != seen[-1]).nonzero()
                run[row] = len(seen) - (int(changes[-1]) + 1 if len(changes) else 0)
        return last, run
