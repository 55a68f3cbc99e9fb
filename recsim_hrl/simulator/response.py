"""The response model: probabilities of skip, click and order, given the session so far and a candidate item.

The user state is a table of decayed counts. Each impression adds one to the counts of its *kind* (learned: one of
``kinds``) under its response, on ``time_scales`` different time scales, each with its own learned decay; beside the
plain count stand ``values`` learned item values (what was good, what was loud). A candidate reads the counts of its own
kind and the counts over all kinds, and a small network turns them and the item's features into three logits. This is
attention to the items shown so far whose weights fall geometrically with age, so it has two equal forms: a matrix
product over the whole session, used to fit, here; and a linear recurrence, used to simulate, in
:mod:`recsim_hrl.simulator.recurrence`.

At the border between two visits of a user each time scale keeps a learned share (``carry``): tiredness is forgotten,
taste is not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsim_hrl.types import R

_NEVER = -1e4  # logit of a kind without items


@dataclass(frozen=True)
class ResponseConfig:
    """Shape of a response model."""

    embedding_dim: int = 50
    """Width of an item embedding."""
    kinds: int = 24
    """Item kinds that counts are kept for."""
    values: int = 4
    """Learned item values that are summed beside the plain count."""
    half_lives: tuple[float, ...] = (1.5, 4.0, 8.0, 16.0, 40.0, 400.0)
    """Initial half-lives of the counts in impressions; learned from there."""
    hidden: int = 96
    """Width of the two hidden layers."""
    item_features: int = 16
    """Learned features of the candidate itself."""

    def __post_init__(self) -> None:
        for name in ("embedding_dim", "kinds", "hidden", "item_features"):
            if getattr(self, name) < 1:
                raise ValueError(f"response model {name}: got {getattr(self, name)}, allowed 1 or more")
        if not self.half_lives or min(self.half_lives) <= 0:
            raise ValueError(f"response model half_lives: got {self.half_lives}, allowed one or more positive numbers")

    @property
    def time_scales(self) -> int:
        return len(self.half_lives)

    @property
    def channels(self) -> int:
        """Numbers kept per kind and time scale: (plain count and values) for each response."""
        return R * (1 + self.values)


@dataclass(frozen=True)
class ItemCodes:
    """What the model knows of items, computed once per catalogue."""

    kinds: Tensor  # (..., K) one-hot
    values: Tensor  # (..., 1 + V), the first is 1
    features: Tensor  # (..., F)

    def __getitem__(self, index: Tensor) -> "ItemCodes":
        return ItemCodes(self.kinds[index], self.values[index], self.features[index])


class ResponseModel(nn.Module):
    """Softmax over the responses, recurrent over the session."""

    def __init__(self, config: ResponseConfig) -> None:
        super().__init__()
        self.config = config
        half_lives = torch.tensor(config.half_lives)
        self.decay_logits = nn.Parameter(torch.logit(0.5 ** (1.0 / half_lives)))  # (H,)
        self.carry_logits = nn.Parameter(torch.linspace(-2.0, 3.0, config.time_scales))  # (H,)
        self.to_kinds = nn.Linear(config.embedding_dim, config.kinds)
        self.to_values = nn.Linear(config.embedding_dim, config.values)
        self.to_features = nn.Linear(config.embedding_dim, config.item_features)
        reads = config.time_scales * config.channels
        self.read_own = nn.Linear(reads, config.hidden, bias=False)
        self.read_all = nn.Linear(reads, config.hidden, bias=False)
        self.read_item = nn.Linear(config.item_features, config.hidden)
        self.middle = nn.Linear(config.hidden, config.hidden)
        self.head = nn.Linear(config.hidden, R)
        # A count beyond what the log holds is cut to it (see fit.limit): lowest and highest.
        unlimited = torch.tensor([[torch.finfo().min], [torch.finfo().max]])
        self.register_buffer("own_limits", unlimited.repeat(1, reads))
        self.register_buffer("all_limits", unlimited.repeat(1, reads))
        # Calibration on held-out sessions: logits are multiplied by the scale, then shifted (see fit.calibrate).
        self.register_buffer("logit_scale", torch.ones(1))
        self.register_buffer("logit_shift", torch.zeros(R))

    @torch.no_grad()
    def begin_with_categories(self, embeddings: Tensor, categories: Tensor) -> None:
        """Let kind k begin as category k: an item belongs where its embedding is nearest to the category's mean.

        From there the kinds are learned like everything else. Kinds beyond the last category begin without items. With
        a single category, or with more of them than kinds, all kinds keep their random weights.

        Args:
            embeddings: (I, D) of the catalogue.
            categories: (I,) of the catalogue.
        """
        present, category = categories.unique(return_inverse=True)
        size = len(present)
        if not 1 < size <= self.config.kinds:
            return
        means = torch.zeros(size, embeddings.shape[1]).index_add_(0, category, embeddings)
        means = means / torch.bincount(category).unsqueeze(1)
        spread = (embeddings - means[category]).square().mean().clamp_min(1e-6)  # of an entry, within a category
        self.to_kinds.weight.zero_()
        self.to_kinds.bias.fill_(_NEVER)
        self.to_kinds.weight[:size] = means / spread
        self.to_kinds.bias[:size] = -0.5 * means.square().sum(1) / spread

    @property
    def decays(self) -> Tensor:
        """(H,) what one impression leaves of the older counts."""
        return torch.sigmoid(self.decay_logits)

    @property
    def carry(self) -> Tensor:
        """(H,) what the border between two visits leaves of the counts."""
        return torch.sigmoid(self.carry_logits)

    def count_unit(self) -> Tensor:
        """(H * channels,) brings counts of every time scale near 1 before they enter the network."""
        unit = (1.0 - self.decays).clamp_min(0.02) * 2.0
        return unit.repeat_interleave(self.config.channels)

    def encode(self, embeddings: Tensor) -> ItemCodes:
        """Codes of items with ``embeddings`` (..., D).

        An item is of its most likely kind. While the model learns, the gradient is that of the likelihoods
        (straight-through), so that items can change sides.
        """
        likely = torch.softmax(self.to_kinds(embeddings), -1)  # (..., K)
        kinds = torch.nn.functional.one_hot(likely.argmax(-1), self.config.kinds).to(likely.dtype)
        if self.training:
            kinds = kinds + likely - likely.detach()
        values = torch.tanh(self.to_values(embeddings))  # (..., V)
        values = torch.cat([torch.ones_like(values[..., :1]), values], -1)  # (..., 1 + V)
        return ItemCodes(kinds, values, self.to_features(embeddings))

    def _respond(self, own: Tensor, whole: Tensor, features: Tensor) -> Tensor:
        hidden = own + self.read_all(whole * self.count_unit()) + self.read_item(features)
        hidden = torch.nn.functional.silu(hidden)  # (B, C, hidden)
        hidden = torch.nn.functional.silu(self.middle(hidden)) + hidden
        return self.head(hidden) * self.logit_scale + self.logit_shift

    def session_logits(self, embeddings: Tensor, responses: Tensor, present: Tensor, border: int) -> Tensor:
        """Logits of every impression of whole sessions at once, each given those before it.

        Args:
            embeddings: (B, L, D) items of the previous visit (the first ``border`` places), then of the session.
            responses: (B, L) what the user did.
            present: (B, L) float, 0 where there is no impression.
            border: Places that belong to the previous visit, right-aligned.

        Returns:
            (B, L - border, R) logits of the session's impressions.
        """
        items = self.encode(embeddings)
        own, whole = self.session_counts(items, responses, present, border)
        own = self.read_own(own.clamp(*self.own_limits) * self.count_unit())  # (B, L - border, hidden)
        return self._respond(own, whole.clamp(*self.all_limits), items.features[:, border:])

    def session_counts(
        self, items: ItemCodes, responses: Tensor, present: Tensor, border: int
    ) -> tuple[Tensor, Tensor]:
        """Counts (B, L - border, H * channels) that each impression of whole sessions finds, of its kind and of all.

        The arguments are those of :meth:`session_logits`, with the codes of the items.
        """
        length = responses.shape[1]
        kinds = items.kinds * present.unsqueeze(-1)
        written = torch.nn.functional.one_hot(responses, R).unsqueeze(-1) * items.values.unsqueeze(-2)
        written = written.flatten(-2) * present.unsqueeze(-1)  # (B, L, channels)
        places = torch.arange(length, device=responses.device)
        age = places[border:].unsqueeze(-1) - places - 1  # (L - border, L): impressions strictly between
        same_kind = torch.bmm(items.kinds[:, border:], kinds.transpose(1, 2))  # (B, L - border, L)
        own, whole = [], []
        crossed = (places < border).to(present.dtype)  # (L,)
        for decay, carry in zip(self.decays, self.carry, strict=True):
            weight = torch.where(age >= 0, decay ** age.clamp_min(0), 0.0)  # (L - border, L)
            weight = weight * (1.0 - crossed + crossed * carry)
            own.append(torch.bmm(same_kind * weight, written))  # (B, L - border, channels)
            whole.append(torch.matmul(weight, written))
        return torch.cat(own, -1), torch.cat(whole, -1)
