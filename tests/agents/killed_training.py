"""A small training that the tests kill: ``python -m tests.agents.killed_training FOLDER``; a line for each record."""

import sys

import torch
from recsim_hrl_agents import make_agent, train

from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.vector.session import RecSessionVectorEnv

SMALL = {"hidden": 8, "critic_width": 8, "warmup_steps": 64, "batch_size": 8, "steps_per_update": 4, "c": 3}
STEPS, EVERY = 1_000, 40


def run(folder=None, progress=None):
    """The trained agent and its curve."""
    torch.set_num_threads(1)
    simulator = random_simulator(items=60, embedding_dim=6, users=16, categories=4, seed=3)
    env = RecSessionVectorEnv(4, simulator=simulator, session_length=7, history=4, observation="item_ids")
    agent = make_agent("mahrl", env, seed=1, **SMALL)
    curve = train(agent, env, STEPS, 5, progress, 100, checkpoint=folder, checkpoint_every=EVERY)
    return agent, curve


if __name__ == "__main__":
    run(sys.argv[1], lambda record: print(int(record["env_steps"]), flush=True))
