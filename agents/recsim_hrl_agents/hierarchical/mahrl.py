"""MaHRL: a high level that sets M goals for every c items, and a low level that shows items under them (SIGIR 2020).

The high-level agent (HRA) reads what was clicked and ordered and emits goals of the same form as actions (Eq. 4); each
guides the low level for a sub-period of c // M items. The low-level agent (LRA) is DDPG+ (:mod:`..flat.ddpg`), paid by
the user and, with weight alpha, for showing items like its goal (Eq. 10, 11). The user's rewards of a period, shared
out among its goals (Eq. 12, 13), pay the high level.
"""

import copy
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recsim_hrl.wrappers.goals import active_goal, assign_rewards, check_beta, check_period
from recsim_hrl_agents.base import Agent, Array, Observations, Transitions
from recsim_hrl_agents.flat.ddpg import DDPG, GOAL, DDPGConfig
from recsim_hrl_agents.market import HISTORIES, Market
from recsim_hrl_agents.networks import GoalActor, GoalCritics, ItemTable, StateEncoder, descend, soft_update


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
    """Items among whose embeddings the high level looks for the goals that its critics value most; 0: its actor's
    goals, as in the paper."""
    realised: bool = True
    """Whether the critics learn from the mean of the items shown under a goal, in place of the goal: what Eq. 2 does
    with virtual and real actions. The paper's Algorithm 1 keeps the goal (False)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_period(self.c, self.M)
        check_beta(self.beta)
        if self.guide not in ("reward", "state", "both"):
            raise ValueError(f"MaHRLConfig guide: got {self.guide!r}, allowed 'reward', 'state' or 'both'")
        if self.from_goal and self.guide == "reward":
            raise ValueError("MaHRLConfig from_goal: got True with guide 'reward', allowed with 'state' or 'both'")
        if not self.high_histories or not set(self.high_histories) <= set(HISTORIES):
            raise ValueError(f"MaHRLConfig high_histories: got {self.high_histories}, allowed some of {HISTORIES}")
        for name in ("high_batch_size", "high_buffer_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"MaHRLConfig {name}: got {getattr(self, name)}, allowed 1 or more")
        for name in ("high_gamma", "high_epsilon"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"MaHRLConfig {name}: got {getattr(self, name)}, allowed 0 to 1")
        for name in ("alpha", "high_noise", "search"):
            if getattr(self, name) < 0:
                raise ValueError(f"MaHRLConfig {name}: got {getattr(self, name)}, allowed 0 or more")
        if self.high_learning_rate <= 0:
            raise ValueError(f"MaHRLConfig high_learning_rate: got {self.high_learning_rate}, allowed above 0")

    def low_level(self) -> DDPGConfig:
        """Settings of the low level."""
        own = {field.name: getattr(self, field.name) for field in fields(DDPGConfig)}
        return DDPGConfig(**own | {"sees_goal": self.guide != "reward"})


class HighLevelAgent:
    """The high-level agent: M actors on a shared encoder, M critics on another, target networks, replay memory."""

    def __init__(self, market: Market, config: MaHRLConfig, seed: int, device: torch.device) -> None:
        self.config, self.device = config, device
        self._draws = torch.Generator(device).manual_seed(seed)
        self.items = ItemTable(market.item_embeddings, market.observation).to(device)
        self._candidates = torch.from_numpy(market.candidate_embeddings).to(device)  # (C, D)
        self.item_length = float(self._candidates.norm(dim=-1).mean())
        width, bound = market.embedding_dim, market.action_bound

        def encoder() -> StateEncoder:
            return StateEncoder(config.high_histories, width, config.hidden)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            actor = GoalActor(encoder(), width, bound, config.M)
            critic = GoalCritics(encoder(), width, config.critic_width, config.M, config.relu_output)
        self.actor, self.critic = actor.to(device), critic.to(device)
        self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)
        self._actor_optimizer = torch.optim.Adam(self.actor.parameters(), config.high_learning_rate, foreach=True)
        self._critic_optimizer = torch.optim.Adam(self.critic.parameters(), config.high_learning_rate, foreach=True)
        # What a goal earns of each step's reward (Eq. 12, 13): the assignment is linear, so a matrix does it.
        shares = assign_rewards(np.eye(config.c), config.M, config.beta)[0]
        self._shares = torch.tensor(shares, dtype=torch.float32, device=device)  # (c, M)
        self._memory: dict[str, Tensor] = {}
        self._filled = self._next = 0

    def at_item_length(self, goals: Tensor) -> Tensor:
        """``goals`` (..., D) at the length of an average item; only their direction matters (Eq. 11)."""
        return self.item_length * torch.nn.functional.normalize(goals, dim=-1)

    @torch.no_grad()
    def goals(self, observations: Observations, explore: bool, warming: bool) -> Tensor:
        """(B, M, D) goals for users with these observations (Eq. 4)."""
        goals = self._best(self.items(observations, self.config.high_histories), self.actor, explore)
        if not explore:
            return goals
        where = {"generator": self._draws, "device": self.device}
        noise = torch.randn(goals.shape, **where) * self.item_length / goals.shape[-1] ** 0.5  # (B, M, D)
        goals = self.at_item_length(goals + self.config.high_noise * noise)
        random_items = self._candidates[torch.randint(0, len(self._candidates), goals.shape[:2], **where)]
        epsilon = 1.0 if warming else self.config.high_epsilon
        return torch.where(torch.rand((*goals.shape[:2], 1), **where) < epsilon, random_items, goals)

    def _best(self, histories: dict[str, Tensor], actor: GoalActor, some: bool) -> Tensor:
        """(B, M, D) the actor's goals, or those that the critics value most among items, perhaps ``some`` of them."""
        if not self.config.search:
            return self.at_item_length(actor(histories))
        items = self._candidates  # (K, D)
        if some:
            items = items[
                torch.randint(0, len(items), (self.config.search,), generator=self._draws, device=self.device)
            ]
        return items[self.critic.values(self.critic.encoder(histories), items).argmax(-1)]

    def store(
        self, seen: Observations, goals: Tensor, rewards: Tensor, steps: np.ndarray, after: Observations, left: Tensor
    ) -> None:
        """Keep periods (n, ...): ``rewards`` (n, c) of their ``steps`` (n,), and whether the user ``left`` (n,)."""
        config = self.config
        started = np.arange(config.M) * (config.c // config.M) < steps[:, None]  # (n, M)
        values = {
            "goals": goals,
            "rewards": rewards @ self._shares,  # (n, M) Eq. 13
            "started": torch.as_tensor(started, device=self.device).float(),
            "discount": config.high_gamma * (1.0 - left.float()),
            **{f"seen/{key}": torch.as_tensor(seen[key], device=self.device) for key in config.high_histories},
            **{f"after/{key}": torch.as_tensor(after[key], device=self.device) for key in config.high_histories},
        }
        if not self._memory:
            for name, value in values.items():
                shape = (config.high_buffer_size, *value.shape[1:])
                self._memory[name] = torch.zeros(shape, dtype=value.dtype, device=self.device)
        places = (self._next + np.arange(len(steps))) % config.high_buffer_size
        rows = torch.as_tensor(places, device=self.device)
        for name, value in values.items():
            self._memory[name][rows] = value
        self._next = int(self._next + len(steps)) % config.high_buffer_size
        self._filled = min(self._filled + len(steps), config.high_buffer_size)

    def learn(self) -> dict[str, Tensor]:
        """One update of critics (Eq. 14, 15), actors (Eq. 16) and targets (Algorithm 1, line 29)."""
        if not self._filled:
            return {}
        config = self.config
        rows = torch.randint(0, self._filled, (config.high_batch_size,), generator=self._draws, device=self.device)
        batch = {name: values[rows] for name, values in self._memory.items()}
        seen, after = (
            self.items({key: batch[f"{when}/{key}"] for key in config.high_histories}, config.high_histories)
            for when in ("seen", "after")
        )
        with torch.no_grad():
            following = self._best(after, self.target_actor, True)  # (S, M, D)
            target = batch["rewards"] + batch["discount"][:, None] * self.target_critic(after, following)  # (S, M)
        state = self.critic.encoder(seen)  # (S, hidden)
        q = self.critic.value(state, batch["goals"])  # (S, M)
        loss = (batch["started"] * (q - target).square()).sum() / batch["started"].sum()
        descend(self._critic_optimizer, self.critic, loss, config.max_gradient_norm)
        if config.search:
            soft_update(self.target_critic, self.critic, config.tau)
            return {"high_q": q.detach().mean(), "high_critic_loss": loss.detach(), "high_target": target.mean()}
        goals = self.actor(seen)  # (S, M, D)
        actor_q = self.critic.value(state.detach(), self.at_item_length(goals))  # (S, M)
        descend(self._actor_optimizer, self.actor, -actor_q.sum(-1).mean(), config.max_gradient_norm)
        soft_update(self.target_actor, self.actor, config.tau)
        soft_update(self.target_critic, self.critic, config.tau)
        saturated = (goals.detach().abs() > 0.99 * self.actor.bound).float().mean()
        return {
            "high_q": q.detach().mean(),
            "high_actor_q": actor_q.detach().mean(),
            "high_critic_loss": loss.detach(),
            "high_target": target.mean(),
            "high_saturation": saturated,
        }


class MaHRL(Agent):
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
        self.high = HighLevelAgent(market, self.config, seed + 1, self.device)
        self._due = np.zeros(0, bool)  # (B,) who gets new goals before the next step

    def _fit_batch(self, size: int) -> None:
        if len(self._due) == size:
            return
        config, width = self.config, self.market.embedding_dim
        self._due = np.ones(size, bool)
        self._position = np.zeros(size, np.int64)  # (B,) items shown under the present goals
        self._goals = torch.zeros((size, config.M, width), device=self.device)  # (B, M, D)
        self._earned = torch.zeros((size, config.c), device=self.device)  # (B, c)
        self._sums = torch.zeros((size, config.M, width), device=self.device)  # (B, M, D) of items shown
        self._seen: dict[str, Tensor] = {}
        self._last: Transitions | None = None

    def begin(self, starting: Array, seeds: np.ndarray | None = None) -> None:
        """See :meth:`Agent.begin`; a period ends with its session, and no goal goes on into the next."""
        self.low.begin(starting, seeds)
        starting = np.asarray(starting)
        self._fit_batch(len(starting))
        cut_short = starting & (self._position > 0) & ~self._due
        if cut_short.any() and self._last is not None:
            self._close(cut_short, self._last)
        self._due |= starting

    def act(self, observations: Observations, *, explore: bool = False) -> Array:
        """See :meth:`Agent.act`; new goals where a period is over (Algorithm 1, lines 9 to 14)."""
        self._fit_batch(len(next(iter(observations.values()))))
        if not explore:
            self._last = None  # nobody learns from a session that is only judged
        self._due |= self._position >= self.config.c
        self._renew(self._due, observations, explore)
        self._due[:] = False
        goal = self._active(self._position)
        self._position += 1
        return self.low.act({**observations, GOAL: goal}, explore=explore)

    def _renew(self, rows: np.ndarray, observations: Observations, explore: bool) -> None:
        index = np.flatnonzero(rows)
        if not len(index):
            return
        on = torch.as_tensor(index, device=self.device)
        seen = {key: torch.as_tensor(observations[key], device=self.device)[on] for key in self.config.high_histories}
        for key, value in seen.items():
            if key not in self._seen:
                self._seen[key] = torch.zeros((len(rows), *value.shape[1:]), dtype=value.dtype, device=self.device)
            self._seen[key][on] = value
        self._goals[on] = self.high.goals(seen, explore, self.low.is_warming_up)
        self._earned[on], self._sums[on] = 0.0, 0.0
        self._position[index] = 0

    def _active(self, position: np.ndarray) -> Tensor:
        """(B, D) the goals that guide the steps at ``position`` (B,) of their periods."""
        which = active_goal(position, self.config.c, self.config.M)  # (B,)
        return self._goals[torch.arange(len(which)), torch.as_tensor(which, device=self.device)]

    def update(self, transitions: Transitions) -> dict[str, Tensor]:
        """Pay both levels for one step and let them learn (Algorithm 1, lines 15 to 30)."""
        config, position = self.config, self._position - 1
        goal = self._active(position)  # (B, D)
        shown = self.low.items.items(transitions.items)  # (B, D)
        external = torch.as_tensor(transitions.rewards, device=self.device)  # (B,)
        internal = torch.nn.functional.cosine_similarity(shown, goal)  # (B,) Eq. 11
        rewards = external if config.guide == "state" else external + config.alpha * internal  # (B,) Eq. 10
        users = torch.arange(len(position), device=self.device)
        self._earned[users, torch.as_tensor(position, device=self.device)] = external
        which = torch.as_tensor(active_goal(position, config.c, config.M), device=self.device)
        self._sums[users, which] += shown

        over = self._position >= config.c
        if over.any():
            self._close(over, transitions)
            self._renew(over, transitions.next_observations, True)
        following = self._active(self._position)  # (B, D)
        self._last = transitions
        metrics = self.low.update(
            Transitions(
                observations={**transitions.observations, GOAL: goal},
                actions=transitions.actions,
                items=transitions.items,
                rewards=rewards,
                next_observations={**transitions.next_observations, GOAL: following},
                terminated=transitions.terminated,
                truncated=transitions.truncated,
            )
        )
        if not metrics:
            return {}
        return metrics | {"internal_reward": internal.mean()} | self.high.learn()

    def _close(self, rows: np.ndarray, transitions: Transitions) -> None:
        """Hand the periods of ``rows`` (B,) to the high level."""
        index = np.flatnonzero(rows)
        on = torch.as_tensor(index, device=self.device)
        after = {
            key: torch.as_tensor(transitions.next_observations[key], device=self.device)[on]
            for key in self.config.high_histories
        }
        goals = self._goals[on]
        if self.config.realised:
            sums = self._sums[on]  # (n, M, D)
            told = sums.norm(dim=-1, keepdim=True) > 0.01 * self.high.item_length  # items may cancel out
            goals = torch.where(told, self.high.at_item_length(sums), goals)
        left = torch.as_tensor(transitions.terminated, device=self.device)[on]
        seen = {key: value[on] for key, value in self._seen.items()}
        self.high.store(seen, goals, self._earned[on], self._position[index], after, left)

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the eight networks."""
        high = {
            f"high.{network}.{name}": tensor
            for network in ("actor", "critic", "target_actor", "target_critic")
            for name, tensor in getattr(self.high, network).state_dict().items()
        }
        return high | {f"low.{name}": tensor for name, tensor in self.low.tensors().items()}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`Agent.load_tensors`."""
        self.low.load_tensors({k.removeprefix("low."): v for k, v in tensors.items() if k.startswith("low.")})
        for network in ("actor", "critic", "target_actor", "target_critic"):
            prefix = f"high.{network}."
            own = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
            getattr(self.high, network).load_state_dict(own)
