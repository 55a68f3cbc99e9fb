"""A simulator on disk: a folder with ``simulator.json`` (what it is) and ``tensors.safetensors`` (its numbers).

Two files may lie beside them: ``support.safetensors``, what the log holds, see :mod:`recsim_hrl.simulator.support`; and
``leaving.safetensors``, when users leave, see :mod:`recsim_hrl.simulator.leaving`.

Nothing in the folder can execute code, and reading it needs no torch. Reading checks the format version, the checksum
and every shape, so a truncated, tampered or foreign folder is refused with the reason. Folders are written by
:mod:`recsim_hrl.simulator.store`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from recsim_hrl.simulator.leaving import LEAVING_FILE, LeaveModel, read_leaving
from recsim_hrl.simulator.recurrence import Recurrence
from recsim_hrl.simulator.support import SUPPORT_FILE, Support, read_support
from recsim_hrl.simulator.tables import Memory
from recsim_hrl.simulator.weights import ItemCodes, ResponseConfig, ResponseWeights
from recsim_hrl.types import NO_ITEM, Catalogue, R, Visits

FORMAT_VERSION = 4
SPLITS = ("train", "test")
PRETRAINED = Path(__file__).parent / "pretrained"
ABOUT_FILE, ARRAYS_FILE = "simulator.json", "tensors.safetensors"


class SimulatorError(ValueError):
    """A simulator folder that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class SimulatorData:
    """All of a simulator, as arrays: catalogue, weights, pool of initial users, and where all of it came from."""

    name: str
    catalogue: Catalogue
    weights: ResponseWeights
    visits: Visits
    recall_order: np.ndarray  # (I,) a fixed permutation: `candidates=C` means its first C items
    item_counts: np.ndarray  # (I, R) how often the log holds each response to each item
    provenance: dict
    support: Support | None = None
    """What the log holds, for environments that tell where they leave it; older folders do not know it."""
    leaving: LeaveModel | None = None
    """When users leave; older folders do not know it, nor those whose log does not show it."""

    @cached_property
    def codes(self) -> ItemCodes:
        """The model's codes of the whole catalogue."""
        return self.weights.encode(self.catalogue.embeddings)

    @cached_property
    def memories(self) -> Memory:
        """The memory of each user of the pool (U, ...) at the start of the session."""
        shown, responses = self.visits.items, self.visits.responses
        known = np.unique(shown[shown != NO_ITEM])  # not all of a large catalogue
        codes = self.weights.encode(self.catalogue.embeddings[known])
        places = np.where(shown == NO_ITEM, NO_ITEM, np.searchsorted(known, shown))
        return Recurrence(self.weights, steps=1).replay(codes, places, responses)


def list_simulators() -> list[str]:
    """Names of the simulators that come with the package."""
    return sorted(folder.name for folder in PRETRAINED.iterdir() if (folder / SPLITS[0] / ABOUT_FILE).is_file())


def simulator_folder(simulator: str | Path = "default", split: str = "train") -> Path:
    """The folder that ``load_data`` reads for these arguments; its files are not looked at."""
    if split not in SPLITS:
        raise SimulatorError(f"split: got {split!r}, allowed {SPLITS}")
    folder = Path(simulator)
    if not folder.exists():
        folder = PRETRAINED / str(simulator)
        if not folder.is_dir() or folder.parent != PRETRAINED:
            raise SimulatorError(
                f"simulator: got {str(simulator)!r}, which is neither a folder nor one of {list_simulators()}; "
                "make one with `recsim-hrl fit`"
            )
    return folder if (folder / ABOUT_FILE).is_file() else folder / split


