"""Policies whose values are compared between the true world and a simulator, and the bounds of a market."""

from dataclasses import dataclass

import torch
from torch import Tensor

from recsim_hrl import random
from recsim_hrl.simulator.market import Market, Policy, View
from recsim_hrl.types import CLICK, ORDER, SKIP

GOAL_PERIOD = 10
"""Low-level steps that a random goal is held for (the paper's c)."""


def click_value(probs: Tensor) -> Tensor:
    """(B, C) probability of a click, an order included."""
    return 1.0 - probs[..., SKIP]


def reward_value(probs: Tensor) -> Tensor:
    """(B, C) expected immediate reward under the default rewards."""
    return probs[..., CLICK] + 5.0 * probs[..., ORDER]


def _uniform_scores(view: View) -> Tensor:
    return random.uniform(random.mix(view.key.unsqueeze(1), torch.arange(len(view.candidates))))


def _categories(view: View) -> Tensor:
    return view.catalogue.categories[view.candidates]  # (C,)


def random_policy() -> Policy:
    """Any candidate, each alike."""
    return Policy("random", _uniform_scores)


def random_goal_policy() -> Policy:
    """A random category held for ten steps, any of its items."""

    def score(view: View) -> Tensor:
        # The goal of a period is drawn from the key of its first step, which every later step can name again.
        period = view.step // GOAL_PERIOD
        choices = _categories(view).unique()
        draw = random.integers(random.mix(view.session_key, 1000 + period), len(choices))  # (B,)
        return _uniform_scores(view) + 10.0 * (_categories(view) == choices[draw].unsqueeze(1))

    return Policy("random_goal", score)


def static_policy(name: str, item_scores: Tensor) -> Policy:
    """The candidates in one fixed order for all users; ``item_scores`` (I,)."""
    return Policy(name, lambda view: item_scores[view.candidates].expand(len(view.shown), -1))


def themed_policy(name: str, item_scores: Tensor, hold: int = GOAL_PERIOD) -> Policy:
    """Holds the category with the most clicks in the session for ``hold`` steps, then turns to another one."""

    def score(view: View) -> Tensor:
        category = _categories(view)
        stays = ((view.run > 0) & (view.run < hold)).unsqueeze(1)
        same = category == view.last_category.unsqueeze(1)
        liked = view.clicks[:, category] + 2.0 * random.uniform(
            random.mix(view.key.unsqueeze(1), category)
        )  # (B, C): fewest draws decide where clicks tie
        moved = torch.where(same, -50.0, 10.0 * liked)
        return torch.where(stays, 1000.0 * same, moved) + item_scores[view.candidates]

    return Policy(name, score)


def follow_clicks_policy() -> Policy:
    """A random item of a category drawn by the session's clicks."""

    def score(view: View) -> Tensor:
        category = _categories(view)
        weight = view.clicks[:, category] + 0.2  # (B, C)
        return torch.log(weight) - torch.log(-torch.log(_uniform_scores(view).clamp(1e-6, 1 - 1e-6)))

    return Policy("follow_clicks", score)


def greedy_policy(name: str, model: Market, value=reward_value) -> Policy:
    """Greedy on the predictions of ``model``, without a thought for tomorrow."""
    return Policy(name, lambda view: value(model.probs(view.tracked, view.candidates)), tracker=model)


@dataclass(frozen=True)
class ItemOrder:
    """How a market's average new user takes to each item; what a planner ranks items by."""

    click: Tensor  # (I,) standardised logit of a click
    order: Tensor  # (I,) standardised logit of an order given a click


def item_order(market: Market, users: Tensor) -> ItemOrder:
    """Item scores of ``market`` from its own predictions for the start of the sessions of ``users`` (B,)."""
    state, size = market.initial(users), len(market.catalogue)
    parts = [market.probs(state, part).mean(0) for part in torch.arange(size).split(2048)]
    probs = torch.cat(parts)  # (I, R)
    click = torch.logit(click_value(probs))
    order = torch.logit((probs[:, ORDER] / click_value(probs)).clamp(1e-6, 1 - 1e-6))
    return ItemOrder((click - click.mean()) / click.std(), (order - order.mean()) / order.std())


def planner_policy(name: str, model: Market, order: ItemOrder, weights: Tensor) -> Policy:
    """A patient score of six weights over the model's predictions (see :mod:`recsim_hrl.simulator.planner`)."""
    order_now, order_item, click_item, stay, hold, good = weights.tolist()

    def score(view: View) -> Tensor:
        probs = model.probs(view.tracked, view.candidates)  # (B, C, R)
        clicked = click_value(probs)
        good_items, alluring = order.order[view.candidates], order.click[view.candidates]  # (C,)
        same = _categories(view) == view.last_category.unsqueeze(1)
        fresh = (view.run < 8.0 + 4.0 * hold).unsqueeze(1)
        value = clicked + 4.0 * (1.0 + order_now) * probs[..., ORDER]
        value = value + clicked * (order_item * good_items + click_item * alluring)
        return value + 0.1 * good * good_items + 0.1 * stay * (same & fresh)

    return Policy(name, score, tracker=model)
