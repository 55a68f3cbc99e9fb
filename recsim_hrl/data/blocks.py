"""Blocks of rows: columns (rows,) by name, one block of a stream at a time."""

from collections.abc import Iterable, Iterator

import numpy as np

Block = dict[str, np.ndarray]
"""Columns (rows,) by name."""


def whole_runs(blocks: Iterable[Block], column: str) -> Iterator[Block]:
    """The same rows in blocks that end where ``column`` changes; a block grows where a run of equal values is longer.

    Args:
        blocks: Blocks with one row or more.
        column: Its equal values stand together.
    """
    pending: list[Block] = []
    for block in blocks:
        values = block[column]
        cut = int(np.flatnonzero(run_starts(values))[-1])
        if pending and (cut or pending[-1][column][-1] != values[0]):
            yield joined([*pending, part(block, 0, cut)])
            pending = []
        elif cut:
            yield part(block, 0, cut)
        pending.append(part(block, cut, len(values)))
    if pending:
        yield joined(pending)


def run_starts(*columns: np.ndarray) -> np.ndarray:
    """(rows,) bool: the first row, and every one that differs from the row before in one of the ``columns`` (rows,)."""
    starts = np.zeros(len(columns[0]), dtype=bool)
    starts[:1] = True
    for values in columns:
        starts[1:] |= values[1:] != values[:-1]
    return starts


def part(block: Block, start: int, stop: int) -> Block:
    """Rows ``start`` to ``stop`` of a block."""
    return {name: values[start:stop] for name, values in block.items()}


def joined(blocks: list[Block]) -> Block:
    """The rows of one block or more, in order."""
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}
