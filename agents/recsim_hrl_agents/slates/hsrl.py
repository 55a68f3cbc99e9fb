"""HSRL: items are chosen as semantic ids, token by token from coarse to fine, and each token gets credit of its own.

Wang et al., "Hierarchical Semantic RL: Tackling the Problem of Dynamic Action Space for RL-based Recommendations",
arXiv 2510.09167. An actor-critic over the tokens of semantic ids: the policy refines its context level by level (its
hierarchical policy network), the critic values every prefix of an item's tokens (its multi-level critic), and what a
token adds to that value is its advantage. The networks are in :mod:`.hsrl_networks`.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsim_hrl.semantic_ids import SemanticIdConfig, fit_semantic_ids
from recsim_hrl_agents.actor_critic import SlowCopies, adam, below, descend
from recsim_hrl_agents.base import Observations, Transitions
from recsim_hrl_agents.market import Market
from recsim_hrl_agents.networks import soft_update
from recsim_hrl_agents.slates.base import SlateAgent, available
from recsim_hrl_agents.slates.hsrl_networks import ItemPolicy, PrefixCritic, TokenPolicy
from recsim_hrl_agents.slates.replay import AVAILABLE, Requests, SlateReplay
from recsim_hrl_agents.slates.slot_rewards import SlotRewards
from recsim_hrl_agents.slates.state import STATE_KEYS, Encoder
from recsim_hrl_agents.slates.targets import td_target
from recsim_hrl_agents.slates.token_tree import TokenTree

MOST_LOG_RATIO = 10.0
"""An unlikely item, shown because the likelier ones were shown already, may become likely at once: its ratio would
overflow, and its gradient be no number."""


@dataclass(frozen=True)
class HSRLConfig:
    """Settings of HSRL."""

    levels: int = 3
    """Tokens L of a semantic id, coarse to fine."""
    codes: int = 32
    """Tokens V to choose from at each level."""
    encoder: Encoder = "means"
    """How histories are read: "attention" as in the paper, or "means", which take a hundredth of the time."""
    width: int = 64
    """Of states, contexts and hidden layers."""
    residual: bool = True
    """Whether a level's context is what the levels above leave of the state; or else the state itself."""
    autoregressive: bool = True
    """Whether contexts follow the tokens that were chosen, or, as in the public code, the expected ones: then no level
    knows what the others choose."""
    together: bool = True
    """Whether a slate stays with a token for as long as items under it can be shown, so that one choice of the first
    level decides what kind of things the slate is of; or else the tokens of each item are chosen anew."""
    multi_level: bool = True
    """Whether each token has an advantage of its own, or all tokens of an item that of the item."""
    flat: bool = False
    """Whether the policy is one softmax over items, without tokens."""
    trace: float = 1.0
    """How far a token's advantage looks past what the next level's value says of it: 0 trusts that value, 1 waits for
    the reward (generalised advantage estimation, with levels in place of steps)."""
    later: float = 1.0
    """Share of the rewards of later slots that a choice is credited with; all of what follows the request always is."""
    entropy: float = 0.01
    """Weight of the entropy of each level's choice."""
    supervised: float = 0.1
    """Weight of the log-likelihood of items that were clicked or ordered, in proportion to what this paid."""
    gamma: float = 0.9
    """Discount of one request."""
    tau: float = 0.02
    """Share of the critic that the target critic takes over at each of its updates."""
    inverted_mask: bool = False
    """Make the mistake of published code: see :func:`recsim_hrl_agents.slates.targets.td_target`."""
    actor_learning_rate: float = 1e-3
    """Adam step size of the policy."""
    critic_learning_rate: float = 1e-3
    """Adam step size of the critic."""
    requests_per_update: int = 512
    """Requests that are gathered under one policy before it learns from them."""
    epochs: int = 4
    """Steps of the policy on what was gathered."""
    clip: float = 0.2
    """How far these may change the probability of a token: ratios beyond 1 - clip and 1 + clip earn no more (proximal
    policy optimisation)."""
    critic_updates: int = 8
    """Steps of the critic, from replay, each time the policy learns."""
    batch_size: int = 256
    """Requests per step of the critic."""
    buffer_size: int = 20_000
    """Requests kept for replay; the value of a state is that under the policies which made them."""
    beam: int = 64
    """Prefixes of each length that are kept when the best items are looked for one by one. Exploring slates are drawn
    exactly, and those chosen together need no search."""
    max_gradient_norm: float = 1.0
    """Gradients of each network are clipped to this norm."""

    def __post_init__(self) -> None:
        counts = ("levels", "codes", "width", "requests_per_update", "epochs", "batch_size", "buffer_size", "beam")
        for name in counts:
            if getattr(self, name) < 1:
                raise ValueError(f"HSRLConfig {name}: got {getattr(self, name)}, allowed 1 or more; raise it")
        for name in ("actor_learning_rate", "critic_learning_rate", "clip", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"HSRLConfig {name}: got {getattr(self, name)}, allowed numbers above 0; raise it")
        for name in ("trace", "later", "gamma", "tau"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"HSRLConfig {name}: got {getattr(self, name)}, allowed 0 to 1; it is a share")
        for name in ("entropy", "supervised", "critic_updates"):
            if getattr(self, name) < 0:
                raise ValueError(f"HSRLConfig {name}: got {getattr(self, name)}, allowed 0 or more; raise it")


