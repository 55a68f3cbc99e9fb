"""DDPG+, the flat baseline of MaHRL: its low-level agent alone, paid by the user (sections 2.3, 3.3, 4.1.2).

The actor reads what was browsed and clicked and emits a *virtual* action, an embedding that need not be an item's
(Eq. 7); the environment shows the most similar item (Eq. 9). The critic learns from the *real* item shown (Eq. 17),
the actor follows its gradient at the virtual action (Eq. 19).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from recsim_hrl_agents.actor_critic import ActorCritic, Paced
from recsim_hrl_agents.base import Agent, Array, Observations, Transitions, as_asked
from recsim_hrl_agents.buffers import ReplayBuffer
from recsim_hrl_agents.market import HISTORIES, Market
from recsim_hrl_agents.networks import Actor, Critic, Histories, ItemTable, StateEncoder
from recsim_hrl_agents.slates.base import nearest_slate

GOAL = "goal"
"""Observation (B, D) of the goal that a high level has set, if there is one."""


@dataclass(frozen=True)
class DDPGConfig:
    """Settings of DDPG+. The paper's own: gamma 0.95, tau 0.01, learning rates 1e-6, buffer 400, batch 40."""

    histories: tuple[str, ...] = ("browsed", "clicked")
    """Histories that make up the state (Eq. 6)."""
    sees_goal: bool = False
    """Whether the state takes in the observation ``goal`` (B, D), merged like the histories."""
    from_goal: bool = False
    """Whether the actor's action is added to the goal, so that the goal itself is what it shows at first."""
    known_reward: float = 0.0
    """What the user's reward is known to be raised by per unit of the cosine of item and goal, with ``sees_goal``: the
    critic adds it to what it learns, as layers that add state and action (Eq. 8) hardly represent a product of both."""
    hidden: int = 32
    """Width of the GRUs and of the state."""
    critic_width: int = 128
    """Width of the critic's layer that joins state and action (Eq. 8)."""
    gamma: float = 0.97
    """Discount of one step."""
    tau: float = 0.01
    """Share of the networks that the target networks take over at each update."""
    actor_learning_rate: float = 1e-3
    """Adam step size of the actor."""
    critic_learning_rate: float = 1e-3
    """Adam step size of the critic."""
    batch_size: int = 128
    """Transitions per gradient update."""
    buffer_size: int = 100_000
    """Transitions kept for replay."""
    warmup_steps: int = 2_000
    """Environment steps of uniformly random items before learning starts."""
    steps_per_update: int = 64
    """Environment steps per gradient update: with 64 parallel users one update follows each step of them all."""
    n_step: int = 8
    """Steps of reward in a critic target; 1 is the paper's. Longer ones see further and are slightly off-policy."""
    noise: float = 1.0
    """Length of the Gaussian exploration noise relative to the virtual action (only its direction matters)."""
    noise_correlation: float = 0.85
    """Correlation of the noise from one step of a session to the next: 0.85 is that of Lillicrap et al. (DDPG, 2016;
    Ornstein-Uhlenbeck, theta = 0.15), 0 draws each step anew. Orders need several like items in a row to be found."""
    final_noise: float = 1.0
    """What ``noise`` falls to, linearly over ``noise_steps``. Noise also keeps a user from tiring of one kind of item:
    with too much of it until the end, the policy without noise has never been tried."""
    noise_steps: int = 40_000
    """Environment steps over which the noise falls."""
    epsilon: float = 0.05
    """Share of exploring steps that show a uniformly random item instead."""
    real_target: bool = True
    """Whether critic targets value the item that the target actor's action maps to (Eq. 2) or its virtual action."""
    rescale_virtual: bool = True
    """Whether the critic sees virtual actions at the length of an average item. The mapping (Eq. 9) ignores length,
    real items have similar lengths, and without this the actor drifts to corners where the critic saw no item."""
    gradient_at_item: bool = False
    """Whether the actor follows the critic's gradient at the item that its virtual action maps to, which is what the
    critic knows, or at the virtual action itself, as in the paper (Eq. 19)."""
    relu_output: bool = False
    """Whether q passes a ReLU, as in the paper (Eq. 8)."""
    max_gradient_norm: float = 10.0
    """Gradients of each network are clipped to this norm."""

    def __post_init__(self) -> None:
        for name in ("hidden", "critic_width", "batch_size", "buffer_size", "steps_per_update", "n_step"):
            if getattr(self, name) < 1:
                raise ValueError(f"DDPGConfig {name}: got {getattr(self, name)}, allowed 1 or more")
        for name in ("actor_learning_rate", "critic_learning_rate", "max_gradient_norm"):
            if getattr(self, name) <= 0:
                raise ValueError(f"DDPGConfig {name}: got {getattr(self, name)}, allowed numbers above 0")
        for name in ("gamma", "tau", "epsilon"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"DDPGConfig {name}: got {getattr(self, name)}, allowed 0 to 1")
        if not self.histories or not set(self.histories) <= set(HISTORIES):
            raise ValueError(f"DDPGConfig histories: got {self.histories}, allowed one or more of {HISTORIES}")
        if not 0 <= self.noise_correlation < 1:
            raise ValueError(f"DDPGConfig noise_correlation: got {self.noise_correlation}, allowed 0 to below 1")
        for name in ("noise", "final_noise", "noise_steps", "warmup_steps", "known_reward"):
            if getattr(self, name) < 0:
                raise ValueError(f"DDPGConfig {name}: got {getattr(self, name)}, allowed 0 or more")


