"""The behaviour policy of the world: what the shop showed while the log was written, with exact propensities.

It acts on what the log records and on nothing else: the clicks of the visit so far, the category of the last item,
and fixed scores of items. (A logger that acts on the users' hidden taste confounds the log. That case is kept as
``BehaviourConfig(confounded=True)``; docs/simulator.md says what it does to a simulator.)

A *tactic* chooses a category, staying with the last one with some probability and otherwise by a softmax over the
visit's clicks, then an item of that category by a softmax over one of four item scores. Users meet several tactics
in a visit. The mix is chosen for coverage: a simulator can only know what its log has seen, so the log holds long
stretches of one category, visits among good items only, and visits among click-bait only.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recsim_hrl import random
from recsim_hrl.data.world import World, WorldState
from recsim_hrl.types import CLICK

ITEM_SCORES = ("uniform", "popular", "good", "balanced")


@dataclass(frozen=True)
class Tactic:
    """One way to choose items."""

    share: float
    """Share of the stretches of a visit that use it."""
    stay: float
    """Probability of showing the category of the last item again."""
    follow: float
    """Weight of a category's decayed clicks in the softmax over categories."""
    score: str
    """Which item score ranks within the category."""
    sharpness: float
    """Inverse temperature of the softmax over items."""


TACTICS = (
    Tactic(0.14, stay=0.0, follow=0.0, score="uniform", sharpness=0.0),
    Tactic(0.08, stay=0.0, follow=2.0, score="popular", sharpness=1.0),
    Tactic(0.10, stay=0.3, follow=3.0, score="popular", sharpness=3.0),
    Tactic(0.08, stay=0.3, follow=3.0, score="balanced", sharpness=1.5),
    Tactic(0.08, stay=0.6, follow=4.0, score="balanced", sharpness=4.0),
    Tactic(0.10, stay=0.85, follow=0.0, score="uniform", sharpness=0.0),
    Tactic(0.10, stay=0.90, follow=1.5, score="good", sharpness=1.5),
    Tactic(0.08, stay=0.90, follow=2.5, score="good", sharpness=4.0),
    Tactic(0.08, stay=0.90, follow=1.5, score="balanced", sharpness=1.5),
    Tactic(0.06, stay=0.93, follow=2.0, score="popular", sharpness=1.5),
    Tactic(0.10, stay=0.3, follow=1.0, score="good", sharpness=3.0),
)


@dataclass(frozen=True)
class BehaviourConfig:
    """How the log is written."""

    tactics: tuple[Tactic, ...] = TACTICS
    """What a visit mixes."""
    stretch: float = 30.0
    """Mean number of impressions under one tactic."""
    click_memory: float = 0.95
    """Decay of the clicks that tactics follow."""
    leave_rate: float = 0.0233
    """Chance that a user of median patience leaves after an impression, while trust stands where it started."""
    patience_spread: float = 0.55
    """Spread of the users' patience (of its logarithm); gives the long tail."""
    max_length: int = 400
    """Longest visit."""
    trust_leaving: float = 0.25
    """How much more readily a user leaves whose trust has fallen in this visit."""
    confounded: bool = False
    """Let tactics follow the users' hidden taste instead of their clicks (a documented mistake)."""

    def __post_init__(self) -> None:
        total = sum(tactic.share for tactic in self.tactics)
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"behaviour tactics: shares sum to {total}, expected 1; rescale them")
        unknown = {tactic.score for tactic in self.tactics} - set(ITEM_SCORES)
        if unknown:
            raise ValueError(f"behaviour tactics: unknown item scores {sorted(unknown)}, allowed {ITEM_SCORES}")
        if not 0.0 < self.leave_rate < 1.0:
            raise ValueError(f"behaviour leave_rate: got {self.leave_rate}, allowed between 0 and 1, both excluded")