class HSRL(SlowCopies, SlateAgent):
    """See the module."""

    name = "hsrl"
    config_class = HSRLConfig
    slow_copies = {"target": "critic"}

    def __init__(self, market: Market, config: HSRLConfig | None = None, seed: int = 0) -> None:
        super().__init__(market, config or HSRLConfig(), seed)
        config = self.config
        # The whole catalogue has ids, so that actions stay what they are when other items come on offer.
        ids = fit_semantic_ids(market.item_embeddings, SemanticIdConfig(config.levels, config.codes))
        self._take_codes(torch.from_numpy(ids.codes))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.actor = self._policy()
            depths = config.levels if config.multi_level and not config.flat else 1
            self.critic = PrefixCritic(market, config.encoder, config.width, config.codes, depths)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self._actor_optimizer = adam(self.actor, config.actor_learning_rate)
        self._critic_optimizer = adam(self.critic, config.critic_learning_rate)
        self._replay = SlateReplay(config.buffer_size)
        self._slot_rewards = SlotRewards()
        self._gathered: list[Transitions] = []

    def _policy(self) -> TokenPolicy | ItemPolicy:
        config = self.config
        form = (self.market, config.encoder, config.width)
        if config.flat:
            return ItemPolicy(*form)
        how = (config.residual, config.autoregressive, config.together)
        return TokenPolicy(*form, config.codes, config.levels, *how)

    def _take_codes(self, codes: Tensor) -> None:
        self.codes = codes.long()  # (I, L)
        self.tree = TokenTree(self.codes[torch.from_numpy(self.market.candidates)], self.config.codes)

    @torch.no_grad()
    def act(self, observations: Observations, *, explore: bool = False) -> np.ndarray:
        """See :meth:`Agent.act`; exploring draws the items of a slate one after the other without replacement."""
        draw = self.chance.uniform if explore else None
        can_be_shown = available(observations)  # (B, P)
        return self.actor.best(observations, self.tree, can_be_shown, self.slate_size, self.config.beam, draw).numpy()

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """Log-probabilities of the items, if all of them could be shown."""
        return self.actor.scores(observations, items, self.codes[items])  # (B, n)

    def update(self, transitions: Transitions) -> dict[str, Tensor]:
        """Gather one request of ``B`` users, and learn when there are enough; metrics are those of the last steps."""
        config = self.config
        self._replay.add(transitions)
        self._gathered.append(transitions)
        if sum(len(step.rewards) for step in self._gathered) < config.requests_per_update:
            return {}
        requests, self._gathered = joined(self._gathered), []
        self._slot_rewards.add(requests.responses, requests.is_seen, requests.rewards)
        metrics: dict[str, Tensor] = {}
        for _ in range(config.critic_updates):
            metrics = self._learn_values(self._replay.sample(config.batch_size, self._draws))
        return metrics | self._learn_policy(requests)

    @torch.no_grad()
    def _targets(self, requests: Requests) -> tuple[Tensor, Tensor]:
        """What the critic is to say of the requests' states (S,), and of their slots (S, K).

        All slots are credited with what follows the request: each of its items may have brought it about.
        """
        config = self.config
        following = self.target.values(requests.next_observations)  # (S,)
        after = requests.terminated, config.gamma, config.inverted_mask
        of_state = td_target(requests.rewards, following, *after)  # (S,)
        own = self._slot_rewards.share(requests.responses, requests.is_seen, requests.rewards)  # (S, K)
        later = own.flip(1).cumsum(1).flip(1) - own  # (S, K)
        follows = of_state - requests.rewards  # (S,)
        return of_state, own + config.later * later + follows.unsqueeze(1)

    def _learn_values(self, requests: Requests) -> dict[str, Tensor]:
        config = self.config
        of_state, of_slots = self._targets(requests)  # (S,), (S, K)
        value, values = self.critic(requests.observations, self.codes[requests.items])  # (S,), (S, K, depths)
        value_loss = (value - of_state).square().mean()
        errors = (values - of_slots.unsqueeze(-1)).square()  # (S, K, depths)
        slot_loss = (errors.mean(-1) * shares(requests.is_seen)).sum()
        descend(self._critic_optimizer, self.critic, value_loss + slot_loss, config.max_gradient_norm)
        soft_update(self.target, self.critic, config.tau)
        return {
            "value": value.detach().mean(),
            "target": of_state.mean(),
            "value_loss": value_loss.detach(),
            "slot_loss": slot_loss.detach(),
        }

    def _learn_policy(self, requests: Requests) -> dict[str, Tensor]:
        config, share, codes = self.config, shares(requests.is_seen), self.codes[requests.items]  # (S, K), (S, K, L)
        with torch.no_grad():
            _, values = self.critic(requests.observations, codes)  # (S, K, depths)
        advantages = token_advantages(values, self._targets(requests)[1], config.trace)  # (S, K, depths)
        gains = self._slot_rewards.gains(requests.responses, requests.is_seen)  # (S, K)
        asked = requests.observations, self.tree, requests.observations[AVAILABLE], self.places(requests.items)
        is_choice = self.actor.choices(codes)  # (S, K, L)
        before = None
        for _ in range(config.epochs):
            log_probs, entropies = self.actor.token_log_probs(*asked)  # (S, K, L) each
            before = log_probs.detach() if before is None else before  # nothing was learned since they acted
            ratios = (log_probs - before).clamp_max(MOST_LOG_RATIO).exp()  # (S, K, L)
            earned = clipped_gains(ratios, advantages, config.clip) * is_choice  # (S, K, L)
            liked = gains * log_probs.sum(-1)  # (S, K)
            each = (earned + config.entropy * entropies).sum(-1) + config.supervised * liked  # (S, K)
            descend(self._actor_optimizer, self.actor, -(share * each).sum(), config.max_gradient_norm)
        weights = share.unsqueeze(-1)  # (S, K, 1)
        return (
            {"supervised_loss": -(share * liked).detach().sum()}
            | _by_level("entropy", (weights * entropies.detach()).sum((0, 1)))
            | _by_level("advantage", (weights * advantages.abs()).sum((0, 1)))
        )

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the networks, and the semantic ids of the catalogue."""
        actor = {f"actor.{name}": tensor for name, tensor in self.actor.state_dict().items()}
        return super().tensors() | actor | {"codes": self.codes}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Agent.load_tensors`."""
        codes = tensors["codes"]
        if codes.shape != self.codes.shape:
            raise ValueError(
                f"semantic ids: got codes of shape {tuple(codes.shape)}, allowed {tuple(self.codes.shape)}, of every "
                "item of the catalogue; load the agent with an environment over the simulator that it was trained on"
            )
        super().load_tensors(tensors)
        self.actor.load_state_dict(below(tensors, "actor"))
        self._take_codes(codes)


