"""HAC, the hyper-actor critic (Liu et al., WWW 2023): a critic that knows slates by the mean of their items' features,
and an actor whose hyper-actions are kept near those of the slates that they select.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsim_hrl.types import CLICK
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.slates.hyper_actions import HyperActor, HyperAgent, HyperConfig
from recsim_hrl_agents.slates.replay import Requests


@dataclass(frozen=True)
class HACConfig(HyperConfig):
    """Settings of HAC."""

    alignment: float = 0.03
    """Weight of the squared distance of a hyper-action and what is pooled of the slate that it selects."""
    supervision: float = 0.03
    """Weight of the log-loss of clicks on the items that users looked at, predicted by their scores."""
    emitted: float = 0.5
    """Share of the requests from which the critic learns the value of the hyper-action as it was emitted, in place of
    what is pooled of its slate; 0 is the published code's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.emitted <= 1:
            raise ValueError(f"HACConfig emitted: got {self.emitted}, allowed 0 to 1")
        for name in ("alignment", "supervision"):
            if getattr(self, name) < 0:
                raise ValueError(f"HACConfig {name}: got {getattr(self, name)}, allowed 0 or more")


class ClickingActor(HyperActor):
    """An actor whose scores also tell clicks: their logits are the scores, scaled and moved."""

    def __init__(self, market: Market, config: HyperConfig) -> None:
        super().__init__(market, config)
        self.scale = nn.Parameter(torch.ones(()))
        self.constant = nn.Parameter(torch.zeros(()))


class HAC(HyperAgent):
    """Hyper-actor critic with alignment of the action spaces and supervision."""

    name = "hac"
    config_class = HACConfig

    def _make_actor(self) -> ClickingActor:
        return ClickingActor(self.market, self.config)

    def pooled(self, items: Tensor) -> Tensor:
        """(S, E) the hyper-actions that stand for slates ``items`` (S, K): the mean direction of their features."""
        return nn.functional.normalize(self.actor.features(items).mean(1), dim=-1)

    def _valued(self, batch: Requests) -> Tensor:
        """What is pooled of the slates that were shown, or the hyper-actions that selected them."""
        pooled = self.pooled(batch.items).detach()  # (S, E)
        # The batch is in random order, so its first part is a random one.
        is_emitted = torch.arange(len(pooled)) < self.config.emitted * len(pooled)  # (S,)
        return torch.where(is_emitted.unsqueeze(1), batch.actions, pooled)

    def _also_learned(self, batch: Requests, hyper: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        config = self.config
        # Among the whole stock: what could be shown in the request is not kept, and is nearly all of it.
        best = self.actor.scores(hyper.detach(), self.stock).topk(self.slate_size).indices  # (S, K)
        pooled = self.pooled(torch.from_numpy(self.market.candidates)[best])  # (S, E)
        alignment = (pooled - hyper).square().sum(1).mean()
        supervision = self._click_loss(batch, hyper)
        loss = config.alignment * alignment + config.supervision * supervision
        return loss, {"alignment": alignment, "click_loss": supervision}

    def _click_loss(self, batch: Requests, hyper: Tensor) -> Tensor:
        """Mean log-loss of clicks over the items that users looked at."""
        features = self.actor.features(batch.items)  # (S, K, E)
        logits = self.actor.scale * torch.einsum("se,ske->sk", hyper, features) + self.actor.constant  # (S, K)
        clicked = (batch.responses >= CLICK).float()  # (S, K)
        return nn.functional.binary_cross_entropy_with_logits(logits[batch.is_seen], clicked[batch.is_seen])
