"""The environment ids; entry points are strings, so that registering imports neither torch nor a simulator."""

from gymnasium.envs.registration import register, registry

ENVIRONMENTS = {
    "RecSession-v0": {"session_length": 50},
    "RecSessionShort-v0": {"session_length": 50},
    "RecSessionLong-v0": {"session_length": 200},
    "RecSessionFlat-v0": {"session_length": 50, "flat": True},
}
"""Registered ids and the arguments in which they differ."""


def register_environments() -> None:
    """Make every id known to ``gymnasium.make``; calling it again changes nothing."""
    for name, arguments in ENVIRONMENTS.items():
        if name not in registry:
            register(
                id=name,
                entry_point="recsim_hrl.envs.session:RecSessionEnv",
                vector_entry_point="recsim_hrl.vector.session:RecSessionVectorEnv",
                kwargs=dict(arguments),
            )