def load_data(simulator: str | Path = "default", split: str = "train") -> SimulatorData:
    """Load a simulator as arrays.

    Args:
        simulator: The name of one that comes with the package, or a folder: either of one simulator, or one that
            holds the folders ``train`` and ``test``.
        split: Which of the two to take: agents learn on ``train`` and are judged on ``test``. A folder of a single
            simulator has no splits, and the argument does not matter.

    Raises:
        SimulatorError: if there is no such simulator, or its folder is damaged or of another format.
    """
    folder = simulator_folder(simulator, split)
    about = _read_json(folder)
    try:
        blob = (folder / ARRAYS_FILE).read_bytes()
    except OSError as error:
        raise SimulatorError(f"{folder / ARRAYS_FILE}: cannot be read ({error}); fit the simulator again") from error
    if hashlib.sha256(blob).hexdigest() != about["tensors_sha256"]:
        raise SimulatorError(
            f"{folder / ARRAYS_FILE}: does not match the checksum in {ABOUT_FILE}: the file was truncated or changed; "
            "copy the folder again or fit the simulator again"
        )
    try:
        arrays = {name: value.copy() for name, value in load_arrays(blob).items()}  # its own are read-only
        shape = about["response"] | {"half_lives": tuple(about["response"]["half_lives"])}
        weights = {name[6:]: value for name, value in arrays.items() if name.startswith("model.")}
        data = SimulatorData(
            about["name"],
            Catalogue(**_part(arrays, "catalogue", Catalogue)),
            ResponseWeights(ResponseConfig(**shape), weights),
            Visits(**_part(arrays, "visits", Visits)),
            arrays["recall_order"],
            arrays["item_counts"],
            about["provenance"],
        )
        data.weights.check()
    except (KeyError, TypeError, RuntimeError, ValueError, AttributeError, SafetensorError) as error:
        message = f"{folder}: the contents do not fit together ({error}); fit the simulator again"
        raise SimulatorError(message) from error
    _check(folder, data)
    checksum = about["tensors_sha256"]
    return dataclasses.replace(
        data,
        support=_annex(read_support, folder / SUPPORT_FILE, checksum, len(data.catalogue)),
        leaving=_annex(read_leaving, folder / LEAVING_FILE, checksum, data.weights.config),
    )


def _annex(read: Callable[..., Any], path: Path, *arguments: Any) -> Any:
    """What ``read`` finds in a file that may lie beside a simulator; None where it does not."""
    if not path.exists():
        return None
    try:
        return read(path, *arguments)
    except ValueError as error:
        raise SimulatorError(str(error)) from error


def _read_json(folder: Path) -> dict:
    path = folder / ABOUT_FILE
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SimulatorError(f"{folder}: is not a simulator folder ({ABOUT_FILE} cannot be read: {error})") from error
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SimulatorError(f"{path}: is not valid JSON ({error}); copy the folder again") from error
    version = about.get("format_version") if isinstance(about, dict) else None
    if version != FORMAT_VERSION:
        raise SimulatorError(f"{path}: format_version: got {version!r}, allowed {FORMAT_VERSION}; fit it again")
    kinds = {"name": str, "response": dict, "tensors_sha256": str, "provenance": dict}
    for key, kind in kinds.items():
        if not isinstance(about.get(key), kind):
            raise SimulatorError(f"{path}: {key!r} is missing or not a {kind.__name__}; copy the folder again")
    return about


def _part(arrays: dict[str, np.ndarray], name: str, kind: type) -> dict[str, np.ndarray]:
    return {field.name: arrays[f"{name}.{field.name}"] for field in dataclasses.fields(kind)}


def _check(folder: Path, data: SimulatorData) -> None:
    """Values that have the right shapes and are still impossible."""
    size, visits, embeddings = len(data.catalogue), data.visits, data.catalogue.embeddings
    whole = {"recall_order": data.recall_order, "item_counts": data.item_counts}
    whole |= {f"visits.{name}": value for name, value in vars(visits).items()}
    whole |= {f"catalogue.{name}": getattr(data.catalogue, name) for name in ("item_ids", "categories")}
    wrong = [name for name, value in whole.items() if not np.issubdtype(value.dtype, np.integer)]
    if wrong:
        raise SimulatorError(f"{folder}: {', '.join(wrong)} are no whole numbers; fit the simulator again")
    problems = {
        "embeddings": embeddings.shape != (size, data.weights.config.embedding_dim)
        or not np.isfinite(embeddings).all(),
        "recall_order": not np.array_equal(np.sort(data.recall_order), np.arange(size)),
        "item_counts": data.item_counts.shape != (size, R) or (data.item_counts < 0).any(),
        "visits.items": visits.items.ndim != 2 or ((visits.items < NO_ITEM) | (visits.items >= size)).any(),
        "visits.responses": visits.responses.shape != visits.items.shape
        or ((visits.responses < 0) | (visits.responses >= R)).any(),
        "visits.user_ids": len(visits.user_ids) != len(visits.items) or len(visits) == 0,
        "model": not all(np.isfinite(value).all() for value in data.weights.arrays.values()),
    }
    wrong = [name for name, is_wrong in problems.items() if is_wrong]
    if wrong:
        raise SimulatorError(f"{folder}: impossible values in {', '.join(wrong)}; fit the simulator again")
