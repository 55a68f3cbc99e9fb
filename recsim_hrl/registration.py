"""The environment ids; entry points are strings, so that registering imports neither torch nor a simulator."""

from gymnasium.envs.registration import register, registry

ENVIRONMENTS = {
    "RecSession-v0": ("RecSession", {"session_length": 50}),
    "RecSessionShort-v0": ("RecSession", {"session_length": 50}),
    "RecSessionLong-v0": ("RecSession", {"session_length": 200}),
    "RecSessionFlat-v0": ("RecSession", {"session_length": 50, "flat": True}),
    "RecSlate-v0": ("RecSlate", {}),
}
"""Registered ids: the task, and the arguments in which they differ."""

_MODULES = {"RecSession": "session", "RecSlate": "slate"}


def register_environments() -> None:
    """Make every id known to ``gymnasium.make``; calling it again changes nothing."""
    for name, (task, arguments) in ENVIRONMENTS.items():
        if name not in registry:
            register(
                id=name,
                entry_point=f"recsim_hrl.envs.{_MODULES[task]}:{task}Env",
                vector_entry_point=f"recsim_hrl.vector.{_MODULES[task]}:{task}VectorEnv",
                kwargs=dict(arguments),
            )
