"""Settings of agents for long trainings, of 512 users side by side, as :mod:`benchmarks.tuning` tries them.

A test holds them to the committed table of trials: where an agent's tuning is over they are the winner. What is not
here is the agent's default.
"""

from typing import Any

from recsim_hrl_agents.market import HISTORIES

LONG_TRAININGS: dict[str, dict[str, Any]] = {
    "mahrl": {
        "warmup_steps": 20_000,
        "steps_per_update": 256,
        "c": 20,
        "M": 2,
        "alpha": 0.5,
        "actor_learning_rate": 1e-4,
        "high_learning_rate": 1e-3,
        "high_gamma": 0.75,
        "high_histories": HISTORIES,
        "high_buffer_size": 60_000,
        "high_epsilon": 0.1,
        "from_goal": True,
        "knows_internal": True,
        "noise": 0.2,
        "final_noise": 0.1,
        "search": 100,
        "products": True,
        "realised": False,
    },
}
