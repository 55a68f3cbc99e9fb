"""What is saved: a folder with ``agent.json`` and one safetensors file; no pickle, nothing is executed on load.

The JSON names the weights file by its hash and is replaced last, in one rename. Whoever is killed in between leaves
what was saved before whole. Checkpoints of trainings are the same, with another name in place of ``agent``.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

FORMAT = 1


def plain(value: Any) -> Any:
    """``value`` as it comes back from JSON: tuples are lists."""
    return json.loads(json.dumps(value))


def save(path: str | Path, description: dict[str, Any], tensors: dict[str, Tensor], kind: str = "agent") -> Path:
    """Write ``description``, to ``<kind>.json``, and ``tensors`` to the folder ``path``; returns it."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    payload = save_safetensors({name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()})
    digest = hashlib.sha256(payload).hexdigest()
    weights = f"weights-{digest[:16]}.safetensors"
    _replace(folder / weights, payload)
    text = json.dumps({"format": FORMAT, "weights": weights, "sha256": digest, **description}, indent=2)
    _replace(folder / f"{kind}.json", text.encode())
    for stale in (*folder.glob("weights-*.safetensors"), *folder.glob(".*.json.*"), *folder.glob(".weights-*")):
        if stale.name != weights:
            stale.unlink()
    return folder


def is_saved(path: str | Path, kind: str = "agent") -> bool:
    """Whether something was saved at ``path`` as ``kind``; a save that was interrupted leaves nothing."""
    return (Path(path) / f"{kind}.json").exists()


def load(
    path: str | Path, kind: str = "agent", fix: str = "written by Agent.save; save the agent again"
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of what was saved as ``kind``; ``fix`` ends the error.

    Raises:
        ValueError: If the folder is missing, damaged, or of another format.
    """
    folder = Path(path)
    try:
        description = json.loads((folder / f"{kind}.json").read_text())
        weights = description["weights"]
        if description["format"] != FORMAT or Path(weights).name != weights:
            raise ValueError(f"format {description['format']}, weights {weights!r}")
        payload = (folder / weights).read_bytes()
        if hashlib.sha256(payload).hexdigest() != description["sha256"]:
            raise ValueError(f"{weights} does not have the hash that {kind}.json names")
        tensors = load_safetensors(payload)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(
            f"{folder}: got no readable {kind} ({error}), allowed a folder of format {FORMAT} {fix}"
        ) from error
    return description, tensors


def _replace(path: Path, payload: bytes) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(beside, "wb") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)