class DDPG(Paced, ActorCritic, Agent):
    """Deep deterministic policy gradient in the low level's architecture."""

    name = "ddpg"
    config_class = DDPGConfig
    learns_from = "environment"
    takes_tensors = True

    def __init__(
        self, market: Market, config: DDPGConfig | None = None, seed: int = 0, device: torch.device | str = "cpu"
    ) -> None:
        super().__init__(market, config or DDPGConfig(), seed)
        config, self.device = self.config, torch.device(device)
        for name in ("from_goal", "known_reward"):
            if getattr(config, name) and not config.sees_goal:
                got = getattr(config, name)
                raise ValueError(f"DDPGConfig {name}: got {got}, allowed only with sees_goal=True; set both")
        self._draws = torch.Generator(self.device).manual_seed(seed)
        self._vectors = (GOAL,) if config.sees_goal else ()
        self._keys = (*config.histories, *self._vectors)
        self.items = ItemTable(market.item_embeddings, market.observation).to(self.device)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            actor = Actor(
                self._encoder(), market.embedding_dim, market.action_bound, GOAL if config.from_goal else None
            )
            critic = Critic(self._encoder(), market.embedding_dim, config.critic_width, config.relu_output)
        rates = config.actor_learning_rate, config.critic_learning_rate
        self._learn_with(actor.to(self.device), critic.to(self.device), *rates)
        self._buffer = ReplayBuffer(config.buffer_size, self._keys, self.device)
        self._noise = torch.zeros((0, market.embedding_dim), device=self.device)  # (B, D)
        self._steps = 0
        self._steps_without_update = 0
        self.candidates = torch.from_numpy(market.candidate_embeddings).to(self.device)  # (C, D)
        self.item_length = float(self.candidates.norm(dim=-1).mean())
        self._directions = torch.nn.functional.normalize(self.candidates, dim=-1)  # (C, D)

    def _encoder(self) -> StateEncoder:
        config = self.config
        return StateEncoder(config.histories, self.market.embedding_dim, config.hidden, self._vectors)

    @torch.no_grad()
    def act(self, observations: Observations, *, explore: bool = False) -> Array:
        """See :meth:`Agent.act`; exploring adds Gaussian noise and, with probability epsilon, a random item."""
        virtual = self.actor(self.items(observations, self._keys))  # (B, D)
        if explore:
            virtual = self._try_out(virtual)
        return as_asked(self._emit(virtual, observations), observations)

    def _scores(self, observations: Observations, items: Tensor) -> Tensor:
        """The critic's values of the items as they are (MaHRL 4.2.2)."""
        histories, actions = self.items(observations, self._keys), self.items.items(items)  # actions (B, n, D)
        return self.critic.value(self.critic.encoder(histories), actions) + self._known(histories, actions)  # (B, n)

    def _known(self, histories: Histories, actions: Tensor) -> Tensor | float:
        """(B, ...) the part of the value of ``actions`` (B, ..., D) that is known, under goals (B, D)."""
        if not self.config.known_reward:
            return 0.0
        goals = histories[GOAL]
        goals = goals.reshape(len(goals), *(1,) * (actions.ndim - 2), -1)  # (B, ..., D), a goal for all of its user
        return self.config.known_reward * torch.nn.functional.cosine_similarity(actions, goals, dim=-1)

    def _try_out(self, virtual: Tensor) -> Tensor:
        """(B, D) what is shown in place of ``virtual`` (B, D) to explore."""
        size, where = len(virtual), {"generator": self._draws, "device": self.device}
        length = virtual.norm(dim=-1, keepdim=True) / virtual.shape[-1] ** 0.5  # (B, 1)
        virtual = virtual + self._noise_scale() * length * self._next_noise(size)  # (B, D)
        epsilon = 1.0 if self.is_warming_up else self.config.epsilon
        random_items = self.candidates[torch.randint(0, len(self.candidates), (size,), **where)]  # (B, D)
        return torch.where(torch.rand((size, 1), **where) < epsilon, random_items, virtual)  # (B, D)

    def begin(self, starting: np.ndarray, seeds: np.ndarray | None = None) -> None:
        """See :meth:`Agent.begin`; neither returns nor noise run across the start of a session."""
        self._buffer.cut(starting)
        if len(starting) == len(self._noise):
            renewed = torch.as_tensor(starting, device=self.device)[:, None]  # (B, 1)
            self._noise = torch.where(renewed, self._normal(len(starting)), self._noise)

    def _noise_scale(self) -> float:
        config = self.config
        fallen = min(1.0, self._steps / config.noise_steps) if config.noise_steps else 1.0
        return config.noise + fallen * (config.final_noise - config.noise)

    def _normal(self, size: int) -> Tensor:
        """(B, D) standard normal numbers."""
        return torch.randn((size, self.market.embedding_dim), generator=self._draws, device=self.device)

    def _next_noise(self, size: int) -> Tensor:
        """(B, D) standard normal numbers, correlated over the steps of a session."""
        if len(self._noise) != size:
            self._noise = self._normal(size)
        kept = self.config.noise_correlation
        self._noise = kept * self._noise + (1.0 - kept**2) ** 0.5 * self._normal(size)  # the variance stays 1
        return self._noise

    def update(self, transitions: Transitions) -> dict[str, Tensor]:
        """Store one step and make the gradient updates that are due; metrics are those of the last one."""
        self._buffer.add(transitions)
        return self._learn_when_due(len(transitions.rewards))

    def _learn(self) -> dict[str, Tensor]:
        config = self.config
        batch = self._buffer.sample(config.batch_size, self._draws, config.n_step, config.gamma)
        histories = self.items(batch.observations, self._keys)  # each (S, N, D)
        target = self._target(self.items(batch.next_observations, self._keys), batch.returns, batch.discounts)  # (S,)

        state = self.critic.encoder(histories)  # (S, hidden)
        shown = self.real_action(batch.items)  # (S, D) the real items (Eq. 17, 18)
        q = self.critic.value(state, shown) + self._known(histories, shown)  # (S,)
        critic_loss = (q - target).square().mean()
        self._descend(self._critic_optimizer, self.critic, critic_loss)

        virtual = self.actor(histories)  # (S, D)
        # The state is that of the critic before its step: encoding it again would cost a third of an update.
        seen = self._seen_by_critic(virtual)  # (S, D)
        if config.gradient_at_item:
            seen = seen + (self._mapped(virtual.detach()) - seen).detach()  # (S, D)
        actor_q = self.critic.value(state.detach(), seen) + self._known(histories, seen)  # (S,)
        self._descend(self._actor_optimizer, self.actor, -actor_q.mean())  # Eq. 19

        self._follow()
        return {
            "critic_loss": critic_loss.detach(),
            "q": q.detach().mean(),
            "actor_q": actor_q.detach().mean(),
            "target": target.mean(),
            "saturation": (virtual.detach().abs() > 0.99 * self.market.action_bound).float().mean(),
        }

    @torch.no_grad()
    def _target(self, next_histories: dict[str, Tensor], returns: Tensor, discounts: Tensor) -> Tensor:
        """y = r + gamma Q'(s', a') (Eq. 17); the discount is 0 where the user left, and only there."""
        virtual = self.target_actor(next_histories)  # (S, D)
        action = self._mapped(virtual) if self.config.real_target else self._seen_by_critic(virtual)  # (S, D)
        value = self.target_critic(next_histories, action) + self._known(next_histories, action)  # (S,)
        return returns + discounts * value

    def _seen_by_critic(self, virtual: Tensor) -> Tensor:
        if not self.config.rescale_virtual:
            return virtual
        return self.at_item_length(virtual)  # (S, D)

    def at_item_length(self, vectors: Tensor) -> Tensor:
        """``vectors`` (..., D) at the length of an average item; only their direction matters (Eq. 9, 11)."""
        return self.item_length * torch.nn.functional.normalize(vectors, dim=-1)

    def real_action(self, items: Array) -> Tensor:
        """(B, D) what critics learn from: the item shown, of ``items`` (B,), or the mean of those that the user saw, of
        slates (B, K) with -1 for the others, at the length of an item."""
        shown = self.items.items(items)  # (B, D), or (B, K, D) with zeros for what was not seen
        return shown if shown.ndim == 2 else self.at_item_length(shown.sum(1))

    def _mapped(self, virtual: Tensor) -> Tensor:
        """(B, D) the real action that each virtual action stands for (Eq. 9), whether or not its items were shown."""
        if self.market.slate_size is None:
            return self.candidates[self._nearest(virtual)]
        nearest = (virtual @ self._directions.T).topk(self.market.slate_size, -1).indices  # (B, K)
        return self.at_item_length(self.candidates[nearest].sum(1))

    def _nearest(self, virtual: Tensor) -> Tensor:
        """(B,) the candidate most similar to each virtual action (Eq. 9), whether or not it has been shown."""
        return (virtual @ self._directions.T).argmax(-1)

    def _emit(self, virtual: Tensor, observations: Observations) -> Tensor:
        if self.market.action == "item":
            return self._nearest(virtual)
        if self.market.action == "items":
            return nearest_slate(virtual, self._directions, observations, self.market.slate_size)
        # Noise may leave the action space; shrinking the whole vector keeps its direction, clipping would not.
        excess = virtual.abs().amax(-1, keepdim=True) / self.market.action_bound  # (B, 1)
        shrunk = virtual / excess.clamp_min(1.0)  # (B, D)
        return shrunk.clamp(-self.market.action_bound, self.market.action_bound)  # rounding may leave it by one digit
