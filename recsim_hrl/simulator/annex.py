"""Files of arrays that lie beside a simulator and belong to it, such as what its log covers.

A file of its own leaves the simulator's tensors and their checksum as they are, so it can be added to a folder of an
older release. It names the checksum of the simulator that it belongs to, and its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recsim_hrl.arrays_file import arrays_bytes, read_arrays

_FORMAT_VERSION = 1


def annex_bytes(content: Any, tensors_sha256: str) -> bytes:
    """The file of ``content``, a dataclass of arrays, for the simulator whose tensors have this checksum."""
    return arrays_bytes(vars(content), {"tensors_sha256": tensors_sha256}, _FORMAT_VERSION)


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
    arrays, about = read_arrays(path, [field.name for field in dataclasses.fields(kind)], _FORMAT_VERSION, fix)
    if about.get("tensors_sha256") != tensors_sha256:
        raise ValueError(f"{path}: belongs to another simulator; {fix}")
    content = kind(*arrays)
    if wrong := problem(content):
        raise ValueError(f"{path}: does not fit the simulator ({wrong}); {fix}")
    return content
