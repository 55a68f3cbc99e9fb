"""SlateQ: the value of a slate as that of its items, weighed by a model of which one the user chooses.

Ie et al., "SlateQ: A Tractable Decomposition for Reinforcement Learning with Recommendation Sets" (IJCAI 2019). A user
chooses one item of a slate, or none, with chances in proportion to v(s, i), and what follows depends on that alone:

    Q(s, A) = P(none | s, A) Q(s, none) + sum over A of P(i | s, A) Q(s, i),  P(i | s, A) = v(s, i) / (1 + sum v(s, j)).

So only the values of what was chosen are learned, and the best slate is found from two numbers of each item. What
differs here, as users click several items of a slate and may leave, is on the page.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recsim_hrl.types import SKIP
from recsim_hrl_agents.base import Observations
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.networks import TwoTowers
from recsim_hrl_agents.slates.base import available, best_available
from recsim_hrl_agents.slates.replay import Requests
from recsim_hrl_agents.slates.state import SlateState
from recsim_hrl_agents.slates.targets import td_target
from recsim_hrl_agents.slates.values import SlateValues, SlateValuesConfig


@dataclass(frozen=True)
class SlateQConfig(SlateValuesConfig):
    """Settings of SlateQ."""

    rounds: int = 3
    """How often the slate is chosen anew, with its own value as the measure of its items: 0 is the paper's top-K; after
    a few the slate is the best one, which the paper finds by a linear program."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.rounds < 0:
            raise ValueError(f"SlateQConfig rounds: got {self.rounds}, allowed 0 or more; raise it")


class ChoiceValues(nn.Module):
    """Choice model and values of items, and of choosing none, in the state of a user."""

    def __init__(self, market: Market, stock: Tensor, config: SlateQConfig) -> None:
        super().__init__()
        self.state = SlateState(market, config.encoder, config.width)
        self.choice = TwoTowers(config.width, stock, config.hidden)
        self.value = TwoTowers(config.width, stock, config.hidden)
        self.none = nn.Linear(config.width, 1)

    def forward(self, observations: Observations) -> tuple[Tensor, Tensor, Tensor]:
        """Logits log v(s, i) (B, P) and values (B, P) of the stock, and the value of choosing none (B, 1)."""
        state = self.state(observations)  # (B, width)
        return self.choice(state), self.value(state), self.none(state)

    def of(self, observations: Observations, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The same (B, n), (B, n), (B, 1) of n items each, by their catalogue indices (B, n)."""
        state, embeddings = self.state(observations), self.state.items.items(items)  # (B, width), (B, n, D)
        return self.choice.values(state, embeddings), self.value.values(state, embeddings), self.none(state)


def slate_values(logits: Tensor, values: Tensor, none: Tensor) -> Tensor:
    """(B,) value of slates whose items have ``logits`` (B, K) and ``values`` (B, K); ``none`` (B, 1) is the value of
    choosing none, whose logit is 0."""
    probs = torch.cat([torch.zeros_like(none), logits], 1).softmax(1)  # (B, 1 + K)
    return (probs * torch.cat([none, values], 1)).sum(1)


def merits(logits: Tensor, values: Tensor, measure: Tensor) -> Tensor:
    """(B, n) v(s, i) (Q(s, i) - ``measure`` (B, 1)), up to a factor of the user's."""
    return (logits - logits.amax(1, keepdim=True)).exp() * (values - measure)


def best_merits(logits: Tensor, values: Tensor, none: Tensor, can_be_shown: Tensor, size: int, rounds: int) -> Tensor:
    """(B, P) merits of the stock, of which the ``size`` highest are the slate; arguments as (B, P), or (B, 1) ``none``.

    A slate is worth more than some measure just if its merits add up to more than what the measure lies above the value
    of choosing none, so the slate of the highest merits under a measure is worth at least as much as the slate that set
    it, and the best slate is the one that no round betters (Dinkelbach 1967).
    """
    measure = none  # (B, 1)
    for _ in range(rounds):
        slate = best_available(merits(logits, values, measure), can_be_shown, size)  # (B, K)
        measure = slate_values(logits.gather(1, slate), values.gather(1, slate), none)[:, None]  # (B, 1)
    return merits(logits, values, measure)


def choices(responses: Tensor) -> Tensor:
    """(S, 1 + K) the chance that none, or each item, is the one chosen: of several clicked items each is as likely.

    Args:
        responses: (S, K) of the slates.
    """
    clicked = (responses != SKIP).float()  # (S, K)
    count = clicked.sum(1, keepdim=True)  # (S, 1)
    return torch.cat([(count == 0).float(), clicked / count.clamp_min(1)], 1)


class SlateQ(SlateValues):
    """See the module."""

    name = "slateq"
    config_class = SlateQConfig

    def _build(self) -> ChoiceValues:
        return ChoiceValues(self.market, self.stock, self.config)

    def _merits(self, observations: Observations) -> Tensor:
        can_be_shown = available(observations)  # (B, P)
        return best_merits(*self.network(observations), can_be_shown, self.slate_size, self.config.rounds)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """What the paper's top-K ranks by."""
        return merits(*self.network.of(observations, items))

    def _loss(self, requests: Requests) -> tuple[Tensor, dict[str, Tensor]]:
        """Squared errors of the values of what was chosen, and minus the log-likelihood of the choices."""
        target = td_target(requests.rewards, self._following(requests), requests.terminated, self.config.gamma)  # (S,)
        logits, values, none = self.network.of(requests.observations, requests.items)  # (S, K), (S, K), (S, 1)
        logits = logits.masked_fill(~requests.is_seen, _NEVER)
        chosen = choices(requests.responses)  # (S, 1 + K)
        q = torch.cat([none, values], 1)  # (S, 1 + K)
        value_loss = (chosen * (q - target[:, None]).square()).sum(1).mean()
        log_probs = torch.cat([torch.zeros_like(none), logits], 1).log_softmax(1)  # (S, 1 + K)
        choice_loss = -(chosen * log_probs).sum(1).mean()
        metrics = {
            "value_loss": value_loss.detach(),
            "choice_loss": choice_loss.detach(),
            "q": (chosen * q.detach()).sum(1).mean(),
            "target": target.mean(),
            "none": chosen[:, 0].mean(),
        }
        return value_loss + choice_loss, metrics

    @torch.no_grad()
    def _following(self, requests: Requests) -> Tensor:
        """(S,) value of the best next slate, which the network picks and its slow copy values (double Q)."""
        picked = best_available(
            best_merits(
                *self.network(requests.next_observations), requests.next_available, self.slate_size, self.config.rounds
            ),
            requests.next_available,
            self.slate_size,
        )
        logits, values, none = self.target(requests.next_observations)  # (S, P), (S, P), (S, 1)
        return slate_values(logits.gather(1, picked), values.gather(1, picked), none)


_NEVER = -1e9
"""Logit of what cannot be chosen: its chance is 0, and 0 times its logarithm is no NaN."""
