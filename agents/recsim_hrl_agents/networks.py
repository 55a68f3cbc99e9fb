"""The networks of the paper's two levels: a state encoder over two histories, an actor and a critic (MaHRL 2.2, 2.3).

Both levels have the same form and differ in the histories they read: browsed and clicked below, clicked and ordered
above.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

Histories = dict[str, Tensor]


class ItemTable(nn.Module):
    """Turns observations into embedding windows, looking item ids up."""

    def __init__(self, embeddings: np.ndarray, observation: Literal["embeddings", "item_ids"]) -> None:
        super().__init__()
        self._observation = observation
        table = np.concatenate([np.zeros_like(embeddings[:1]), embeddings])  # (I + 1, D), row 0 is the empty place
        self.register_buffer("with_presence", _with_presence(torch.from_numpy(table)), persistent=False)
        if not self.reads_ids:
            self._sort_by_projection()

    @property
    def table(self) -> Tensor:
        """(I + 1, D) the embeddings, row 0 for the empty place."""
        return self.with_presence[:, :-1]

    @property
    def reads_ids(self) -> bool:
        """Whether observations hold item ids."""
        return self._observation == "item_ids"

    def _sort_by_projection(self) -> None:
        """Lay the items along one line, in double precision: there an embedding is found by bisection."""
        line = torch.randn(self.table.shape[1], generator=torch.Generator().manual_seed(0), dtype=torch.double)  # (D,)
        places, order = (self.table.double() * line).sum(-1).sort()  # (I + 1,) each
        for name, value in (("_line", line), ("_places", places), ("_order", order)):
            self.register_buffer(name, value, persistent=False)

    def ids(self, windows: Tensor) -> Tensor:
        """Catalogue indices + 1 (B, N) of windows of embeddings (B, N, D), 0 for empty places; of ids, themselves.

        Of items with equal embeddings one stands for all.
        """
        if self.reads_ids:
            return windows.long()
        place = (windows.double() * self._line).sum(-1)  # (B, N)
        above = torch.searchsorted(self._places, place).clamp(1, len(self._places) - 1)  # (B, N)
        nearer_below = place - self._places[above - 1] < self._places[above] - place  # (B, N) rounding moves a place
        return self._order[above - nearer_below.long()]

    def items(self, index: np.ndarray | Tensor) -> Tensor:
        """(B, D) embeddings of catalogue indices (B,)."""
        return self.table[torch.as_tensor(index + 1, device=self.table.device)]

    def forward(self, observations: dict[str, np.ndarray] | Histories, keys: tuple[str, ...]) -> Histories:
        """Windows (B, N, D) of ``keys``; what is no window of item ids stays what it is, as float32."""
        windows = {}
        for key in keys:
            values = torch.as_tensor(observations[key], device=self.table.device)
            windows[key] = values.float() if values.is_floating_point() else self.table[values.long()]
        return windows


class DecayedMeans(nn.Module):
    """Histories as means that weigh an item half as much every so many places back: no weights to learn.

    Args:
        keys: Histories to read.
        embedding_dim: Width D of an item embedding.
        history: Length N of a window.
        half_lives: One mean of each history for each of these, in places.
    """

    def __init__(self, keys: tuple[str, ...], embedding_dim: int, history: int, half_lives: tuple[float, ...]) -> None:
        super().__init__()
        self.keys = keys
        self.width = len(keys) * len(half_lives) * (embedding_dim + 1)
        age = torch.arange(history - 1, -1, -1.0)  # (N,) the last place is the latest item
        weights = 0.5 ** (age / torch.tensor(half_lives).unsqueeze(-1))  # (H, N)
        self.register_buffer("weights", weights / weights.sum(-1, keepdim=True), persistent=False)

    def forward(self, items: ItemTable, observations: dict[str, np.ndarray] | Histories) -> Tensor:
        """(B, width) means of the windows in ``observations``, and how full the windows are."""
        if not items.reads_ids:
            histories = items(observations, self.keys)
            return torch.cat([self.weights @ _with_presence(histories[key]) for key in self.keys], 1).flatten(1)
        # Summed straight from the table, without the windows (B, N, D): a quarter of the time.
        ids = torch.stack([torch.as_tensor(observations[key]).long() for key in self.keys], 1)  # (B, keys, N)
        rows, table = ids.flatten(0, 1), items.with_presence
        means = [
            nn.functional.embedding_bag(rows, table, mode="sum", per_sample_weights=weights.expand(rows.shape))
            for weights in self.weights
        ]  # H of (B keys, D + 1)
        return torch.stack(means, 1).view(len(ids), -1)


def _with_presence(embeddings: Tensor) -> Tensor:
    """(..., D + 1) with a last entry of 1 behind every embedding (..., D) that is not an empty place's zeros."""
    return torch.cat([embeddings, (embeddings != 0).any(-1, keepdim=True).float()], -1)


