"""The planner: the best policy that we know for a market, an estimate from below of what is possible.

It scores candidates by six weighted terms (what the model predicts for now, how good and how alluring the item is for
an average user, and whether it stays with the category), and the weights are found by the cross-entropy method on
whole sessions of the market itself. It therefore knows the users completely and values tomorrow; only the form of its
score is limited. A true optimum can only be higher, so the patience gap it shows is real.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from recsim_hrl.simulator.market import Market, Policy, run_policy
from recsim_hrl.simulator.policies import ItemOrder, item_order, planner_policy

WEIGHTS = 6


def tune_planner(
    name: str,
    market: Market,
    users: Tensor,
    candidates: Tensor,
    steps: int,
    rounds: int = 6,
    population: int = 16,
    sessions: int = 64,
    seed: int = 0,
) -> Policy:
    """Tune a planner for sessions of ``steps`` items by the cross-entropy method.

    Args:
        name: Name of the policy.
        market: The world or simulator that is planned for, and with.
        users: (U,) pool positions to tune on; keep the users that values are reported for out of it.
        candidates: (C,) items.
        steps: Session length.
        rounds: Rounds of the search.
        population: Weight vectors tried in each round.
        sessions: Sessions each of them is tried on, the same for all in a round.
        seed: Draws the weights and the users' luck.
    """
    generator = torch.Generator().manual_seed(seed)
    order: ItemOrder = item_order(market, users[:64])

    def values(tried: Tensor, number: int) -> list[float]:
        chosen = users[torch.randperm(len(users), generator=generator)[:sessions]]
        return [
            run_policy(market, planner_policy(name, market, order, w), chosen, candidates, steps, seed + number).mean
            for w in tried
        ]

    return planner_policy(name, market, order, search_weights(values, rounds, population, generator))


def search_weights(
    values: Callable[[Tensor, int], list[float]], rounds: int, population: int, generator: torch.Generator
) -> Tensor:
    """(WEIGHTS,) of a planner, by the cross-entropy method from those of the reward-greedy policy, which are zero.

    Args:
        values: What each of the weights (population, WEIGHTS) tried in round number so-and-so is worth.
        rounds: Rounds of the search.
        population: Weight vectors tried in each round, 3 or more.
        generator: Draws them.
    """
    mean, spread = torch.zeros(WEIGHTS), torch.ones(WEIGHTS)
    for number in tqdm(range(rounds), desc="tuning the planner", disable=None, leave=False):
        tried = mean + spread * torch.randn(population, WEIGHTS, generator=generator)
        tried[0] = mean
        best = tried[torch.tensor(values(tried, number)).topk(max(3, population // 4)).indices]
        mean, spread = best.mean(0), best.std(0) + 0.1
    return mean