class Behaviour:
    """Draws categories and items for a batch of visits; every table is fixed at construction."""

    def __init__(self, world: World, config: BehaviourConfig) -> None:
        self.world, self.config = world, config
        tactics = config.tactics
        self.shares = torch.tensor([tactic.share for tactic in tactics])
        self.stay = torch.tensor([tactic.stay for tactic in tactics])
        self.follow = torch.tensor([tactic.follow for tactic in tactics])
        scores = {
            "uniform": torch.zeros_like(world.quality),
            "popular": world.allure,
            "good": world.quality,
            "balanced": 0.5 * (world.allure + world.quality),
        }
        # Items are sorted by category, so one running sum over all items holds every category's softmax.
        weights = torch.stack([torch.exp(scores[tactic.score] * tactic.sharpness) for tactic in tactics]).double()
        mass = torch.zeros(len(tactics), world.config.categories, dtype=torch.float64)
        mass.index_add_(1, world.category, weights)
        self.within = weights / mass[:, world.category]  # (tactics, I) probability within the category
        ends = torch.bincount(world.category, minlength=world.config.categories).cumsum(0)
        self.starts = torch.cat([torch.zeros(1, dtype=torch.int64), ends[:-1]])
        self.ends = ends
        # Category k of tactic a occupies the interval [a * K + k, a * K + k + 1) of one increasing table.
        running = torch.zeros_like(self.within)
        for start, end in zip(self.starts.tolist(), self.ends.tolist(), strict=True):
            running[:, start:end] = self.within[:, start:end].cumsum(1)
        offset = torch.arange(len(tactics))[:, None] * world.config.categories + world.category  # (tactics, I)
        self.table = (running + offset).flatten()

    def tactic(self, draw: Tensor) -> Tensor:
        """(B,) tactics for uniform draws (B,)."""
        return random.sample(self.shares.expand(len(draw), -1), draw)

    def category_probs(self, tactic: Tensor, clicks: Tensor, last: Tensor, left: Tensor, state: WorldState) -> Tensor:
        """(B, K) probability of each category.

        ``last`` (B,) is -1 at the start of a visit; ``left`` (B, K) counts the items not shown yet.
        """
        liking = state.users.taste * 1.5 if self.config.confounded else clicks
        fresh = torch.softmax(self.follow[tactic].unsqueeze(1) * liking, -1)  # (B, K)
        stay = torch.where(last >= 0, self.stay[tactic], 0.0).unsqueeze(1)
        here = torch.nn.functional.one_hot(last.clamp_min(0), fresh.shape[1])
        probs = (fresh * (1.0 - stay) + stay * here) * (left > 0)
        return probs / probs.sum(-1, keepdim=True)

    def items(self, tactic: Tensor, category: Tensor, shown: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Items of ``category`` that are not among ``shown``, and their probabilities given the category.

        Args:
            tactic: (B,) tactics.
            category: (B,) categories, each with at least one item left.
            shown: (B, S) items shown in the visit, -1 where none.
            key: (B,) random keys.

        Returns:
            Items (B,) and their exact probabilities (B,) among the items left.
        """
        item = self._any_item(tactic, category, random.uniform(random.mix(key, 0)))
        for attempt in range(1, 9):  # redraw what was shown already: cheap, and nearly always enough
            seen = (shown == item.unsqueeze(1)).any(1).nonzero().squeeze(1)
            if len(seen) == 0:
                break
            draw = random.uniform(random.mix(key[seen], attempt))
            item[seen] = self._any_item(tactic[seen], category[seen], draw)
        for row in (shown == item.unsqueeze(1)).any(1).nonzero().squeeze(1).tolist():
            weights = self.within[tactic[row], self.starts[category[row]] : self.ends[category[row]]].clone()
            here = shown[row][(shown[row] >= self.starts[category[row]]) & (shown[row] < self.ends[category[row]])]
            weights[here.long() - self.starts[category[row]]] = 0.0
            place = random.uniform(random.mix(key[row], 9)).double() * weights.sum()
            item[row] = self.starts[category[row]] + torch.searchsorted(weights.cumsum(0), place, right=True)
        same = (self.world.category[shown.clamp_min(0).long()] == category.unsqueeze(1)) & (shown >= 0)
        used = (self.within[tactic.unsqueeze(1), shown.clamp_min(0).long()] * same).sum(1)
        return item, self.within[tactic, item] / (1.0 - used)

    def _any_item(self, tactic: Tensor, category: Tensor, draw: Tensor) -> Tensor:
        place = (tactic * self.world.config.categories + category).double() + draw.double()
        item = torch.searchsorted(self.table, place, right=True) - tactic * self.world.config.items
        return torch.minimum(torch.maximum(item, self.starts[category]), self.ends[category] - 1)

    def remember(self, clicks: Tensor, items: Tensor, responses: Tensor) -> Tensor:
        """(B, K) decayed clicks after one impression."""
        here = torch.nn.functional.one_hot(self.world.category[items], clicks.shape[1])
        return clicks * self.config.click_memory + here * (responses >= CLICK).unsqueeze(1)
