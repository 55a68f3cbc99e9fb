"""Settings of agents of slates: those that are tried, as many for each, and those that won.

:mod:`benchmarks.slate_tuning` tries them; a test holds the winners to its committed table.
"""

from typing import Any

# Every trial names all that any trial of its agent varies: the table decides the settings, not the defaults.
_LOG = {"learning_rate": 5e-3, "weight_decay": 1e-4, "width": 32}
_ONLINE = {"learning_rate": 1e-3, "temperature": 0.05, "width": 32}
_A2C = {"learning_rate": 1e-3, "gamma": 0.9, "n_steps": 5}
_TD3 = {"learning_rate": 3e-4, "gamma": 0.9, "action_noise": 0.2}
_HAC = {"actor_learning_rate": 1e-3, "gamma": 0.9, "noise": 0.5}
_DQN = {"learning_rate": 1e-3, "gamma": 0.9, "epsilon": 0.1}
_MAHRL = {"c": 4, "alpha": 0.1, "high_gamma": 0.7}
_MAHRL_ITEMS = {"alpha": 0.5, "high_gamma": 0.7, "temperature": 0.3}
_HSRL = {"actor_learning_rate": 1e-3, "gamma": 0.9, "entropy": 0.01}
_GOAL_Q = {"c": 1, "gamma": 0.9, "temperature": 0.3}

SLATE_TRIALS: dict[str, tuple[dict[str, Any], ...]] = {
    "slate-supervised": (
        _LOG,
        _LOG | {"learning_rate": 2e-3},
        _LOG | {"weight_decay": 1e-2},
        _LOG | {"width": 64},
    ),
    "slate-supervised-online": (
        _ONLINE,
        _ONLINE | {"learning_rate": 1e-2},
        _ONLINE | {"temperature": 0.2},
        _ONLINE | {"width": 64},
    ),
    "slate-a2c": (_A2C, _A2C | {"learning_rate": 3e-4}, _A2C | {"gamma": 0.97}, _A2C | {"n_steps": 10}),
    "slate-ddpg": (_TD3, _TD3 | {"learning_rate": 1e-3}, _TD3 | {"gamma": 0.97}, _TD3 | {"action_noise": 0.5}),
    "slate-td3": (_TD3, _TD3 | {"learning_rate": 1e-3}, _TD3 | {"gamma": 0.97}, _TD3 | {"action_noise": 0.5}),
    "hac": (_HAC, _HAC | {"actor_learning_rate": 3e-4}, _HAC | {"gamma": 0.97}, _HAC | {"noise": 0.2}),
    "pg-ra": (_HAC, _HAC | {"actor_learning_rate": 3e-4}, _HAC | {"gamma": 0.97}, _HAC | {"noise": 0.2}),
    "slate-dqn": (_DQN, _DQN | {"learning_rate": 3e-4}, _DQN | {"gamma": 0.97}, _DQN | {"epsilon": 0.2}),
    "slateq": (_DQN, _DQN | {"learning_rate": 3e-4}, _DQN | {"gamma": 0.97}, _DQN | {"epsilon": 0.2}),
    "hsrl": (_HSRL, _HSRL | {"actor_learning_rate": 3e-3}, _HSRL | {"gamma": 0.97}, _HSRL | {"entropy": 0.003}),
    "slate-mahrl": (_MAHRL, _MAHRL | {"c": 2}, _MAHRL | {"alpha": 0.5}, _MAHRL | {"high_gamma": 0.9}),
    "slate-mahrl-items": (
        _MAHRL_ITEMS,
        _MAHRL_ITEMS | {"alpha": 0.1},
        _MAHRL_ITEMS | {"high_gamma": 0.9},
        _MAHRL_ITEMS | {"temperature": 0.1},
    ),
    "slate-goal-q": (_GOAL_Q, _GOAL_Q | {"c": 2}, _GOAL_Q | {"gamma": 0.97}, _GOAL_Q | {"temperature": 0.1}),
}
"""Settings that are tried, as many for each agent, the defaults first."""

SLATE_WINNERS: dict[str, int] = {
    "hac": 0,
    "hsrl": 3,
    "pg-ra": 0,
    "slate-a2c": 3,
    "slate-ddpg": 3,
    "slate-dqn": 3,
    "slate-goal-q": 2,
    "slate-mahrl": 3,
    "slate-mahrl-items": 0,
    "slate-supervised": 1,
    "slate-supervised-online": 0,
    "slate-td3": 1,
    "slateq": 0,
}
"""Which trial of each agent won; one that is not here has its defaults."""

SLATE_ABLATED: dict[str, tuple[str, tuple[str, ...]]] = {
    "hsrl-independent": ("hsrl", ("autoregressive",)),
    "hsrl-item-by-item": ("hsrl", ("together",)),
    "hsrl-no-residual": ("hsrl", ("residual",)),
    "hsrl-single-critic": ("hsrl", ("multi_level",)),
    "hsrl-no-entropy": ("hsrl", ("entropy",)),
    "hsrl-no-supervised": ("hsrl", ("supervised",)),
    "hsrl-flat": ("hsrl", ("flat",)),
}
"""Ablations: what each is an ablation of, and the settings that make it so; the others are that agent's."""


def slate_settings(agent: str) -> dict[str, Any]:
    """What differs from the defaults of ``agent`` in a benchmark of slates."""
    if agent in SLATE_ABLATED:
        whole, own = SLATE_ABLATED[agent]
        return {name: value for name, value in slate_settings(whole).items() if name not in own}
    return SLATE_TRIALS[agent][SLATE_WINNERS[agent]] if agent in SLATE_WINNERS else {}
