"""A file of named arrays with a description: safetensors, whose one piece of metadata is JSON with a checksum.

Nothing in such a file can execute code. It is written beside its place and renamed, so a reader finds the old file or
the new one and never half of one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as dump_arrays

from recsim_hrl.replaced import replaced_file

_ABOUT = "about"  # one key, as the format keeps no order of them


def arrays_bytes(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any], version: int) -> bytes:
    """The file of ``arrays`` and what is to be known ``about`` them, which JSON can hold, in a format's ``version``."""
    arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    described = {"format_version": version, **about, "sha256": _checksum(list(arrays.values()))}
    return dump_arrays(arrays, {_ABOUT: json.dumps(described)})


def read_arrays(path: Path, names: Sequence[str], version: int, fix: str) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Read a file of :func:`arrays_bytes`.

    Args:
        path: The file.
        names: Of its arrays, in the order in which they were passed.
        version: The version that is allowed.
        fix: What to do about a file that is refused; ends the errors.

    Returns:
        The arrays, and the description.

    Raises:
        ValueError: if the file is damaged, was changed, or is of another version.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = json.loads((file.metadata() or {}).get(_ABOUT, "{}"))
            arrays = [file.get_tensor(name) for name in names]
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, SafetensorError) as error:
        raise ValueError(f"{path}: cannot be read ({error}); {fix}") from error
    about = about if isinstance(about, dict) else {}
    if (got := about.get("format_version")) != version:
        raise ValueError(f"{path}: format_version: got {got!r}, allowed {version}; {fix}")
    if about.get("sha256") != _checksum(arrays):
        raise ValueError(f"{path}: does not match its checksum, so it was changed; {fix}")
    return arrays, about


def write_beside(path: Path, blob: bytes) -> Path:
    """Write ``blob`` to ``path``, whole or not at all; a file that is there is replaced."""
    with replaced_file(path) as beside:
        beside.write_bytes(blob)
    return path


def _checksum(arrays: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
