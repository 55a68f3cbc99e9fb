"""DEERS: a deep Q-network that reads what a user skipped beside what the user liked, and compares the two in pairs.

Zhao et al., "Recommendations with Negative Feedback via Pairwise Deep Reinforcement Learning", KDD 2018. The state is
s = (s+, s-), the latest items that were clicked or ordered and the latest that were skipped. Q(s+, s-, a) keeps the two
apart in its lower layers. It learns y = r + gamma max Q(s'+, s'-, a'), and to tell an item from its *competitor*: an
item of the same category, shown shortly before, that the user answered the other way.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl_agents.actor_critic import Paced, SlowCopies, adam, descend
from recsim_hrl_agents.base import Agent, Array, Observations, Transitions, as_asked
from recsim_hrl_agents.buffers import ReplayBuffer
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.networks import Histories, ItemTable, soft_update

SIDES = ("positive", "negative")
"""Names of s+ and s-, the windows of a state."""

COMPETITOR = "competitor"
"""Name under which the competitor of the item shown is kept with the state, as its catalogue index + 1."""

USERS_PER_BLOCK = 4
"""Users whose candidates are valued at once: more, and the layers (users, C, width) fall out of the cache."""


@dataclass(frozen=True)
class DEERSConfig:
    """Settings of DEERS."""

    alpha: float = 0.1
    """Weight of the pairwise term, 0 to below 1; 0 leaves a deep Q-network. See the page for what is safe."""
    hidden: int = 32
    """Width of the two GRUs."""
    width: int = 64
    """Width of the two layers that join each side of the state with the item."""
    joined: int = 32
    """Width of the layer in which the sides meet."""
    gamma: float = 0.95
    """Discount of one step."""
    n_step: int = 1
    """Steps of reward in a target; 1 is the paper's. Longer ones see further and are slightly off-policy."""
    double: bool = False
    """Whether the learned network picks the item whose value the target network gives (double DQN)."""
    tau: float = 0.01
    """Share of the network that the target network takes over at each update."""
    learning_rate: float = 1e-3
    """Adam step size."""
    batch_size: int = 128
    """Transitions per gradient update."""
    buffer_size: int = 100_000
    """Transitions kept for replay."""
    warmup_steps: int = 2_000
    """Environment steps of uniformly random items before learning starts."""
    steps_per_update: int = 64
    """Environment steps per gradient update: with 64 parallel users one update follows each step of them all."""
    epsilon: float = 1.0
    """Share of exploring steps that show a uniformly random item, at first."""
    final_epsilon: float = 0.05
    """What ``epsilon`` falls to, linearly over ``epsilon_steps``."""
    epsilon_steps: int = 20_000
    """Environment steps, from the end of the warm-up on, over which it falls."""
    max_gradient_norm: float = 10.0
    """The gradient is clipped to this norm."""

    def __post_init__(self) -> None:
        for name in ("hidden", "width", "joined", "n_step", "batch_size", "buffer_size", "steps_per_update"):
            if getattr(self, name) < 1:
                raise ValueError(f"DEERSConfig {name}: got {getattr(self, name)}, allowed 1 or more; raise it")
        for name in ("learning_rate", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"DEERSConfig {name}: got {getattr(self, name)}, allowed numbers above 0; raise it")
        for name in ("gamma", "tau", "epsilon", "final_epsilon"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"DEERSConfig {name}: got {getattr(self, name)}, allowed 0 to 1; it is a share")
        for name in ("warmup_steps", "epsilon_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"DEERSConfig {name}: got {getattr(self, name)}, allowed 0 or more; raise it")
        if not 0 <= self.alpha < 1:
            raise ValueError(
                f"DEERSConfig alpha: got {self.alpha}, allowed 0 to below 1: from there on the pairwise term outweighs "
                "the error and the loss has no minimum; pass e.g. alpha=0.1"
            )


class QNetwork(nn.Module):
    """Q(s+, s-, a): a GRU and a layer for each side of the state, joined above.

    h = relu(w_h GRU(s) + w_a a + b) for each side, q = w_q relu(w_+ h_+ + w_- h_- + b) + b.
    """

    def __init__(self, embedding_dim: int, config: DEERSConfig) -> None:
        super().__init__()
        hidden, width, joined = config.hidden, config.width, config.joined
        self.readers = nn.ModuleDict({side: nn.GRU(embedding_dim, hidden, batch_first=True) for side in SIDES})
        self.from_state = nn.ModuleDict({side: nn.Linear(hidden, width) for side in SIDES})
        self.from_action = nn.ModuleDict({side: nn.Linear(embedding_dim, width, bias=False) for side in SIDES})
        self.join = nn.ModuleDict({side: nn.Linear(width, joined, bias=side == SIDES[0]) for side in SIDES})
        self.head = nn.Linear(joined, 1)

    def read(self, state: Histories) -> list[Tensor]:
        """What each side of the state, windows (B, N, D), adds to its layer: (B, width) each."""
        return [self.from_state[side](self.readers[side](state[side])[1][0]) for side in SIDES]

    def encode(self, actions: Tensor) -> list[Tensor]:
        """What the items (..., D) add to the layer of each side: (..., width) each."""
        return [self.from_action[side](actions) for side in SIDES]

    def value(self, reads: list[Tensor], actions: list[Tensor]) -> Tensor:
        """q (...) of encoded items (..., width) in states whose ``reads`` (..., width) broadcast against them."""
        sides = [(read + action).relu_() for read, action in zip(reads, actions, strict=True)]  # each (..., width)
        joined = self.join[SIDES[0]](sides[0])  # (..., joined)
        joined += self.join[SIDES[1]](sides[1])
        return self.head(joined.relu_()).squeeze(-1)

    @torch.no_grad()
    def values(self, state: Histories, candidates: Tensor) -> Tensor:
        """q (B, C) of all ``candidates`` (C, D) in states of windows (B, N, D)."""
        blocks = zip(*(read.unsqueeze(1).split(USERS_PER_BLOCK) for read in self.read(state)), strict=True)
        items = self.encode(candidates)
        return torch.cat([self.value(list(reads), items) for reads in blocks])


def clicked_places(browsed: Tensor, clicked: Tensor) -> Tensor:
    """(B, N) bool, which of the ``browsed`` items (B, N) were clicked; both windows hold ids, latest last.

    Each click is found again among what was browsed, from the latest back. That an id is in ``clicked`` would not be
    enough: this window reaches further back, and what was clicked in a visit before may be skipped in this one.
    """
    place = torch.full_like(browsed[:, :1], browsed.shape[1] - 1)  # (B, 1) of the latest click not found yet
    found = []
    for item in browsed.flip(1).split(1, dim=1):  # each (B, 1)
        found.append(clicked.gather(1, place) == item)
        place = place - found[-1].long()
    return torch.cat(found[::-1], 1)


def competitors(browsed: Tensor, were_clicked: Tensor, items: Tensor, is_clicked: Tensor, categories: Tensor) -> Tensor:
    """The latest item before the one shown that is of its category and was answered the other way.

    Args:
        browsed: (B, N) catalogue index + 1 of the items shown before, latest last; 0: none.
        were_clicked: (B, N) bool, which of them were clicked or ordered.
        items: (B,) catalogue index of the item shown.
        is_clicked: (B,) bool, whether it was clicked or ordered.
        categories: (I + 1,) category of every catalogue index + 1.

    Returns:
        (B,) catalogue index + 1; 0: none.
    """
    shown = items[:, None] + 1  # (B, 1)
    competes = (browsed > 0) & (browsed != shown)  # (B, N) in a session before, the item itself may have been shown
    competes &= (were_clicked != is_clicked[:, None]) & (categories[browsed] == categories[shown])
    lateness = competes * torch.arange(1, browsed.shape[1] + 1, device=browsed.device)  # (B, N)
    most, place = lateness.max(1, keepdim=True)  # (B, 1) each
    return (browsed.gather(1, place) * (most > 0)).squeeze(1)


def pairwise_loss(q: Tensor, target: Tensor, other_q: Tensor, has_other: Tensor, alpha: float) -> Tensor:
    """Mean of (y - Q(s, a))^2 - alpha (Q(s, a) - Q(s, a_E))^2, without its second term where there is no a_E.

    Args:
        q: (S,) of the items shown.
        target: (S,) y.
        other_q: (S,) of their competitors, in the same states.
        has_other: (S,) bool, whether there is one.
        alpha: Weight of the second term.
    """
    return ((q - target).square() - alpha * has_other * (q - other_q).square()).mean()


def best_unshown(values: Tensor, shown: Tensor) -> Tensor:
    """(B, 1) the candidate of highest value (B, C) among those not ``shown`` (B, C), or among all, if all were."""
    return values.masked_fill(shown & ~shown.all(-1, keepdim=True), -torch.inf).argmax(-1, keepdim=True)


class DEERS(Paced, SlowCopies, Agent):
    """Deep Q-network over positive and negative feedback; see the module."""

    name = "deers"
    config_class = DEERSConfig
    learns_from = "environment"
    takes_tensors = True

    def __init__(
        self, market: Market, config: DEERSConfig | None = None, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(market, config or DEERSConfig(), seed)
        config, self.device = self.config, torch.device(device)
        self._draws = torch.Generator(self.device).manual_seed(seed)
        self.items = ItemTable(market.item_embeddings, market.observation).to(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = QNetwork(market.embedding_dim, config).to(self.device)
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self._optimizer = adam(self.network, config.learning_rate)
        self._buffer = ReplayBuffer(config.buffer_size, SIDES, self.device, before=(COMPETITOR,))
        self.candidates = torch.from_numpy(market.candidate_embeddings).to(self.device)  # (C, D)
        self._places = self._places_of_candidates().to(self.device)  # (I + 1,)
        self._categories = self._categories_of_items().to(self.device)  # (I + 1,)
        self._shown = torch.zeros((0, len(self.candidates)), dtype=torch.bool, device=self.device)  # (B, C)
        self._length = np.zeros(0, np.int64)  # (B,) items shown in the running sessions
        self._longest = 0
        self._steps = 0
        self._steps_without_update = 0

    def _places_of_candidates(self) -> Tensor:
        """(I + 1,) index into the candidates of every catalogue index + 1; C for what is none."""
        market = self.market
        places = torch.full((len(market.item_embeddings) + 1,), len(market.candidates))
        places[torch.from_numpy(market.candidates + 1)] = torch.arange(len(market.candidates))
        return places

    def _categories_of_items(self) -> Tensor:
        """(I + 1,) category of every catalogue index + 1; all are of one, if the environment tells none."""
        categories = torch.zeros(len(self.market.item_embeddings) + 1, dtype=torch.long)
        if self.market.categories is not None:
            categories[1:] = torch.from_numpy(self.market.categories)
        return categories

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`Agent.begin`; no return runs into another session, and its items can be shown again."""
        self._buffer.cut(starting)
        if len(starting) != len(self._length):
            self._length = np.zeros(len(starting), np.int64)
            self._shown = torch.zeros((len(starting), len(self.candidates)), dtype=torch.bool, device=self.device)
        self._length[starting] = 0
        self._shown &= ~torch.as_tensor(starting, device=self.device)[:, None]

    @torch.no_grad()
    def act(self, observations: Observations, *, explore: bool = False) -> Array:
        """See :meth:`Agent.act`; exploring shows a random item with probability epsilon. No item comes twice."""
        state = self._state(observations)
        self._fit_batch(len(state["browsed"]))
        values = self.network.values(self._windows(state), self.candidates)  # (B, C)
        if explore:
            values = self._try_out(values)
        choice = best_unshown(values, self._shown)  # (B, 1)
        self._shown.scatter_(1, choice, True)
        choice = choice.squeeze(1)  # (B,)
        return as_asked(choice if self.market.action == "item" else self.candidates[choice], observations)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The learned network's values."""
        reads = self.network.read(self._windows(self._state(observations)))  # each (B, width)
        encoded = self.network.encode(self.items.items(items))  # each (B, n, width)
        return self.network.value([read.unsqueeze(1) for read in reads], encoded)  # (B, n)

    def _fit_batch(self, size: int) -> None:
        """Start afresh if nobody said how many sessions there are: ``act`` was called without ``begin``."""
        if len(self._length) == 0:
            self.begin(np.ones(size, bool))
        if len(self._length) != size:
            raise ValueError(
                f"observations: got {size} users, allowed {len(self._length)} as in the last begin(); "
                "call begin(starting) with one entry per user when sessions start"
            )

    def _try_out(self, values: Tensor) -> Tensor:
        """``values`` (B, C), or random numbers in their place for a share epsilon of the users."""
        where = {"generator": self._draws, "device": self.device}
        explores = torch.rand((len(values), 1), **where) < self.epsilon  # (B, 1)
        return torch.where(explores, torch.rand(values.shape, **where), values)  # (B, C)

    @property
    def epsilon(self) -> float:
        """Share of random items among those that are shown now to explore."""
        config, learning = self.config, self._steps - self.config.warmup_steps
        if learning < 0:
            return 1.0
        fallen = min(1.0, learning / config.epsilon_steps) if config.epsilon_steps else 1.0
        return config.epsilon + fallen * (config.final_epsilon - config.epsilon)

    def _state(self, observations: Observations) -> dict[str, Tensor]:
        """Catalogue index + 1 (B, N) of what was browsed, of s+ and of s-, each from the latest item back; and which
        of the browsed were clicked."""
        browsed, clicked = (
            self.items.ids(torch.as_tensor(observations[key], device=self.device)) for key in ("browsed", "clicked")
        )  # (B, N) each
        were_clicked = clicked_places(browsed, clicked)  # (B, N)
        skipped = (browsed > 0) & ~were_clicked  # (B, N)
        order = skipped.long().argsort(dim=1, stable=True)  # (B, N) they come last, in their order
        negative = (browsed * skipped).gather(1, order)  # (B, N)
        return {"browsed": browsed, "were_clicked": were_clicked, "positive": clicked, "negative": negative}

    def _windows(self, state: dict[str, Tensor]) -> Histories:
        """Embeddings (B, N, D) of s+ and s-."""
        return {side: self.items.table[state[side].long()] for side in SIDES}

    def update(self, transitions: Transitions) -> dict[str, Tensor]:
        """Store one step and make the gradient updates that are due; metrics are those of the last one."""
        size = len(transitions.rewards)
        self._fit_batch(size)
        self._length += 1
        self._longest = max(self._longest, int(self._length.max()))
        self._store(transitions)
        return self._learn_when_due(size)

    def _store(self, transitions: Transitions) -> None:
        """Keep states in place of histories, and the competitor of the item shown."""
        before, after = self._state(transitions.observations), self._state(transitions.next_observations)
        items = torch.as_tensor(transitions.items, device=self.device)  # (B,)
        # Rewards may be set to anything; a click changes the window.
        is_clicked = (after["positive"] != before["positive"]).any(1)  # (B,)
        found = competitors(before["browsed"], before["were_clicked"], items, is_clicked, self._categories)  # (B,)
        kept = {side: before[side] for side in SIDES} | {COMPETITOR: found}
        self._buffer.add(replace(transitions, items=items, observations=kept, next_observations=after))

    def _learn(self) -> dict[str, Tensor]:
        config = self.config
        look_back = min(self._longest, len(self.candidates))
        batch = self._buffer.sample(config.batch_size, self._draws, config.n_step, config.gamma, look_back)
        target = self._target(self._windows(batch.next_observations), batch.returns, batch.discounts, batch.shown)
        reads = self.network.read(self._windows(batch.observations))  # each (S, width)
        competitor = batch.observations[COMPETITOR].long()  # (S,)
        pair = self.network.encode(self.items.table[torch.stack([batch.items + 1, competitor])])  # each (2, S, width)
        q, other_q = self.network.value(reads, pair)  # (S,) each
        has_other = competitor > 0  # (S,)
        loss = pairwise_loss(q, target, other_q, has_other, config.alpha)
        descend(self._optimizer, self.network, loss, config.max_gradient_norm)
        soft_update(self.target, self.network, config.tau)
        q, gap = q.detach(), (q - other_q).detach().abs() * has_other  # (S,) each
        return {
            "loss": loss.detach(),
            "squared_error": (q - target).square().mean(),
            "q": q.mean(),
            "target": target.mean(),
            "competitors": has_other.float().mean(),
            "gap": gap.sum() / has_other.sum().clamp_min(1),
        }

    @torch.no_grad()
    def _target(self, state: Histories, returns: Tensor, discounts: Tensor, shown: Tensor) -> Tensor:
        """y = r + gamma max Q'(s', a') over what the session has not ``shown`` (L, S); no value where the user left."""
        values = self.target.values(state, self.candidates)  # (S, C)
        judged = self.network.values(state, self.candidates) if self.config.double else values  # (S, C)
        spent = torch.zeros((len(values), values.shape[1] + 1), dtype=torch.bool, device=self.device)  # (S, C + 1)
        spent.scatter_(1, self._places[shown + 1].T, True)
        choice = best_unshown(judged, spent[:, :-1])  # (S, 1)
        return returns + discounts * values.gather(1, choice).squeeze(1)
