"""Q-learning over goals: each goal is an item, held for c items, and the items shown are those most like it (ours).

What MaHRL's high level does, by simpler means. Goals are items, so their values can be compared and no actor has to
find them. A value is a product of a user's and an item's features, which takes a twentieth of the time of recurrent
networks. What was shown of late is part of the state, as users tire of it. The low level is Eq. 9 alone: the goal is
the action, and the environment shows the most similar item that was not shown yet. Learning is that of semi-Markov
decision processes (Bradtke and Duff, 1994): from a period's discounted rewards, and the value of what follows it.
"""

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl_agents.actor_critic import Paced, SlowCopies, adam, descend
from recsim_hrl_agents.base import Agent, Array, Observations, Transitions, as_asked
from recsim_hrl_agents.buffers import Ring
from recsim_hrl_agents.draws import SessionDraws
from recsim_hrl_agents.hierarchical.periods import Periods
from recsim_hrl_agents.market import HISTORIES, Market
from recsim_hrl_agents.networks import DecayedMeans, ItemTable, TwoTowers, soft_update
from recsim_hrl_agents.slates.base import nearest_slate


@dataclass(frozen=True)
class GoalQConfig:
    """Settings of Q-learning over goals."""

    c: int = 10
    """Items shown under one goal."""
    histories: tuple[str, ...] = HISTORIES
    """Histories that make up the state."""
    half_lives: tuple[float, ...] = (2.0, 8.0)
    """Of the means of each history that the network reads, in items."""
    hidden: tuple[int, ...] = (64, 32)
    """Hidden layers of the user's tower; the last is as wide as the item's tower and its features."""
    gamma: float = 0.98
    """Discount of one step."""
    tau: float = 0.01
    """Share of the network that the target network takes over at each update."""
    learning_rate: float = 1e-3
    """Adam step size."""
    batch_size: int = 256
    """Periods per gradient update."""
    buffer_size: int = 100_000
    """Periods kept for replay."""
    warmup_steps: int = 20_000
    """Environment steps under random goals before learning starts."""
    steps_per_update: int = 512
    """Environment steps per gradient update: with 512 parallel users one update follows each step of them all."""
    epsilon: float = 0.1
    """Share of exploring goals that are random items."""
    temperature: float = 0.3
    """Goals are drawn with chances in proportion to exp(value / temperature), when judged as well; 0: the best. What a
    user has tired of is soon out of sight, and who always takes the best comes back to it."""
    among: int = 100
    """Random items among which the best next goal is looked for when values are learned: the best of all would be the
    most overestimated. Goals that are acted on are the best of all candidates."""
    max_gradient_norm: float = 10.0
    """Gradients are clipped to this norm."""

    def __post_init__(self) -> None:
        for name in ("c", "batch_size", "buffer_size", "steps_per_update", "among"):
            if getattr(self, name) < 1:
                raise ValueError(f"GoalQConfig {name}: got {getattr(self, name)}, allowed 1 or more")
        for name in ("gamma", "tau", "epsilon"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"GoalQConfig {name}: got {getattr(self, name)}, allowed 0 to 1")
        if self.temperature < 0:
            raise ValueError(f"GoalQConfig temperature: got {self.temperature}, allowed 0 or more")
        for name in ("learning_rate", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"GoalQConfig {name}: got {getattr(self, name)}, allowed numbers above 0")
        if self.warmup_steps < 0:
            raise ValueError(f"GoalQConfig warmup_steps: got {self.warmup_steps}, allowed 0 or more")
        if not self.histories or not set(self.histories) <= set(HISTORIES):
            raise ValueError(f"GoalQConfig histories: got {self.histories}, allowed one or more of {HISTORIES}")
        for name in ("half_lives", "hidden"):
            if not getattr(self, name) or min(getattr(self, name)) <= 0:
                raise ValueError(f"GoalQConfig {name}: got {getattr(self, name)}, allowed one or more above 0")