def token_advantages(values: Tensor, targets: Tensor, trace: float) -> Tensor:
    """What each token of an item adds to what is expected of it.

    Args:
        values: (..., depths) of the prefixes that end before each token.
        targets: (...) what the item brought, and what is expected to follow.
        trace: See :class:`HSRLConfig`.

    Returns:
        (..., depths): the next prefix's value, or after the last token the target, less the prefix's own; with what the
        tokens after it add, in powers of ``trace``. Without a trace they sum to the error of the first value.
    """
    added = torch.cat([values[..., 1:], targets.unsqueeze(-1)], -1) - values  # (..., depths)
    columns = list(added.unbind(-1))
    for level in reversed(range(len(columns) - 1)):
        columns[level] = columns[level] + trace * columns[level + 1]
    return torch.stack(columns, -1)


def clipped_gains(ratios: Tensor, advantages: Tensor, clip: float) -> Tensor:
    """min(ratio A, clip(ratio) A), ratios clipped to 1 - ``clip`` and 1 + ``clip`` (Schulman et al., "Proximal Policy
    Optimization Algorithms", 2017, Eq. 7)."""
    return torch.minimum(ratios * advantages, ratios.clamp(1 - clip, 1 + clip) * advantages)


def shares(is_seen: Tensor) -> Tensor:
    """(S, K) the weight of each slot in a mean over those that were seen."""
    return is_seen / is_seen.sum().clamp_min(1)


def joined(steps: list[Transitions]) -> Requests:
    """The requests of several steps, with what could be shown among the observations."""

    def column(name: str, key: str | None = None) -> Tensor:
        values = (getattr(step, name) for step in steps)
        return torch.cat([torch.as_tensor(value if key is None else value[key]) for value in values])

    return Requests(
        observations={key: column("observations", key) for key in STATE_KEYS}
        | {AVAILABLE: column("observations", AVAILABLE).bool()},
        actions=column("actions"),
        items=column("items"),
        responses=column("responses"),
        is_seen=column("is_seen"),
        rewards=column("rewards"),
        next_observations={key: column("next_observations", key) for key in STATE_KEYS},
        terminated=column("terminated"),
        next_available=None,
    )


def _by_level(name: str, values: Tensor) -> dict[str, Tensor]:
    return {f"{name}_{level}": value for level, value in enumerate(values)}
