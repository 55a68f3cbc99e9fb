"""Files of arrays that lie beside a simulator and belong to it, such as what its log covers.

A file of its own leaves the simulator's tensors and their checksum as they are, so it can be added to a folder of an
older release. It names the checksum of the simulator that it belongs to, and its own.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as dump_arrays

_FORMAT_VERSION, _ABOUT = 1, "about"


def annex_bytes(content: Any, tensors_sha256: str) -> bytes:
    """The file of ``content``, a dataclass of arrays, for the simulator whose tensors have this checksum."""
    arrays = {name: np.ascontiguousarray(array) for name, array in vars(content).items()}
    about = {"format_version": _FORMAT_VERSION, "tensors_sha256": tensors_sha256, "sha256": _checksum(content)}
    return dump_arrays(arrays, {_ABOUT: json.dumps(about)})  # under one key, as the format keeps no order of them


def read_annex(path: Path, kind: type, tensors_sha256: str, problem: Callable[[Any], str | None], command: str) -> Any:
    """Read a file of :func:`annex_bytes`.

    Args:
        path: The file.
        kind: What it holds, a dataclass of arrays.
        tensors_sha256: Checksum of the simulator that the file must belong to.
        problem: Tells what is impossible about the values read; None if nothing is.
        command: Makes such a file again.

    Raises:
        ValueError: if the file is damaged, of another format, or of another simulator.
    """
    fix = f"delete it, or make it again with `recsim-hrl {command}`"
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(_ABOUT, "{}"))
            content = kind(*(file.get_tensor(field.name) for field in dataclasses.fields(kind)))
    except (OSError, json.JSONDecodeError, RecursionError, SafetensorError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {fix}") from error
    about = about if isinstance(about, dict) else {}
    if (got := about.get("format_version")) != _FORMAT_VERSION:
        raise ValueError(f"{path}: format_version: got {got!r}, allowed {_FORMAT_VERSION}; {fix}")
    if about.get("tensors_sha256") != tensors_sha256:
        raise ValueError(f"{path}: belongs to another simulator; {fix}")
    if wrong := "checksum" if about.get("sha256") != _checksum(content) else problem(content):
        raise ValueError(f"{path}: was changed or does not fit the simulator ({wrong}); {fix}")
    return content


def _checksum(content: Any) -> str:
    digest = hashlib.sha256()
    for array in vars(content).values():
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
