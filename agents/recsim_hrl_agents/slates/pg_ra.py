"""PG-RA for slates (Chandak et al., "Learning Action Representations for Reinforcement Learning", ICML 2019): what an
item is to the policy is learned from what it does to the state, apart from rewards.

From a state and the one that followed, an *inverse model* tells the action in between as a vector; that vector is to
single out the items that were shown, which is what the features of items learn. The policy emits such vectors and
learns by the deterministic policy gradient, as the paper's DPG-RA does.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsim_hrl_agents.market import Market
from recsim_hrl_agents.slates.hyper_actions import HyperActor, HyperAgent, HyperConfig, two_layers
from recsim_hrl_agents.slates.replay import Requests


@dataclass(frozen=True)
class PGRAConfig(HyperConfig):
    """Settings of PG-RA."""

    representation: float = 1.0
    """Weight of the log-loss of telling the items that were shown from the states before and after."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.representation < 0:
            raise ValueError(f"PGRAConfig representation: got {self.representation}, allowed 0 or more")


class InverseActor(HyperActor):
    """An actor beside an inverse model, with which it shares the items' features."""

    def __init__(self, market: Market, config: HyperConfig) -> None:
        super().__init__(market, config)
        self.scale = nn.Parameter(torch.ones(()))
        self.inverse = two_layers(2 * config.width, config.hidden, config.kernel)

    def between(self, observations: dict[str, Tensor], following: dict[str, Tensor]) -> Tensor:
        """(S, E) the hyper-actions that seem to lie between two observations."""
        # The encoder is the policy's: the inverse model reads it and does not change it.
        states = [self.state(one).detach() for one in (observations, following)]  # each (S, width)
        return self.inverse(torch.cat(states, -1))


class PGRA(HyperAgent):
    """Policy gradients with representations of items that are learned from transitions."""

    name = "pg-ra"
    config_class = PGRAConfig

    def _make_actor(self) -> InverseActor:
        return InverseActor(self.market, self.config)

    def _valued(self, batch: Requests) -> Tensor:
        """The hyper-actions as they were emitted."""
        return batch.actions

    def _also_learned(self, batch: Requests, hyper: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        between = self.actor.between(batch.observations, batch.next_observations)  # (S, E)
        log_probs = torch.log_softmax(self.actor.scale * self.actor.scores(between, self.stock), -1)  # (S, P)
        shown = log_probs.gather(1, self.places(batch.items))  # (S, K)
        loss = -shown[batch.is_seen].mean()
        return self.config.representation * loss, {"representation_loss": loss}
