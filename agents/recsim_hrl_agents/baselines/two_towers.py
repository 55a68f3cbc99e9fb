"""A DQN network of stable-baselines3 whose values are products of a user's and an item's features."""

import torch
from stable_baselines3 import dqn
from stable_baselines3.dqn.policies import QNetwork

from recsim_hrl_agents.networks import TwoTowers


class TwoTowerDQNPolicy(dqn.MultiInputPolicy):
    """SB3's policy with :class:`~recsim_hrl_agents.networks.TwoTowers` in place of a column per candidate."""

    def make_q_net(self) -> QNetwork:
        """Online and target network; see SB3."""
        network = super().make_q_net()
        candidates = torch.from_numpy(network.features_extractor.market.candidate_embeddings)
        network.q_net = TwoTowers(network.features_dim, candidates, self.net_arch)
        return network.to(self.device)
