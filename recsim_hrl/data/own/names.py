"""Names of users, items and categories, which a log has as integers: found once, numbered in order of appearance."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from recsim_hrl.data.own.values import is_number
from recsim_hrl.types import NO_ITEM


class Names:
    """Gives every name a code from 0; keeps one entry of a dict per name."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._codes)

    def add(self, text: pa.Array) -> np.ndarray:
        """Codes (rows,) int64 of names, new ones included; ``text`` has no nulls."""
        return self._encode(text, lambda name: self._codes.setdefault(name, len(self._codes)))

    def find(self, text: pa.Array) -> np.ndarray:
        """Codes (rows,) int64, NO_ITEM for a name that was never added."""
        return self._encode(text, lambda name: self._codes.get(name, NO_ITEM))

    def originals(self) -> list[str]:
        """The names in order of their codes."""
        return list(self._codes)

    @property
    def are_numbers(self) -> bool:
        """Whether all names are integers, which then are the ids."""
        return all(is_number(name) for name in self._codes)

    def ids(self) -> np.ndarray:
        """(n,) int64 id of each code in the log: the number that the name is, where all are numbers, or the code."""
        if self.are_numbers:
            return np.array([int(name) for name in self._codes], dtype=np.int64)
        return np.arange(len(self), dtype=np.int64)

    def table(self) -> pa.Table:
        """Columns ``id`` and ``name``: the way back from the log to the shop."""
        return pa.table({"id": pa.array(self.ids()), "name": pa.array(self.originals(), pa.string())})

    @staticmethod
    def _encode(text: pa.Array, code_of: Callable[[str], int]) -> np.ndarray:
        encoded = text.dictionary_encode()
        codes = np.array([code_of(name) for name in encoded.dictionary.to_pylist()], dtype=np.int64)
        return codes[encoded.indices.to_numpy(zero_copy_only=False)]
