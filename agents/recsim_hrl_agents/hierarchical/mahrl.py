"""MaHRL: a high level that sets M goals for every c items, and a low level that shows items under them (SIGIR 2020).

The high-level agent (HRA) reads what was clicked and ordered and emits goals of the same form as actions (Eq. 4); each
guides the low level for a sub-period of c // M items. The low-level agent (LRA) is DDPG+ (:mod:`..flat.ddpg`), paid by
the user and, with weight alpha, for showing items like its goal (Eq. 10, 11). The user's rewards of a period, shared
out among its goals (Eq. 12, 13), pay the high level.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recsim_hrl.wrappers.goals import active_goal, assign_rewards, check_beta, check_period
from recsim_hrl_agents.actor_critic import ActorCritic, below
from recsim_hrl_agents.base import Agent, Array, Observations, Transitions
from recsim_hrl_agents.buffers import Ring
from recsim_hrl_agents.draws import SessionDraws
from recsim_hrl_agents.flat.ddpg import DDPG, GOAL, DDPGConfig
from recsim_hrl_agents.hierarchical.periods import Periods
from recsim_hrl_agents.market import HISTORIES, Market
from recsim_hrl_agents.networks import GoalActor, GoalCritics, GoalProducts, Histories, StateEncoder, soft_update


@dataclass(frozen=True)
class MaHRLConfig(DDPGConfig):
    """Settings of MaHRL; those of :class:`DDPGConfig` are the low level's.

    The paper's own: alpha 0.5, beta 1, c 10, M 2, guide "reward", relu_output True, n_step 1, gamma 0.95, learning
    rates 1e-6, buffers of 400, of which 40 are drawn at each step.
    """

    c: int = 10
    """Items shown under one set of goals."""
    M: int = 2
    """Goals of a set, each for c // M items."""
    alpha: float = 0.1
    """Weight of the internal reward (Eq. 10)."""
    beta: float = 1.0
    """What a goal earns of the rewards under the goals before it (Eq. 13): 0 nothing, 1 all."""
    guide: Literal["reward", "state", "both"] = "both"
    """How a goal reaches the low level: by the internal reward alone (Eq. 6-8 and 10), as a part of its state alone
    (HRL-S), or both (the policy S^L x G -> A of section 2.1). This decides ``sees_goal``."""
    high_histories: tuple[str, ...] = ("clicked", "ordered")
    """Histories that make up the high level's state (Eq. 3)."""
    high_gamma: float = 0.95
    """Discount of a period."""
    high_batch_size: int = 128
    """Periods per gradient update of the high level."""
    high_buffer_size: int = 20_000
    """Periods kept for replay."""
    high_learning_rate: float = 1e-3
    """Adam step size of the high level's actor and critics."""
    high_noise: float = 0.5
    """Length of the Gaussian noise on goals relative to the goal."""
    high_epsilon: float = 0.2
    """Share of exploring goals that are the embedding of a random item."""
    search: int = 0
    """Above 0 goals are the items that the high level's critics value most, and its critics learn from the best of so
    many random ones, as the best of all would be the most overestimated; 0: its actor's goals, as in the paper."""
    temperature: float = 0.0
    """With ``search``, goals are drawn with chances in proportion to exp(value / temperature), when judged as well; 0:
    the best. What a user has tired of is soon out of sight, and who always takes the best comes back to it."""
    products: bool = False
    """Whether the high level's critics multiply features of state and goal, or add them, as in the paper (Eq. 5)."""
    knows_internal: bool = False
    """Whether the low level's critic is told the internal reward of an item under a goal, or learns it too, as in the
    paper (Eq. 8). It has to see the goal for that, and without an internal reward (guide "state") nothing changes."""
    realised: bool = True
    """Whether the critics learn from the mean of the items shown under a goal, in place of the goal: what Eq. 2 does
    with virtual and real actions. The paper's Algorithm 1 keeps the goal (False)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_period(self.c, self.M)
        check_beta(self.beta)
        if self.guide not in ("reward", "state", "both"):
            raise ValueError(f"MaHRLConfig guide: got {self.guide!r}, allowed 'reward', 'state' or 'both'")
        for name in ("from_goal", "knows_internal"):
            if getattr(self, name) and self.guide == "reward":
                raise ValueError(f"MaHRLConfig {name}: got True with guide 'reward', allowed with 'state' or 'both'")
        if self.products and self.relu_output:
            raise ValueError("MaHRLConfig relu_output: got True with products=True, allowed with products=False")
        if not self.high_histories or not set(self.high_histories) <= set(HISTORIES):
            raise ValueError(f"MaHRLConfig high_histories: got {self.high_histories}, allowed some of {HISTORIES}")
        for name in ("high_batch_size", "high_buffer_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"MaHRLConfig {name}: got {getattr(self, name)}, allowed 1 or more")
        for name in ("high_gamma", "high_epsilon"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"MaHRLConfig {name}: got {getattr(self, name)}, allowed 0 to 1")
        for name in ("alpha", "high_noise", "search", "temperature"):
            if getattr(self, name) < 0:
                raise ValueError(f"MaHRLConfig {name}: got {getattr(self, name)}, allowed 0 or more")
        if self.temperature and not self.search:
            raise ValueError(f"MaHRLConfig temperature: got {self.temperature}, allowed 0 without search")
        if self.high_learning_rate <= 0:
            raise ValueError(f"MaHRLConfig high_learning_rate: got {self.high_learning_rate}, allowed above 0")

    def low_level(self) -> DDPGConfig:
        """Settings of the low level."""
        own = {field.name: getattr(self, field.name) for field in fields(DDPGConfig)}
        known = self.alpha if self.knows_internal and self.guide == "both" else 0.0
        return DDPGConfig(**own | {"sees_goal": self.guide != "reward", "known_reward": known})


def _argmax(values: Tensor) -> Tensor:
    """(..., K) -> (...)."""
    return values.argmax(-1)


class HighLevelAgent(ActorCritic):
    """The high-level agent: M actors on a shared encoder, M critics on another, target networks, replay memory."""

    def __init__(self, low: DDPG, config: MaHRLConfig, seed: int) -> None:
        self.config, self.device, self.items, self._low = config, low.device, low.items, low
        self._draws = torch.Generator(low.device).manual_seed(seed)
        width, bound = low.market.embedding_dim, low.market.action_bound

        def encoder() -> StateEncoder:
            return StateEncoder(config.high_histories, width, config.hidden)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            actor = GoalActor(encoder(), width, bound, config.M)
            critic = (
                GoalProducts(encoder(), width, config.critic_width, config.M)
                if config.products
                else GoalCritics(encoder(), width, config.critic_width, config.M, config.relu_output)
            )
        rates = config.high_learning_rate, config.high_learning_rate
        self._learn_with(actor.to(self.device), critic.to(self.device), *rates)
        # What a goal earns of each step's reward (Eq. 12, 13): the assignment is linear, so a matrix does it.
        shares = assign_rewards(np.eye(config.c), config.M, config.beta)[0]
        self._shares = torch.tensor(shares, dtype=torch.float32, device=self.device)  # (c, M)
        self.memory = Ring(config.high_buffer_size, self.device)

    @torch.no_grad()
    def goals(
        self, observations: Observations, explore: bool, warming: bool, choose: Callable[[Tensor], Tensor] = _argmax
    ) -> Tensor:
        """(B, M, D) goals for users with these observations (Eq. 4); items as goals are chosen by their values."""
        # Among all: what was never tried out is not to be what is judged.
        histories = self.items(observations, self.config.high_histories)
        goals = self._best(histories, self.actor, among_some=False, choose=choose)
        if not explore:
            return goals
        where = {"generator": self._draws, "device": self.device}
        if not self.config.search:  # goals that are items stay items, as the critics will be asked about items
            noise = torch.randn(goals.shape, **where) * self._low.item_length / goals.shape[-1] ** 0.5  # (B, M, D)
            goals = self._low.at_item_length(goals + self.config.high_noise * noise)
        random_items = self._low.candidates[torch.randint(0, len(self._low.candidates), goals.shape[:2], **where)]
        epsilon = 1.0 if warming else self.config.high_epsilon
        return torch.where(torch.rand((*goals.shape[:2], 1), **where) < epsilon, random_items, goals)

    def _best(
        self, histories: Histories, actor: GoalActor, among_some: bool, choose: Callable[[Tensor], Tensor] = _argmax
    ) -> Tensor:
        """(B, M, D) the actor's goals, or those that the critics value most among items, all of them or ``search``."""
        if not self.config.search:
            return self._low.at_item_length(actor(histories))
        items = self._low.candidates  # (K, D)
        if among_some:
            items = items[
                torch.randint(0, len(items), (self.config.search,), generator=self._draws, device=self.device)
            ]
        # Realised goals, which the critics learn from, are of one length.
        valued = self._low.at_item_length(items) if self.config.realised else items  # (K, D)
        return items[choose(self.critic.values(self.critic.encoder(histories), valued))]

    def store(
        self, seen: Histories, goals: Tensor, rewards: Tensor, steps: np.ndarray, after: Histories, left: Tensor
    ) -> None:
        """Keep periods (n, ...): ``rewards`` (n, c) of their ``steps`` (n,), and whether the user ``left`` (n,)."""
        config = self.config
        started = np.arange(config.M) * (config.c // config.M) < steps[:, None]  # (n, M)
        values = {
            "goals": goals,
            "rewards": rewards @ self._shares,  # (n, M) Eq. 13
            "started": torch.as_tensor(started, device=self.device).float(),
            "discount": config.high_gamma * (1.0 - left.float()),
            **{f"seen/{key}": value for key, value in seen.items()},
            **{f"after/{key}": value for key, value in after.items()},
        }
        self.memory.add(values, len(steps))

    def learn(self) -> dict[str, Tensor]:
        """One update of critics (Eq. 14, 15), actors (Eq. 16) and targets (Algorithm 1, line 29)."""
        if not len(self.memory):
            return {}
        config = self.config
        batch = self.memory.sample(config.high_batch_size, self._draws)
        seen, after = (
            self.items({key: batch[f"{when}/{key}"] for key in config.high_histories}, config.high_histories)
            for when in ("seen", "after")
        )
        with torch.no_grad():
            following = self._best(after, self.target_actor, among_some=True)  # (S, M, D)
            target = batch["rewards"] + batch["discount"][:, None] * self.target_critic(after, following)  # (S, M)
        state = self.critic.encoder(seen)  # (S, hidden)
        q = self.critic.value(state, batch["goals"])  # (S, M)
        loss = (batch["started"] * (q - target).square()).sum() / batch["started"].sum()
        self._descend(self._critic_optimizer, self.critic, loss)
        if config.search:
            soft_update(self.target_critic, self.critic, config.tau)  # the actor is not asked
            return {"high_q": q.detach().mean(), "high_critic_loss": loss.detach(), "high_target": target.mean()}
        goals = self.actor(seen)  # (S, M, D)
        actor_q = self.critic.value(state.detach(), self._low.at_item_length(goals))  # (S, M)
        self._descend(self._actor_optimizer, self.actor, -actor_q.sum(-1).mean())
        self._follow()
        saturated = (goals.detach().abs() > 0.99 * self.actor.bound).float().mean()
        return {
            "high_q": q.detach().mean(),
            "high_actor_q": actor_q.detach().mean(),
            "high_critic_loss": loss.detach(),
            "high_target": target.mean(),
            "high_saturation": saturated,
        }


class MaHRL(Periods, Agent):
    """Two levels; see the module."""

    name = "mahrl"
    config_class = MaHRLConfig
    learns_from = "environment"
    takes_tensors = True

    def __init__(
        self, market: Market, config: MaHRLConfig | None = None, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(market, config or MaHRLConfig(), seed)
        self.device = torch.device(device)
        self.low = DDPG(market, self.config.low_level(), seed, self.device)
        self.high = HighLevelAgent(self.low, self.config, seed + 1)
        self._draws = torch.Generator(self.device).manual_seed(seed + 2)
        self._session_draws = SessionDraws(seed)
        self._position = np.zeros(0, np.int64)

    def _allocate(self, size: int) -> None:
        config, width = self.config, self.market.embedding_dim
        self._goals = torch.zeros((size, config.M, width), device=self.device)  # (B, M, D)
        self._earned = torch.zeros((size, config.c), device=self.device)  # (B, c)
        self._sums = torch.zeros((size, config.M, width), device=self.device)  # (B, M, D) of items shown
        self._seen: dict[str, Tensor] = {}

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`Periods.begin`."""
        self.low.begin(starting, seeds)
        super().begin(starting, seeds)

    def act(self, observations: Observations, *, explore: bool = False) -> Array:
        """See :meth:`Agent.act`; new goals where a period is over (Algorithm 1, lines 9 to 14)."""
        self._renew(self._due(observations, explore), observations, explore)
        goal = self._goals[self._active(self._position)]
        self._position += 1
        return self.low.act({**observations, GOAL: goal}, explore=explore)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The low-level critic's values at the start of a session, under the first of the high level's goals (4.2.2);
        where goals are no part of the low level's state they do not matter."""
        goals = self.high.goals(observations, explore=False, warming=False)  # (B, M, D)
        return self.low._scores({**observations, GOAL: goals[:, 0]}, items)

    def _renew(self, index: np.ndarray, observations: Observations, explore: bool) -> None:
        """Set goals for the users ``index`` (n,)."""
        if not len(index):
            return
        on = torch.as_tensor(index, device=self.device)
        seen = self._high_observations(observations, on)
        for key, value in seen.items():
            if key not in self._seen:
                self._seen[key] = torch.zeros(
                    (len(self._position), *value.shape[1:]), dtype=value.dtype, device=self.device
                )
            self._seen[key][on] = value
        choose = partial(self._choose, rows=index, explore=explore)
        self._goals[on] = self.high.goals(seen, explore, self.low.is_warming_up, choose)
        self._earned[on], self._sums[on] = 0.0, 0.0
        self._position[index] = 0

    def _high_observations(self, observations: Observations, on: Tensor) -> dict[str, Tensor]:
        """What the high level sees of the users ``on`` (n,)."""
        return {key: torch.as_tensor(observations[key], device=self.device)[on] for key in self.config.high_histories}

    def _active(self, position: np.ndarray) -> tuple[Tensor, Tensor]:
        """Index (B,), (B,) into (B, M, ...) of the goals that guide the steps at ``position`` (B,) of their periods."""
        which = active_goal(position, self.config.c, self.config.M)  # (B,)
        return torch.arange(len(which), device=self.device), torch.as_tensor(which, device=self.device)

    def update(self, transitions: Transitions) -> dict[str, Tensor]:
        """Pay both levels for one step and let them learn (Algorithm 1, lines 15 to 30)."""
        config, position = self.config, self._position - 1
        active = self._active(position)
        goal = self._goals[active]  # (B, D)
        shown = self.low.real_action(transitions.seen_items)  # (B, D)
        external = torch.as_tensor(transitions.rewards, device=self.device)  # (B,)
        internal = torch.nn.functional.cosine_similarity(shown, goal)  # (B,) Eq. 11
        rewards = external if config.guide == "state" else external + config.alpha * internal  # (B,) Eq. 10
        self._earned[active[0], torch.as_tensor(position, device=self.device)] = external
        self._sums[active] += shown

        over = self._position == config.c
        if over.any():
            self._close(over, transitions)
            self._renew(np.flatnonzero(over), transitions.next_observations, True)
        following = self._goals[self._active(self._position)]  # (B, D)
        self._last = transitions
        metrics = self.low.update(
            replace(
                transitions,
                observations={**transitions.observations, GOAL: goal},
                rewards=rewards,
                next_observations={**transitions.next_observations, GOAL: following},
            )
        )
        if not metrics:
            return {}
        return metrics | {"internal_reward": internal.mean()} | self.high.learn()

    def _close(self, rows: np.ndarray, transitions: Transitions) -> None:
        """Hand the periods of ``rows`` (B,) to the high level."""
        index = np.flatnonzero(rows)
        on = torch.as_tensor(index, device=self.device)
        after = self._high_observations(transitions.next_observations, on)
        goals = self._goals[on]
        if self.config.realised:
            sums = self._sums[on]  # (n, M, D)
            told = sums.norm(dim=-1, keepdim=True) > 0.01 * self.low.item_length  # items may cancel out
            goals = torch.where(told, self.low.at_item_length(sums), goals)
        left = torch.as_tensor(transitions.terminated, device=self.device)[on]
        seen = {key: value[on] for key, value in self._seen.items()}
        self.high.store(seen, goals, self._earned[on], self._position[index], after, left)

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the eight networks."""
        parts = {"high": self.high, "low": self.low}
        return {f"{part}.{name}": tensor for part, own in parts.items() for name, tensor in own.tensors().items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Agent.load_tensors`."""
        self.high.load_tensors(below(tensors, "high"))
        self.low.load_tensors(below(tensors, "low"))