class GoalQ(Periods, Paced, SlowCopies, Agent):
    """See the module."""

    name = "goal-q"
    config_class = GoalQConfig
    learns_from = "environment"
    takes_tensors = True

    def __init__(
        self, market: Market, config: GoalQConfig | None = None, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(market, config or GoalQConfig(), seed)
        config, self.device = self.config, torch.device(device)
        self._draws = torch.Generator(self.device).manual_seed(seed)
        self.items = ItemTable(market.item_embeddings, market.observation).to(self.device)
        self.candidates = torch.from_numpy(market.candidate_embeddings).to(self.device)  # (C, D)
        reads = DecayedMeans(config.histories, market.embedding_dim, market.history, config.half_lives)
        self._reads = reads.to(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = TwoTowers(reads.width, self.candidates, config.hidden)
        self.network = network.to(self.device)
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self._optimizer = adam(self.network, config.learning_rate)
        self.memory = Ring(config.buffer_size, self.device)
        self._session_draws = SessionDraws(seed)
        self._steps = self._steps_without_update = 0
        self._position = np.zeros(0, np.int64)

    def _allocate(self, size: int) -> None:
        self._goals = torch.zeros(size, dtype=torch.int64, device=self.device)  # (B,) candidates
        self._earned = torch.zeros(size, device=self.device)  # (B,) discounted rewards under them
        self._seen = torch.zeros((size, self._reads.width), device=self.device)  # (B, width) when they were set

    @torch.no_grad()
    def act(self, observations: Observations, *, explore: bool = False) -> Array:
        """See :meth:`Agent.act`: the goal is the action, and a new one is set where a period is over."""
        if len(due := self._due(observations, explore)):
            self._renew(due, observations, explore)
        self._position += 1
        return as_asked(self._emit(self._goals, observations), observations)

    def _emit(self, goals: Tensor, observations: Observations) -> Tensor:
        """What shows the items most like the ``goals`` (B,), in the market's form."""
        if self.market.action == "item":
            return goals
        if self.market.action == "items":
            directions = nn.functional.normalize(self.candidates, dim=-1)  # (P, D)
            return nearest_slate(self.candidates[goals], directions, observations, self.market.slate_size)
        return self.candidates[goals]

    def _renew(self, rows: np.ndarray, observations: Observations, explore: bool) -> None:
        """Set goals for the users at ``rows`` (n,)."""
        on = torch.as_tensor(rows, device=self.device)
        seen = self._read(observations)[on]  # (n, width)
        where = {"generator": self._draws, "device": self.device}
        goals = self._choose(self.network(seen), rows, explore)  # (n,)
        if explore:
            epsilon = 1.0 if self.is_warming_up else self.config.epsilon
            random_goals = torch.randint(0, len(self.candidates), goals.shape, **where)  # (n,)
            goals = torch.where(torch.rand(goals.shape, **where) < epsilon, random_goals, goals)
        self._goals[on], self._seen[on], self._earned[on] = goals, seen, 0.0
        self._position[rows] = 0

    def _read(self, observations: Observations) -> Tensor:
        """(B, width) what the network is told of users with these observations."""
        windows = {key: torch.as_tensor(observations[key], device=self.device) for key in self.config.histories}
        return self._reads(self.items, windows)

    def update(self, transitions: Transitions) -> dict[str, Tensor]:
        """Add one step to the periods, keep those that are over, and make the gradient updates that are due."""
        config = self.config
        rewards = torch.as_tensor(transitions.rewards, device=self.device).float()  # (B,)
        weights = torch.as_tensor(config.gamma ** (self._position - 1), device=self.device).float()  # (B,)
        self._earned += weights * rewards
        self._last = transitions
        over = self._position == config.c
        if over.any():
            self._close(over, transitions)
        return self._learn_when_due(len(rewards), ready=len(self.memory) > 0)

    @torch.no_grad()
    def _close(self, rows: np.ndarray, transitions: Transitions) -> None:
        index = np.flatnonzero(rows)  # (n,)
        on = torch.as_tensor(index, device=self.device)
        left = torch.as_tensor(transitions.terminated, device=self.device)[on].float()  # (n,)
        length = torch.as_tensor(self._position[index], device=self.device)  # (n,)
        values = {
            "seen": self._seen[on],
            "goals": self._goals[on],
            "returns": self._earned[on],
            "discounts": self.config.gamma**length * (1.0 - left),
            "after": self._read(transitions.next_observations)[on],
        }
        self.memory.add(values, len(index))

    def _learn(self) -> dict[str, Tensor]:
        config = self.config
        batch = self.memory.sample(config.batch_size, self._draws)
        with torch.no_grad():
            where = {"generator": self._draws, "device": self.device}
            some = self.candidates[torch.randint(0, len(self.candidates), (config.among,), **where)]  # (A, D)
            best = self.network.among(batch["after"], some).argmax(-1, keepdim=True)  # (S, 1)
            following = self.target.among(batch["after"], some).gather(1, best)[:, 0]  # (S,)
            target = batch["returns"] + batch["discounts"] * following  # (S,) 0 follows a user who left
        goals = self.candidates[batch["goals"].long()]  # (S, D)
        q = self.network.values(batch["seen"], goals[:, None])[:, 0]  # (S,)
        loss = (q - target).square().mean()
        descend(self._optimizer, self.network, loss, config.max_gradient_norm)
        soft_update(self.target, self.network, config.tau)
        return {"q": q.detach().mean(), "target": target.mean(), "loss": loss.detach()}

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The values of the items as goals."""
        return self.network.values(self._read(observations), self.items.items(items))  # (B, n)
