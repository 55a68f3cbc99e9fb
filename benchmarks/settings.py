"""Settings of agents for long trainings, of 512 users side by side: those that are tried, and those that won.

:mod:`benchmarks.tuning` tries them; a test holds the winners to its committed table.
"""

from typing import Any

HISTORIES = ("browsed", "clicked", "ordered")
"""All that the environment tells of a session."""

# Every trial names all that any trial of its agent varies: the table decides the settings, so it must not rest on
# defaults, which are made for fewer users and steps.
_LOG = {"learning_rate": 2e-3, "weight_decay": 1e-4, "passes": 2}
_GREEDY = _LOG | {"hidden": 32, "half_lives": (2.0, 8.0)}
_CF = {"learning_rate": 5e-3, "weight_decay": 0.3, "passes": 2, "factors": 16, "agreement": 0.5}
_FM = _LOG | {"factors": 16, "half_lives": (2.0, 8.0)}
_WIDE_DEEP = _LOG | {"kinds": 32, "factors": 8, "hidden": (64, 32)}
_GRU = _LOG | {"hidden": 32}
_PACE = {"warmup_steps": 20_000, "steps_per_update": 256}
_DDPG = _PACE | {"n_step": 8, "gamma": 0.97, "actor_learning_rate": 1e-3, "final_noise": 1.0, "noise_steps": 250_000}
_DEERS = _PACE | {"gamma": 0.95, "n_step": 1, "double": False, "alpha": 0.1, "learning_rate": 1e-3}
_DEERS |= {"steps_per_update": 512, "width": 32, "joined": 16, "epsilon_steps": 250_000}
_MAHRL = _PACE | {"c": 10, "M": 2, "alpha": 0.1, "actor_learning_rate": 1e-4, "high_learning_rate": 1e-3}
_MAHRL |= {"high_gamma": 0.75, "high_histories": HISTORIES, "high_buffer_size": 60_000, "high_epsilon": 0.1}
_MAHRL |= {"from_goal": True, "noise": 0.2, "final_noise": 0.1}
_MAHRL_ITEMS = _MAHRL | {"knows_internal": True, "search": 100, "products": True, "realised": False}
_MAHRL_ITEMS |= {"c": 20, "alpha": 0.5, "temperature": 0.3, "high_batch_size": 512}
_MAHRL_ANCHORED = _MAHRL | {"c": 20, "alpha": 0.5, "knows_internal": True, "products": False, "realised": False}
_GOAL_Q = _PACE | {"c": 10, "gamma": 0.97, "learning_rate": 1e-3, "epsilon": 0.1, "temperature": 0.3}
_DQN = {"learning_starts": 20_000, "learning_rate": 1e-3, "gamma": 0.9, "exploration_final_eps": 0.05}
_DQN |= {"evaluation_eps": 0.05, "gradient_steps": 2}
_PPO = {"learning_rate": 2e-4, "gamma": 0.98, "n_epochs": 5, "net_arch": (128, 128)}
_TD3 = {"learning_starts": 20_000, "learning_rate": 3e-4, "gamma": 0.95, "action_noise": 0.2, "gradient_steps": 2}
_SAC = {"learning_starts": 20_000, "learning_rate": 3e-4, "gamma": 0.95, "ent_coef": "auto_0.01", "gradient_steps": 2}

