"""What agents learn with: gradient steps, their pace, slow copies; for policy gradients an actor and a critic."""

import copy
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from recsim_hrl_agents.networks import soft_update


def adam(network: nn.Module, rate: float) -> torch.optim.Adam:
    """Adam over the parameters of ``network``, with steps of size ``rate``."""
    # One kernel for all parameters: with networks this small the loop over them is a fifth of an update.
    return torch.optim.Adam(network.parameters(), rate, foreach=True)


def descend(optimizer: torch.optim.Optimizer, network: nn.Module, loss: Tensor, most: float) -> None:
    """One step of ``network`` down the gradient of ``loss``, whose norm is clipped to ``most``."""
    parameters = list(network.parameters())
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    nn.utils.clip_grad_norm_(parameters, most, foreach=True)
    optimizer.step()


class Paced:
    """Learns in step with the environment, for a class with ``_learn`` whose ``config`` has ``warmup_steps`` and
    ``steps_per_update``."""

    config: Any
    _steps: int
    """Environment steps so far."""
    _steps_without_update: int
    """Those since the last update was due."""

    @property
    def is_warming_up(self) -> bool:
        """Whether nothing is learned yet."""
        return self._steps < self.config.warmup_steps

    def _learn_when_due(self, size: int, ready: bool = True) -> dict[str, Tensor]:
        """Count ``size`` more steps and make the updates that are due, if there is something to learn from (``ready``);
        metrics are those of the last one."""
        self._steps += size
        if self.is_warming_up or not ready:
            return {}
        self._steps_without_update += size
        updates, self._steps_without_update = divmod(self._steps_without_update, self.config.steps_per_update)
        metrics: dict[str, Tensor] = {}
        for _ in range(updates):
            metrics = self._learn()
        return metrics


class SlowCopies:
    """Networks and their slow copies, by name."""

    slow_copies: ClassVar[dict[str, str]] = {"target": "network"}
    """Attribute of each copy, and of the network that it follows."""

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the networks and of their slow copies."""
        return {
            f"{network}.{name}": tensor
            for network in (*self.slow_copies.values(), *self.slow_copies)
            for name, tensor in getattr(self, network).state_dict().items()
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`recsim_hrl_agents.base.Agent.load_tensors`; slow copies that were left out start anew."""
        for copied, network in self.slow_copies.items():
            own = below(tensors, network)
            getattr(self, network).load_state_dict(own)
            getattr(self, copied).load_state_dict(below(tensors, copied) or own)


class ActorCritic(SlowCopies):
    """Four networks and two optimizers, for a class whose ``config`` has ``tau`` and ``max_gradient_norm``."""

    config: Any
    slow_copies = {"target_actor": "actor", "target_critic": "critic"}

    def _learn_with(self, actor: nn.Module, critic: nn.Module, actor_rate: float, critic_rate: float) -> None:
        """Take over the networks and copy them; Adam takes steps of these sizes."""
        self.actor, self.critic = actor, critic
        self.target_actor = copy.deepcopy(actor).requires_grad_(False)
        self.target_critic = copy.deepcopy(critic).requires_grad_(False)
        self._actor_optimizer = adam(actor, actor_rate)
        self._critic_optimizer = adam(critic, critic_rate)

    def _descend(self, optimizer: torch.optim.Optimizer, network: nn.Module, loss: Tensor) -> None:
        """One step of ``network`` down the clipped gradient of ``loss``."""
        descend(optimizer, network, loss, self.config.max_gradient_norm)

    def _follow(self) -> None:
        """Bring the copies a little nearer (MaHRL Algorithm 1, lines 29 and 30)."""
        soft_update(self.target_actor, self.actor, self.config.tau)
        soft_update(self.target_critic, self.critic, self.config.tau)


def below(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Those of ``tensors`` whose names begin with ``part`` and a dot, without it."""
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
