"""Rows that may be more than memory holds, in parts that are read one at a time; all of a user in one part."""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np

PARTS = 64
_IN_MEMORY = 64 << 20
"""Bytes of one spill, all parts together, above which parts move to temporary files without a name."""


class Spill:
    """Records by part; a part keeps the order in which its records came. Close it, or use it in a ``with``."""

    def __init__(self, dtype: np.dtype) -> None:
        self.dtype = dtype
        self.rows = 0
        self._files: list[Any] = [SpooledTemporaryFile(max_size=_IN_MEMORY // PARTS) for _ in range(PARTS)]

    def __enter__(self) -> "Spill":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def add(self, records: np.ndarray) -> None:
        """Add ``records`` (rows,) with a field ``user``, which decides the part."""
        part = records["user"] % PARTS
        order = np.argsort(part, kind="stable")
        cuts = np.searchsorted(part[order], np.arange(PARTS + 1))
        for number in np.unique(part):
            self.put(int(number), records[order[cuts[number] : cuts[number + 1]]])

    def put(self, part: int, records: np.ndarray) -> None:
        """Add ``records`` to one part."""
        self._files[part].write(np.ascontiguousarray(records).tobytes())
        self.rows += len(records)

    def parts(self) -> Iterator[tuple[int, np.ndarray]]:
        """Number and records of each part that has some."""
        for number, file in enumerate(self._files):
            file.seek(0)
            content = file.read()
            if content:
                yield number, np.frombuffer(content, self.dtype)