class StateEncoder(nn.Module):
    """One GRU per history, merged linearly: s = w_b h_b + w_c h_c + b (MaHRL Eq. 3 and 6).

    Args:
        keys: Histories to read.
        embedding_dim: Width D of an item embedding.
        hidden: Width of the GRUs and of the state.
        vectors: Vectors (B, D) that are merged beside the histories, such as a goal.
    """

    def __init__(self, keys: tuple[str, ...], embedding_dim: int, hidden: int, vectors: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.keys, self.vectors = keys, vectors
        self.readers = nn.ModuleDict({key: nn.GRU(embedding_dim, hidden, batch_first=True) for key in keys})
        self.merge = nn.Linear(len(keys) * hidden + len(vectors) * embedding_dim, hidden)

    def forward(self, histories: Histories) -> Tensor:
        """State (B, hidden) of windows (B, N, D) and vectors (B, D)."""
        last = [self.readers[key](histories[key])[1][0] for key in self.keys]  # each (B, hidden)
        return self.merge(torch.cat([*last, *(histories[key] for key in self.vectors)], -1))  # (B, hidden)


class Actor(nn.Module):
    """Virtual action B tanh(w s + b) in (-B, B) (MaHRL Eq. 4 and 7).

    Args:
        onto: Name of a vector (B, D) that the action is added to; it then starts from there.
    """

    def __init__(self, encoder: StateEncoder, embedding_dim: int, bound: float, onto: str | None = None) -> None:
        super().__init__()
        self.encoder, self.bound, self.onto = encoder, bound, onto
        self.head = nn.Linear(encoder.merge.out_features, embedding_dim)
        if onto is not None:
            with torch.no_grad():
                self.head.weight.mul_(0.1)
                self.head.bias.zero_()

    def forward(self, histories: Histories) -> Tensor:
        """Virtual actions (B, D)."""
        action = self.bound * torch.tanh(self.head(self.encoder(histories)))  # (B, D)
        return action if self.onto is None else histories[self.onto] + action


class Critic(nn.Module):
    """Action value: v = relu(w_1 s + w_2 a + b), q = w_q v + b (MaHRL Eq. 5 and 8).

    Args:
        relu_output: Put the paper's ReLU on q as well. It cannot represent the negative values that an internal
            reward brings, and a critic that starts at q < 0 gets no gradient; so it is off by default.
    """

    def __init__(self, encoder: StateEncoder, embedding_dim: int, width: int, relu_output: bool = False) -> None:
        super().__init__()
        self.encoder = encoder
        self.from_state = nn.Linear(encoder.merge.out_features, width)
        self.from_action = nn.Linear(embedding_dim, width, bias=False)
        self.head = nn.Linear(width, 1)
        self.relu_output = relu_output

    def value(self, state: Tensor, actions: Tensor) -> Tensor:
        """q (B,) of actions (B, D), or (B, K) of K actions (B, K, D) each, in encoded states (B, hidden)."""
        from_state = self.from_state(state)  # (B, width)
        if actions.dim() == 3:
            from_state = from_state.unsqueeze(1)  # (B, 1, width)
        q = self.head(torch.relu(from_state + self.from_action(actions))).squeeze(-1)  # (B,) or (B, K)
        return torch.relu(q) if self.relu_output else q

    def forward(self, histories: Histories, actions: Tensor) -> Tensor:
        """q (B,) of actions (B, D)."""
        return self.value(self.encoder(histories), actions)


class GoalActor(nn.Module):
    """M goals g = B tanh(w s + b) from one state, each with a layer of its own (MaHRL Eq. 4)."""

    def __init__(self, encoder: StateEncoder, embedding_dim: int, bound: float, goals: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = nn.Linear(encoder.merge.out_features, goals * embedding_dim)  # M layers side by side
        self.goals, self.bound = goals, bound

    def forward(self, histories: Histories) -> Tensor:
        """Goals (B, M, D)."""
        raw = self.heads(self.encoder(histories))  # (B, M D)
        return self.bound * torch.tanh(raw).unflatten(-1, (self.goals, -1))  # (B, M, D)


class GoalCritics(nn.Module):
    """M goal values from one state, each with layers of its own: v = relu(w_1 s + w_2 g + b), q = w_o v + b (Eq. 5).

    Args:
        encoder: Of the state, shared by all.
        embedding_dim: Width D of a goal.
        width: Of each v.
        goals: M.
        relu_output: Put the paper's ReLU on q as well.
    """

    def __init__(
        self, encoder: StateEncoder, embedding_dim: int, width: int, goals: int, relu_output: bool = False
    ) -> None:
        super().__init__()
        self.encoder, self.relu_output = encoder, relu_output
        hidden = encoder.merge.out_features
        self.from_state = nn.ModuleList([nn.Linear(hidden, width) for _ in range(goals)])
        self.from_goal = nn.ModuleList([nn.Linear(embedding_dim, width, bias=False) for _ in range(goals)])
        self.heads = nn.ModuleList([nn.Linear(width, 1) for _ in range(goals)])

    def value(self, state: Tensor, goals: Tensor) -> Tensor:
        """q (B, M) of goals (B, M, D) in encoded states (B, hidden)."""
        q = torch.stack([self._q(m, state, goal) for m, goal in enumerate(goals.unbind(1))], 1)  # (B, M)
        return torch.relu(q) if self.relu_output else q

    def values(self, state: Tensor, goals: Tensor) -> Tensor:
        """q (B, M, K) of the same K goals (K, D) under each critic, in encoded states (B, hidden)."""
        return torch.stack([self._q(m, state[:, None], goals) for m in range(len(self.heads))], 1)

    def _q(self, m: int, state: Tensor, goals: Tensor) -> Tensor:
        """q (...) of goals (..., D) under critic ``m``, in states (..., hidden)."""
        return self.heads[m](torch.relu(self.from_state[m](state) + self.from_goal[m](goals))).squeeze(-1)

    def forward(self, histories: Histories, goals: Tensor) -> Tensor:
        """q (B, M) of goals (B, M, D)."""
        return self.value(self.encoder(histories), goals)


class GoalProducts(nn.Module):
    """M goal values from one state, each a product of features of the state and of the goal, in place of Eq. 5.

    Args:
        encoder: Of the state, shared by all.
        embedding_dim: Width D of a goal.
        width: Of the features.
        goals: M.
    """

    def __init__(self, encoder: StateEncoder, embedding_dim: int, width: int, goals: int) -> None:
        super().__init__()
        self.encoder = encoder
        state, none = encoder.merge.out_features, torch.zeros(0, embedding_dim)
        self.towers = nn.ModuleList([TwoTowers(state, none, (width, width)) for _ in range(goals)])

    def value(self, state: Tensor, goals: Tensor) -> Tensor:
        """q (B, M) of goals (B, M, D) in encoded states (B, hidden)."""
        pairs = zip(self.towers, goals.split(1, dim=1), strict=True)
        return torch.cat([tower.values(state, goal) for tower, goal in pairs], 1)

    def values(self, state: Tensor, goals: Tensor) -> Tensor:
        """q (B, M, K) of the same K goals (K, D) under each critic, in encoded states (B, hidden)."""
        return torch.stack([tower.among(state, goals) for tower in self.towers], 1)

    def forward(self, histories: Histories, goals: Tensor) -> Tensor:
        """q (B, M) of goals (B, M, D)."""
        return self.value(self.encoder(histories), goals)


class TwoTowers(nn.Module):
    """Values of items: an item's features times a user's, plus the user's and the item's own.

    Args:
        width: Of what is told of a user.
        candidates: (C, D) embeddings.
        hidden: Hidden layers of the user's tower; the last is as wide as the item's, and as the features.
    """

    def __init__(self, width: int, candidates: Tensor, hidden: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("candidates", candidates, persistent=False)
        self.user = _layers(width, *hidden, hidden[-1] + 1)
        self.item = _layers(candidates.shape[1], hidden[-1], hidden[-1] + 1)

    def forward(self, users: Tensor) -> Tensor:
        """(B, C) of all candidates for ``users`` (B, width)."""
        return self.among(users, self.candidates)

    def among(self, users: Tensor, items: Tensor) -> Tensor:
        """(B, n) of the same ``items`` (n, D) for all ``users`` (B, width)."""
        user, item = self.user(users), self.item(items)  # (B, E + 1), (n, E + 1)
        own = user[:, -1:] + item[:, -1]  # (B, n)
        return torch.addmm(own, user[:, :-1], item[:, :-1].T, alpha=self._scale)

    def values(self, users: Tensor, items: Tensor) -> Tensor:
        """(B, n) of n items each, with embeddings (B, n, D), for ``users`` (B, width)."""
        user, item = self.user(users), self.item(items)  # (B, E + 1), (B, n, E + 1)
        own = user[:, -1:] + item[..., -1]  # (B, n)
        return own + self._scale * torch.einsum("be,bne->bn", user[:, :-1], item[..., :-1])

    @property
    def _scale(self) -> float:
        """1 / sqrt(E), so that products of random features are of one size whatever their number."""
        return (self.item[-1].out_features - 1) ** -0.5


def _layers(*widths: int) -> nn.Sequential:
    """Linear layers of these widths with ReLUs between them."""
    parts: list[nn.Module] = []
    for width, following in pairwise(widths):
        parts += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*parts[:-1])


@torch.no_grad()
def soft_update(target: nn.Module, source: nn.Module, tau: float) -> None:
    """target <- tau source + (1 - tau) target (MaHRL Algorithm 1, lines 29 and 30)."""
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), tau)
