"""Reading and joining the infos of vector environments, where every key has a mask and ended sub-environments
keep their last info and observation aside (Gymnasium's SAME_STEP autoreset)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray

Info = dict[str, Any]
FINAL_KEYS = ("final_obs", "final_info")


def require_same_step(env: VectorEnv) -> None:
    """Refuse a vector environment whose ended sub-environments do not restart within the step."""
    mode = env.metadata.get("autoreset_mode")
    if mode != AutoresetMode.SAME_STEP:
        raise ValueError(
            f"vector environment autoreset_mode: got {mode}, allowed AutoresetMode.SAME_STEP; make it with "
            "gym.make_vec(..., vectorization_mode='vector_entry_point'), or pass autoreset_mode to SyncVectorEnv"
        )


def seeds_of(seed: int | Sequence[int | None] | None, size: int) -> list[int | None]:
    """One seed per sub-environment, counted up from a single one as Gymnasium does."""
    if seed is None:
        return [None] * size
    if isinstance(seed, (int, np.integer)):
        return [int(seed) + row for row in range(size)]
    if len(seed) != size:
        raise ValueError(f"reset seed: got {len(seed)} seeds, expected {size}, one per sub-environment")
    return list(seed)


def step_values(infos: Info, key: str, ended: NDArray[np.bool_]) -> NDArray[Any]:
    """Values (B, ...) that the last step gave under ``key``, also where the session ended with it."""
    if "final_info" not in infos:
        return infos[key]
    last = infos["final_info"][key]
    return np.where(ended.reshape(-1, *(1,) * (last.ndim - 1)), last, infos.get(key, last))


def put_step_values(infos: Info, ended: NDArray[np.bool_], **values: NDArray[Any]) -> None:
    """Write what the last step gave, (B, ...) each: for all sub-environments, and in ``final_info`` where it ended."""
    for key, value in values.items():
        infos[key], infos[f"_{key}"] = value, np.ones(len(ended), bool)
        if ended.any():
            infos["final_info"][key], infos["final_info"][f"_{key}"] = value.copy(), ended.copy()


def final_observations(observations: Info, infos: Info, ended: NDArray[np.bool_]) -> Info:
    """What the last step led to, (B, ...) each: ``observations``, but the last ones of sessions that ended with it.

    Args:
        observations: What ``step`` returned, restarted where a session ended.
        infos: Infos of that step; ``final_obs`` is an array (B,) of observations, as in SyncVectorEnv, or one
            observation of arrays (B, ...), or of tensors, where all sessions end together.
        ended: (B,) whose session ended.
    """
    if "final_obs" not in infos:
        return observations
    if not isinstance(ended, np.ndarray):
        return infos["final_obs"]
    final, index = infos["final_obs"], np.flatnonzero(ended)
    merged = {}
    for key, value in observations.items():
        merged[key] = value.copy()
        merged[key][index] = final[key][index] if isinstance(final, dict) else [final[row][key] for row in index]
    return merged


def split_rows(observations: Info, rows: NDArray[np.bool_]) -> NDArray[np.object_]:
    """``final_obs`` in Gymnasium's form: an array (B,) of the observations of ``rows`` (B,), None elsewhere."""
    separate = np.full(len(rows), None, dtype=object)
    for row in np.flatnonzero(rows):
        separate[row] = {key: value[row].copy() for key, value in observations.items()}
    return separate


def merge_rows(into: Info, other: Info, rows: NDArray[np.bool_]) -> Info:
    """Replace the sub-environments ``rows`` (B,) of the info ``into`` by those of ``other``; returns ``into``."""
    everywhere = np.ones(len(rows), bool)
    for key in [key for key in into if f"_{key}" in into]:
        into[f"_{key}"] = into[f"_{key}"] & ~rows
    for key in [key for key in other if not key.startswith("_")]:
        present = other.get(f"_{key}", everywhere) & rows  # (B,)
        if not present.any():
            continue
        value = other[key]
        if isinstance(value, dict):
            into[key] = merge_rows(into.get(key, {}), value, rows)
        else:
            blank = np.full_like(value, None) if value.dtype == object else np.zeros_like(value)
            into[key] = into[key].copy() if key in into else blank
            into[key][present] = value[present]
        into[f"_{key}"] = into.get(f"_{key}", ~everywhere) | present
    return into
