"""The exact Bayes predictive of the world: the best that any model can predict from the log.

Taste per category and initial trust are hidden and take one of five levels each; all else follows from the log.
Given the initial trust, tastes for different categories are independent, so the posterior is a table of
log-likelihoods per (category, trust level, taste level), and the predictive is an exact sum, no approximation.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from recsim_hrl.data.world import LEVEL_WEIGHTS, World, WorldState
from recsim_hrl.types import NO_ITEM, Visits


@dataclass(frozen=True)
class Belief:
    """What the log tells of users within a visit."""

    state: WorldState  # observable part; its hidden users are placeholders and never read
    evidence: Tensor  # (B, K, trust levels, taste levels) log-likelihood of the user's responses so far


class BayesFilter:
    """Exact filter over the hidden part of the users of a world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.log_prior = torch.log(torch.tensor(LEVEL_WEIGHTS))  # (L,) the same for taste and trust
        self.taste = world.taste_levels.view(1, 1, -1)  # (1, 1, taste levels)
        self.trust = world.trust_levels.view(1, -1, 1)  # (1, trust levels, 1)

    def initial(self, visits: Visits) -> Belief:
        """Beliefs at the start of a visit, from the impressions of the visit before."""
        size, levels = len(visits), len(self.log_prior)
        state = self.world.initial(self.world.users(torch.zeros(size, dtype=torch.int64)))
        belief = Belief(state, torch.zeros(size, self.world.config.categories, levels, levels))
        for place in range(visits.items.shape[1]):
            shown = visits.items[:, place] != NO_ITEM
            if bool(shown.any()):
                after = self.update(belief, visits.items[:, place].clamp_min(0), visits.responses[:, place])
                belief = _where(shown, after, belief)
        return Belief(state, belief.evidence)  # a new visit starts fresh; what is hidden stays

    def predict(self, belief: Belief, items: Tensor) -> Tensor:
        """(B, R) probability of each response to ``items`` (B,)."""
        by_level = self._by_level(belief, items)  # (B, trust, taste, R)
        joint = self.log_prior + belief.evidence  # (B, K, trust, taste)
        per_category = torch.logsumexp(joint, -1)  # (B, K, trust)
        trust = torch.softmax(self.log_prior + per_category.sum(1), -1)  # (B, trust)
        here = joint[torch.arange(len(items)), self.world.category[items]]  # (B, trust, taste)
        weights = trust.unsqueeze(-1) * torch.softmax(here, -1)
        return (weights.unsqueeze(-1) * by_level).sum((1, 2))

    def update(self, belief: Belief, items: Tensor, responses: Tensor) -> Belief:
        """Beliefs after one impression of ``items`` (B,) answered with ``responses`` (B,)."""
        by_level = self._by_level(belief, items)  # (B, trust, taste, R)
        index = responses.view(-1, 1, 1, 1).expand(*by_level.shape[:-1], 1)
        seen = torch.log(by_level.gather(-1, index).squeeze(-1))  # (B, trust, taste)
        evidence = belief.evidence.clone()
        evidence[torch.arange(len(items)), self.world.category[items]] += seen
        return Belief(self.world.update(belief.state, items, responses), evidence)

    def _by_level(self, belief: Belief, items: Tensor) -> Tensor:
        """(B, trust levels, taste levels, R) response probabilities for each hidden hypothesis."""
        nothing = torch.zeros(len(items), 1)
        click, order = self.world.logits(belief.state, items.unsqueeze(1), nothing, nothing)  # (B, 1) each
        c = self.world.config
        click = click.unsqueeze(-1) + self.taste + c.click_trust * self.trust  # (B, trust, taste)
        order = order.unsqueeze(-1) + c.order_taste * self.taste + c.order_trust * self.trust
        return self.world.response_probs(click, order)


def _where(mask: Tensor, new: Belief, old: Belief) -> Belief:
    def pick(a: Tensor, b: Tensor) -> Tensor:
        return torch.where(mask.view(-1, *[1] * (a.ndim - 1)), a, b)

    fields = ("presence", "fatigue", "interest", "intent", "trust_shift")
    state = WorldState(old.state.users, *(pick(getattr(new.state, f), getattr(old.state, f)) for f in fields))
    return Belief(state, pick(new.evidence, old.evidence))