TRIALS: dict[str, tuple[dict[str, Any], ...]] = {
    "cf": (
        _CF,
        _CF | {"weight_decay": 0.03},
        _CF | {"weight_decay": 1.0},
        _CF | {"learning_rate": 2e-3},
        _CF | {"factors": 32},
        _CF | {"agreement": 1.0},
    ),
    "fm": (
        _FM,
        _FM | {"weight_decay": 1e-2},
        _FM | {"weight_decay": 0.3},
        _FM | {"learning_rate": 5e-3},
        _FM | {"factors": 32},
        _FM | {"half_lives": (1.5, 4.0, 12.0)},
    ),
    "wide-deep": (
        _WIDE_DEEP,
        _WIDE_DEEP | {"weight_decay": 1e-2},
        _WIDE_DEEP | {"weight_decay": 0.3},
        _WIDE_DEEP | {"learning_rate": 5e-3},
        _WIDE_DEEP | {"hidden": (128, 64)},
        _WIDE_DEEP | {"kinds": 64},
    ),
    "gru": (
        _GRU,
        _GRU | {"weight_decay": 1e-2},
        _GRU | {"weight_decay": 0.3},
        _GRU | {"learning_rate": 5e-3},
        _GRU | {"hidden": 64},
        _GRU | {"passes": 1},
    ),
    "greedy": (
        _GREEDY,
        _GREEDY | {"hidden": 64},
        _GREEDY | {"learning_rate": 5e-3},
        _GREEDY | {"half_lives": (1.5, 4.0, 12.0)},
        _GREEDY | {"weight_decay": 1e-2},
        _GREEDY | {"passes": 4},
    ),
    "goal-q": (
        _GOAL_Q,
        _GOAL_Q | {"temperature": 0.15},
        _GOAL_Q | {"temperature": 0.0},
        _GOAL_Q | {"epsilon": 0.02},
        _GOAL_Q | {"learning_rate": 5e-4},
        _GOAL_Q | {"gamma": 0.98},
    ),
    "ddpg": (
        _DDPG,
        _DDPG | {"n_step": 3},
        _DDPG | {"n_step": 16, "gamma": 0.98},
        _DDPG | {"final_noise": 0.3},
        _DDPG | {"actor_learning_rate": 3e-4},
        _DDPG | {"gamma": 0.95},
    ),
    "deers": (
        _DEERS,
        _DEERS | {"double": True},
        _DEERS | {"n_step": 4},
        _DEERS | {"gamma": 0.9},
        _DEERS | {"learning_rate": 3e-4},
        _DEERS | {"alpha": 0.02},
    ),
    "mahrl": (
        _MAHRL,
        _MAHRL | {"c": 20},
        _MAHRL | {"alpha": 0.5},
        _MAHRL | {"high_histories": ("clicked", "ordered")},
        _MAHRL | {"high_learning_rate": 3e-4},
        _MAHRL | {"from_goal": False, "noise": 1.0, "final_noise": 1.0},
    ),
    "mahrl-anchored": (
        _MAHRL_ANCHORED,
        _MAHRL_ANCHORED | {"c": 10},
        _MAHRL_ANCHORED | {"alpha": 0.1},
        _MAHRL_ANCHORED | {"high_histories": ("clicked", "ordered")},
        _MAHRL_ANCHORED | {"products": True},
        _MAHRL_ANCHORED | {"realised": True},
    ),
    "mahrl-items": (
        _MAHRL_ITEMS,
        _MAHRL_ITEMS | {"temperature": 0.15},
        _MAHRL_ITEMS | {"temperature": 0.0},
        _MAHRL_ITEMS | {"c": 10, "M": 1},
        _MAHRL_ITEMS | {"alpha": 0.1},
        _MAHRL_ITEMS | {"high_batch_size": 128},
    ),
    "sb3-dqn": (
        _DQN,
        _DQN | {"gamma": 0.8},
        _DQN | {"gamma": 0.95},
        _DQN | {"learning_rate": 5e-4},
        _DQN | {"exploration_final_eps": 0.1, "evaluation_eps": 0.1},
        _DQN | {"gradient_steps": 4},
    ),
    "sb3-ppo": (
        _PPO,
        _PPO | {"learning_rate": 4e-4},
        _PPO | {"learning_rate": 1e-4},
        _PPO | {"gamma": 0.95},
        _PPO | {"n_epochs": 10},
        _PPO | {"net_arch": ()},
    ),
    "sb3-td3": (
        _TD3,
        _TD3 | {"gradient_steps": 4},
        _TD3 | {"gamma": 0.98},
        _TD3 | {"gamma": 0.9},
        _TD3 | {"action_noise": 0.5},
        _TD3 | {"learning_rate": 1e-3},
    ),
    "sb3-sac": (
        _SAC,
        _SAC | {"gradient_steps": 4},
        _SAC | {"gamma": 0.98},
        _SAC | {"gamma": 0.9},
        _SAC | {"ent_coef": "0.01"},
        _SAC | {"learning_rate": 1e-3},
    ),
}
"""Settings that were tried, as many for each agent."""

WINNERS: dict[str, int] = {
    "cf": 2,
    "fm": 3,
    "wide-deep": 4,
    "gru": 1,
    "greedy": 2,
    "goal-q": 5,
    "ddpg": 4,
    "deers": 2,
    "mahrl": 5,
    "mahrl-anchored": 4,
    "mahrl-items": 5,
    "sb3-dqn": 5,
    "sb3-ppo": 0,
    "sb3-td3": 3,
    "sb3-sac": 1,
}
"""Which trial of each agent won."""

ABLATED: dict[str, tuple[str, ...]] = {"hrl-i": ("histories", "high_histories"), "hrl-s": ("guide",), "hrl-g": ("M",)}
"""Ablations of MaHRL, and the settings that make them so: the others are MaHRL's."""


def long_settings(agent: str) -> dict[str, Any]:
    """What differs from the defaults of ``agent`` in a long training."""
    if agent in ABLATED:
        return {name: value for name, value in long_settings("mahrl").items() if name not in ABLATED[agent]}
    return TRIALS[agent][WINNERS[agent]]
