"""Semantic ids on disk: one file of arrays, which cannot execute code and is checked when it is read."""

from __future__ import annotations

from pathlib import Path

from recsim_hrl.arrays_file import arrays_bytes, read_arrays, write_beside
from recsim_hrl.semantic_ids.ids import SemanticIdError, SemanticIds

FORMAT_VERSION = 1
_NAMES = ("codebooks", "codes")


def save_semantic_ids(ids: SemanticIds, path: str | Path) -> Path:
    """Write ``ids`` to the file ``path``, whole or not at all; a file that is there is replaced."""
    arrays = {name: getattr(ids, name) for name in _NAMES}
    return write_beside(Path(path), arrays_bytes(arrays, {"provenance": ids.provenance}, FORMAT_VERSION))


def load_semantic_ids(path: str | Path, items: int | None = None, width: int | None = None) -> SemanticIds:
    """Read the file ``path``.

    Args:
        path: A file of :func:`save_semantic_ids`.
        items: Size of the catalogue that the ids have to be of; any without.
        width: Width of its embeddings; any without.

    Raises:
        SemanticIdError: if the file is damaged, was changed, is of another format or of another catalogue's shape, or
            two items share a code.
    """
    fix = "make it again with `recsim-hrl semantic-ids`"
    try:
        arrays, about = read_arrays(Path(path), _NAMES, FORMAT_VERSION, fix)
        ids = SemanticIds(*arrays, provenance=dict(about["provenance"]))
    except SemanticIdError as error:
        raise SemanticIdError(f"{path}: {error}") from error
    except ValueError as error:
        raise SemanticIdError(str(error)) from error
    except (KeyError, TypeError) as error:
        raise SemanticIdError(f"{path}: does not tell where the ids come from; {fix}") from error
    got = (len(ids), ids.codebooks.shape[2])
    allowed = tuple(own if asked is None else asked for own, asked in zip(got, (items, width), strict=True))
    if got != allowed:
        raise SemanticIdError(
            f"{path}: got ids of {got[0]:,} items of width {got[1]}, allowed {allowed[0]:,} items of width "
            f"{allowed[1]}, as the catalogue has; {fix}"
        )
    return ids
