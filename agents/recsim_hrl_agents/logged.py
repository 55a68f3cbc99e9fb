"""Logged sessions as plain arrays, and the history windows that an environment would have shown beside them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from recsim_hrl.types import CLICK, ORDER, R


@dataclass(frozen=True)
class LoggedSessions:
    """Impressions of many sessions, one after the other."""

    item_index: np.ndarray  # (n,) catalogue indices
    response: np.ndarray  # (n,) SKIP, CLICK or ORDER
    offsets: np.ndarray  # (S + 1,) where each session starts; the last is n
    user_ids: np.ndarray | None = None  # (S,) whose session it is; without them every session is a new user's

    def __post_init__(self) -> None:
        rows = len(self.item_index)
        if rows == 0:
            raise ValueError("logged sessions: got no impressions, allowed one or more; pass a log that is not empty")
        if len(self.response) != rows:
            raise ValueError(f"logged sessions: got {len(self.response)} responses, allowed {rows}, one per item")
        if self.offsets[0] != 0 or self.offsets[-1] != rows or (np.diff(self.offsets) < 0).any():
            raise ValueError(
                f"logged sessions: got offsets from {self.offsets[0]} to {self.offsets[-1]}, allowed ascending ones "
                f"from 0 to {rows}; session s is rows offsets[s]:offsets[s + 1]"
            )
        if self.response.min() < 0 or self.response.max() >= R:
            raise ValueError(f"logged sessions: got response {self.response.max()}, allowed 0 to {R - 1}")

    @classmethod
    def of(cls, log: Any) -> "LoggedSessions":
        """From logged sessions, an ``InteractionLog``, or its loaded table (by their attributes)."""
        if isinstance(log, cls):
            return log
        table = log.load() if hasattr(log, "load") else log
        try:
            columns = [np.asarray(getattr(table, name)) for name in ("item_index", "response", "offsets")]
            users = getattr(table, "user_ids", None)
            return cls(*columns, user_ids=None if users is None else np.asarray(users))
        except AttributeError as error:
            raise ValueError(
                f"log: got {type(log).__name__}, allowed an InteractionLog or LoggedSessions(item_index, response, "
                "offsets); build one of them"
            ) from error

    def __len__(self) -> int:
        return len(self.item_index)

    def by_user(self) -> "LoggedSessions":
        """The same sessions, those of one user next to each other in their logged order."""
        if self.user_ids is None:
            return self
        order = np.argsort(self.user_ids, kind="stable")  # (S,)
        lengths = np.diff(self.offsets)[order]  # (S,)
        offsets = np.concatenate([[0], np.cumsum(lengths)])  # (S + 1,)
        rows = np.arange(len(self)) + np.repeat(self.offsets[:-1][order] - offsets[:-1], lengths)  # (n,)
        return LoggedSessions(self.item_index[rows], self.response[rows], offsets, self.user_ids[order])


class Windows:
    """History windows of logged impressions, made when asked for: whole logs of windows would not fit in memory.

    Like those of an environment they reach back into the user's previous session, and no further.

    Args:
        log: Sessions in the order of :meth:`LoggedSessions.by_user`.
        length: Window length N.
    """

    def __init__(self, log: LoggedSessions, length: int) -> None:
        self._items = log.item_index.astype(np.int64)
        self._length = length
        start = log.offsets[:-1].copy()  # (S,) the first row that windows of a session may hold
        if log.user_ids is not None:
            same_user = log.user_ids[1:] == log.user_ids[:-1]  # (S - 1,)
            start[1:] = np.where(same_user, log.offsets[:-2], start[1:])
        self._start = np.repeat(start, np.diff(log.offsets))  # (n,)
        everything = np.ones(len(log), bool)
        chosen = {"browsed": everything, "clicked": log.response >= CLICK, "ordered": log.response == ORDER}
        self._rows = {key: np.flatnonzero(mask) for key, mask in chosen.items()}
        # How many chosen rows come before each row: the place in `_rows` where its window ends.
        self._before = {key: np.cumsum(mask) - mask for key, mask in chosen.items()}

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Windows before the impressions at ``rows`` (B,): (B, N) catalogue index + 1, 0 = empty, latest last."""
        back = np.arange(-self._length, 0)  # (N,)
        windows = {}
        for key, chosen in self._rows.items():
            place = self._before[key][rows][:, None] + back  # (B, N)
            source = chosen[place.clip(0, max(len(chosen) - 1, 0))] if len(chosen) else np.zeros_like(place)  # (B, N)
            inside = (place >= 0) & (source >= self._start[rows][:, None]) & (len(chosen) > 0)
            windows[key] = np.where(inside, self._items[source] + 1, 0)
        return windows
