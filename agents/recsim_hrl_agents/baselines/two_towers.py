"""A DQN network of stable-baselines3 whose values are products of a user's and an item's features."""

from collections.abc import Sequence

import torch
from stable_baselines3 import dqn
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.dqn.policies import QNetwork
from torch import Tensor, nn


class TwoTowers(nn.Module):
    """Values of all candidates: an item's features times a user's, plus the user's and the item's own.

    Args:
        width: Features of a user.
        candidates: (C, D) embeddings.
        hidden: Hidden layers of the user's tower; the last is as wide as the item's.
    """

    def __init__(self, width: int, candidates: Tensor, hidden: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("candidates", candidates, persistent=False)
        self.user = nn.Sequential(*create_mlp(width, hidden[-1] + 1, list(hidden)))
        self.item = nn.Sequential(*create_mlp(candidates.shape[1], hidden[-1] + 1, [hidden[-1]]))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C) of users with ``features`` (B, width)."""
        user, item = self.user(features), self.item(self.candidates)  # (B, E + 1), (C, E + 1)
        own = user[:, -1:] + item[:, -1]  # (B, C)
        return torch.addmm(own, user[:, :-1], item[:, :-1].T, alpha=self._scale)

    def values(self, features: Tensor, items: Tensor) -> Tensor:
        """(B, n) of n items each, with embeddings (B, n, D), for users with ``features`` (B, width)."""
        user, item = self.user(features), self.item(items)  # (B, E + 1), (B, n, E + 1)
        own = user[:, -1:] + item[..., -1]  # (B, n)
        return own + self._scale * torch.einsum("be,bne->bn", user[:, :-1], item[..., :-1])

    @property
    def _scale(self) -> float:
        """1 / sqrt(E), so that products of random features are of one size whatever their number."""
        return (self.item[-1].out_features - 1) ** -0.5


class TwoTowerDQNPolicy(dqn.MultiInputPolicy):
    """SB3's policy with :class:`TwoTowers` in place of a column per candidate."""

    def make_q_net(self) -> QNetwork:
        """Online and target network; see SB3."""
        network = super().make_q_net()
        candidates = torch.from_numpy(network.features_extractor.market.candidate_embeddings)
        network.q_net = TwoTowers(network.features_dim, candidates, self.net_arch)
        return network.to(self.device)
