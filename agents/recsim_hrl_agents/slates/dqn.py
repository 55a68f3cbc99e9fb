"""A deep Q-network over the slots of slates: a value for each item, as a product of a user's and an item's features.

Each slot that a user saw is one action in the state before its request, paid for its own answer, and taking a Kth of
what follows. So the values of a slate's items add up to the value of the slate, and the best slate is that of the K
highest values. Learning is that of Mnih et al. (2015), with the double estimate of van Hasselt et al. (2016).
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsim_hrl.types import DEFAULT_REWARDS
from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.networks import TwoTowers
from recsim_hrl_agents.slates.base import best_available
from recsim_hrl_agents.slates.replay import Requests
from recsim_hrl_agents.slates.state import SlateState
from recsim_hrl_agents.slates.targets import td_target
from recsim_hrl_agents.slates.values import SlateValues, SlateValuesConfig


@dataclass(frozen=True)
class SlateDQNConfig(SlateValuesConfig):
    """Settings of the Q-network over slots."""

    slot_rewards: tuple[float, float, float] = DEFAULT_REWARDS
    """What a skip, a click and an order pay a slot. Where they do not add up to the reward of the request (as under
    other rewards of the environment), the slots that were seen share the rest."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.slot_rewards) != len(DEFAULT_REWARDS):
            raise ValueError(
                f"SlateDQNConfig slot_rewards: got {self.slot_rewards}, allowed three numbers, of a skip, a click and "
                "an order; pass e.g. (0, 1, 5)"
            )


class SlotValues(nn.Module):
    """Values of items in the state of a user."""

    def __init__(self, market: Market, stock: Tensor, config: SlateDQNConfig) -> None:
        super().__init__()
        self.state = SlateState(market, config.encoder, config.width)
        self.towers = TwoTowers(config.width, stock, config.hidden)

    def forward(self, observations: Observations) -> Tensor:
        """(B, P) of all items of the stock."""
        return self.towers(self.state(observations))

    def of(self, observations: Observations, items: Tensor) -> Tensor:
        """(B, n) of n items each, by their catalogue indices (B, n)."""
        return self.towers.values(self.state(observations), self.state.items.items(items))


def slot_rewards(requests: Requests, of_responses: tuple[float, float, float]) -> Tensor:
    """(S, K) what each slot of sampled requests brought; 0 where it was not seen. A request's add up to its reward."""
    seen = requests.is_seen.float()  # (S, K)
    own = torch.tensor(of_responses, dtype=torch.float32)[requests.responses] * seen  # (S, K)
    rest = (requests.rewards - own.sum(1)) / seen.sum(1)  # (S,) the first slot is always seen
    return own + rest[:, None] * seen


class SlateDQN(SlateValues):
    """See the module."""

    name = "slate-dqn"
    config_class = SlateDQNConfig

    def _build(self) -> SlotValues:
        return SlotValues(self.market, self.stock, self.config)

    def _merits(self, observations: Observations) -> Tensor:
        return self.network(observations)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The values."""
        return self.network.of(observations, items)

    def _loss(self, requests: Requests) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared errors of the slots that were seen: the others were not tried."""
        paid = slot_rewards(requests, self.config.slot_rewards)  # (S, K)
        following, terminated = self._following(requests)[:, None], requests.terminated[:, None]  # (S, 1) each
        target = td_target(paid, following, terminated, self.config.gamma)  # (S, K)
        q, seen = self.network.of(requests.observations, requests.items), requests.is_seen.float()  # (S, K) each
        loss = (seen * (q - target).square()).sum() / seen.sum()
        return loss, {"q": (seen * q.detach()).sum() / seen.sum(), "target": (seen * target).sum() / seen.sum()}

    @torch.no_grad()
    def _following(self, requests: Requests) -> Tensor:
        """(S,) value of the next request: the mean over the best slate, which the network picks and its slow copy
        values (double Q), so that what is overestimated by chance is not taken at that value."""
        picked = best_available(self.network(requests.next_observations), requests.next_available, self.slate_size)
        return self.target(requests.next_observations).gather(1, picked).mean(1)
