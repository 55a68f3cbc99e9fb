"""Checks over a stream of rows: sessions in one piece, steps ascending, one user a session, items known.

One object serves readers and writers, so that whatever is written can be read.
"""

import numpy as np

from recsim_hrl.data.items import ItemTable
from recsim_hrl.data.schema import Origin
from recsim_hrl.types import NO_ITEM

_SORT = "sort the rows by session_id and step"


class KeySet:
    """A growing set of int64 keys in 8 bytes each, kept as sorted runs that are merged when they are alike in size."""

    def __init__(self) -> None:
        self._runs: list[np.ndarray] = []

    def __len__(self) -> int:
        return sum(len(run) for run in self._runs)

    def add(self, keys: np.ndarray) -> np.ndarray:
        """Add ``keys`` (n,) and tell for each whether it was there before, also earlier in ``keys``: (n,) bool."""
        unique, first = np.unique(keys, return_index=True)
        known = np.zeros(len(unique), dtype=bool)
        for run in self._runs:
            place = np.searchsorted(run, unique).clip(max=len(run) - 1)
            known |= run[place] == unique
        seen = np.ones(len(keys), dtype=bool)
        seen[first] = known
        self._push(unique[~known])
        return seen

    def _push(self, run: np.ndarray) -> None:
        if not len(run):
            return
        self._runs.append(run)
        while len(self._runs) > 1 and len(self._runs[-2]) < 2 * len(self._runs[-1]):
            merged = np.concatenate([self._runs.pop(), self._runs.pop()])
            merged.sort(kind="stable")
            self._runs.append(merged)


class LogCheck:
    """Checks consecutive blocks of one log; keeps 8 bytes per session, so that one that comes back is noticed.

    Args:
        items: The item table that the rows refer to.
    """

    def __init__(self, items: ItemTable) -> None:
        self._items = items
        self._seen = KeySet()
        self._last: tuple[int, int, int] | None = None
        self.rows = 0

    @property
    def sessions(self) -> int:
        """Sessions seen so far."""
        return len(self._seen)

    def __call__(self, columns: dict[str, np.ndarray], origin: Origin) -> np.ndarray:
        """Check one block and return the catalogue index of its items.

        Args:
            columns: Converted columns (rows,), the required ones at least.
            origin: Where the block comes from.

        Returns:
            (rows,) int32 positions in the catalogue.

        Raises:
            LogError: the first violation of each kind, with its row.
        """
        session, step, user = (columns[name] for name in ("session_id", "step", "user_id"))
        if not len(session):
            return np.zeros(0, dtype=np.int32)
        before = self._last or (session[0] ^ 1, step[0], user[0])
        starts = session != _shifted(session, before[0])
        self._check_steps(session, step, ~starts & (step <= _shifted(step, before[1])), before[1], origin)
        self._check_users(session, user, ~starts & (user != _shifted(user, before[2])), before[2], origin)
        self._check_pieces(session, step, np.flatnonzero(starts), origin)
        item_index = self._items.index(columns["item_id"])
        absent = item_index == NO_ITEM
        if absent.any():
            at = int(absent.argmax())
            raise origin.error(
                f"got item {columns['item_id'][at]}, which the item table of {len(self._items)} items does not hold; "
                "add the item to the item table",
                "item_id",
                at,
            )
        self._last = (int(session[-1]), int(step[-1]), int(user[-1]))
        self.rows += len(session)
        return item_index

    def _check_steps(self, session: np.ndarray, step: np.ndarray, bad: np.ndarray, last: int, origin: Origin) -> None:
        if not bad.any():
            return
        at = int(bad.argmax())
        previous = step[at - 1] if at else last
        earlier = (session[:at] == session[at]) & (step[:at] == step[at])
        if step[at] == previous or earlier.any():
            raise origin.error(
                f"step {step[at]} of session {session[at]} is duplicated, allowed once; remove one of the rows",
                "step",
                at,
            )
        raise origin.error(
            f"unsorted: got step {step[at]} after step {previous} in session {session[at]}, "
            f"allowed strictly ascending steps; {_SORT}",
            "step",
            at,
        )

    def _check_users(self, session: np.ndarray, user: np.ndarray, bad: np.ndarray, last: int, origin: Origin) -> None:
        if not bad.any():
            return
        at = int(bad.argmax())
        raise origin.error(
            f"got user {user[at]} after user {user[at - 1] if at else last} in session {session[at]}, "
            "allowed one user per session; give each user's visit a session_id of its own",
            "user_id",
            at,
        )

    def _check_pieces(self, session: np.ndarray, step: np.ndarray, starts: np.ndarray, origin: Origin) -> None:
        again = self._seen.add(session[starts])
        if again.any():
            at = int(starts[again.argmax()])
            raise origin.error(
                f"session {session[at]} comes back (step {step[at]}) after other sessions, allowed contiguous "
                f"sessions; {_SORT}, or remove the row if it is duplicated",
                "session_id",
                at,
            )


def session_spans(session_ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First row and length of each session in rows of whole sessions: (S,) and (S,) int64."""
    first = np.flatnonzero(np.concatenate([[True], session_ids[1:] != session_ids[:-1]]))
    return first, np.diff(np.append(first, len(session_ids)))


def _shifted(values: np.ndarray, first: int) -> np.ndarray:
    """``values`` one place later, with ``first`` in front."""
    return np.concatenate([np.array([first], dtype=values.dtype), values[:-1]])
