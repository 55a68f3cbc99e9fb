"""The response model: probabilities of skip, click and order, given the session so far and a candidate item.

The user state is a table of decayed counts. Each impression adds one to the counts of its *kind* (learned: one of
``kinds``) under its response, on ``time_scales`` different time scales, each with its own learned decay; beside the
plain count stand ``values`` learned item values (what was good, what was loud). A candidate reads the counts of its own
kind and the counts over all kinds, and a small network turns them and the item's features into three logits.

Counts alone mistake a well-chosen item for a willing user: ten clicks on items that anyone would have clicked tell
nothing new. So a second, linear predictor, the *expectation*, foretells every response from the same counts, and the
*surprises*, what came less what was expected, are summed, decayed and read beside the counts.

This is attention to the items shown so far whose weights fall geometrically with age, so it has two equal forms: a
matrix product over the whole session, used to fit, here; and a linear recurrence, used to simulate, in
:mod:`recsim_hrl.simulator.recurrence`.

At the border between two visits of a user each time scale keeps a learned share (``carry``): tiredness is forgotten,
taste is not.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsim_hrl.types import R

SURPRISES = R - 1
"""A surprise is kept for every response but the skip: whether it came, less the probability that was expected."""

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
        """Numbers kept per kind and time scale: (plain count and values) for each response, then the surprises."""
        return R * (1 + self.values) + SURPRISES


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
        counts = config.time_scales * R * (1 + config.values)
        self.expect_own = nn.Linear(counts, SURPRISES, bias=False)
        self.expect_all = nn.Linear(counts, SURPRISES, bias=False)
        self.expect_item = nn.Linear(config.item_features, SURPRISES)
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
        """(H,) brings counts of every time scale near 1 before they enter the network."""
        return (1.0 - self.decays).clamp_min(0.02) * 2.0

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

    def session_logits(
        self, embeddings: Tensor, responses: Tensor, present: Tensor, border: int
    ) -> tuple[Tensor, Tensor]:
        """Logits of every impression of whole sessions at once, each given those before it.

        Args:
            embeddings: (B, L, D) items of the previous visit (the first ``border`` places), then of the session.
            responses: (B, L) what the user did.
            present: (B, L) float, 0 where there is no impression.
            border: Places that belong to the previous visit, right-aligned.

        Returns:
            (B, L - border, R) logits of the session's impressions, and those of the expectation.
        """
        items = self.encode(embeddings)
        own, whole, expected = self.session_reads(items, responses, present, border)
        unit = self.count_unit().repeat_interleave(self.config.channels)  # (H * channels,)
        hidden = self.read_own(own * unit) + self.read_all(whole * unit)  # (B, L - border, hidden)
        hidden = torch.nn.functional.silu(hidden + self.read_item(items.features[:, border:]))
        hidden = torch.nn.functional.silu(self.middle(hidden)) + hidden
        return self.head(hidden) * self.logit_scale + self.logit_shift, expected

    def session_reads(
        self, items: ItemCodes, responses: Tensor, present: Tensor, border: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What each impression of whole sessions finds, within the limits: counts and surprises of its kind, and of
        all kinds (B, L - border, H * channels), and the logits (B, L - border, R) of its expectation.

        The arguments are those of :meth:`session_logits`, with the codes of the items.
        """
        answers = torch.nn.functional.one_hot(responses, R) * present.unsqueeze(-1)  # (B, L, R)
        counts = (answers.unsqueeze(-1) * items.values.unsqueeze(-2)).flatten(-2)  # (B, L, channels - SURPRISES)
        of_all = self._fading(responses.shape[1], border)  # (L - border, L) for each scale
        same_kind = torch.bmm(items.kinds[:, border:], items.kinds.transpose(1, 2))
        of_kind = [same_kind * left for left in of_all]  # (B, L - border, L)
        limits = torch.stack([self.own_limits, self.all_limits]).unflatten(-1, (self.config.time_scales, -1))
        own = _faded_sums(of_kind, counts).clamp(*limits[0, ..., :-SURPRISES])
        whole = _faded_sums(of_all, counts).clamp(*limits[1, ..., :-SURPRISES])
        unit = self.count_unit().unsqueeze(-1)  # (H, 1)
        expected = self.expect_own((own * unit).flatten(-2)) + self.expect_all((whole * unit).flatten(-2))
        expected = expected + self.expect_item(items.features[:, border:])  # (B, L - border, SURPRISES)
        expected = torch.nn.functional.pad(expected, (1, 0))  # (B, L - border, R), the logit of a skip is 0
        with torch.no_grad():  # the expectation learns to foretell responses, not to make its surprises useful
            surprises = (answers[:, border:] - expected.softmax(-1))[..., 1:] * present[:, border:].unsqueeze(-1)
            own_surprises = _faded_sums([left[..., border:] for left in of_kind], surprises)
            all_surprises = _faded_sums([left[..., border:] for left in of_all], surprises)
        own = torch.cat([own, own_surprises.clamp(*limits[0, ..., -SURPRISES:])], -1)  # (B, L - border, H, channels)
        whole = torch.cat([whole, all_surprises.clamp(*limits[1, ..., -SURPRISES:])], -1)
        return own.flatten(-2), whole.flatten(-2), expected

    def _fading(self, length: int, border: int) -> list[Tensor]:
        """(L - border, L) per time scale: what each impression of the session finds left of each one before it."""
        places = torch.arange(length, device=self.decay_logits.device)
        age = places[border:].unsqueeze(-1) - places - 1  # (L - border, L): impressions strictly between
        crossed = (places < border).to(self.decay_logits.dtype)  # (L,)
        return [
            torch.where(age >= 0, decay ** age.clamp_min(0), 0.0) * (1.0 - crossed + crossed * carry)
            for decay, carry in zip(self.decays, self.carry, strict=True)
        ]


def _faded_sums(weights: list[Tensor], written: Tensor) -> Tensor:
    """(B, L - border, H, n) sums of what was ``written`` (B, L, n), with the ``weights`` of each time scale."""
    return torch.stack([torch.matmul(left, written) for left in weights], -2)
