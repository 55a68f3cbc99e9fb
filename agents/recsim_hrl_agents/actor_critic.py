"""What agents learn with: a clipped gradient step; for policy gradients an actor, a critic, and their slow copies."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

from recsim_hrl_agents.networks import soft_update

_NETWORKS = ("actor", "critic", "target_actor", "target_critic")


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


class ActorCritic:
    """Four networks and two optimizers, for a class whose ``config`` has ``tau`` and ``max_gradient_norm``."""

    config: Any

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

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the four networks."""
        return {
            f"{network}.{name}": tensor
            for network in _NETWORKS
            for name, tensor in getattr(self, network).state_dict().items()
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """See :meth:`recsim_hrl_agents.base.Agent.load_tensors`; slow copies that were left out start anew."""
        for network in _NETWORKS:
            own = below(tensors, network) or below(tensors, network.removeprefix("target_"))
            getattr(self, network).load_state_dict(own)


def below(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Those of ``tensors`` whose names begin with ``part`` and a dot, without it."""
    return {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(f"{part}.")}
