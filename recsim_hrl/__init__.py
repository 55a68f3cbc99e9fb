"""Gymnasium environments over learned user-response simulators, for hierarchical reinforcement-learning recommenders.

Importing the package registers the environment ids and nothing else::

    import gymnasium as gym
    import recsim_hrl

    env = gym.make("RecSession-v0")
"""

from recsim_hrl.registration import register_environments

register_environments()
