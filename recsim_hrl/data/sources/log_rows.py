"""The last steps of every reader of publishers' files: visits are cut into sessions, and these become a log."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from recsim_hrl.data.blocks import Block
from recsim_hrl.data.log import LogWriter
from recsim_hrl.data.sources.event_store import EventStore
from recsim_hrl.data.sources.sessions import cut_visits
from recsim_hrl.types import Catalogue


def cut_into_sessions(store: EventStore, visits: Iterable[Block], session_length: int, more: str = "") -> np.ndarray:
    """Fill the table ``log_rows`` of a store with impressions, session after session.

    Args:
        store: Where the table is made; ``session``, ``start`` (milliseconds) and ``step`` are added to the columns.
        visits: Blocks of whole visits: ``visit``, ``user``, ``item_index``, ``milliseconds``, ``response``, and
            the columns ``more``.
        session_length: A visit of L impressions becomes round(L / session_length) sessions, at least one.
        more: SQL of further columns.

    Returns:
        (S,) ascending milliseconds at which sessions start.
    """
    sessions, starts = 0, []
    columns = "session BIGINT, start BIGINT, step BIGINT, user BIGINT, item_index BIGINT, milliseconds BIGINT"
    with store.filled("log_rows", f"{columns}, response TINYINT{more and ', '}{more}") as add:
        for block in visits:
            session, step = cut_visits(block["visit"], session_length)
            start = block["milliseconds"][step == 0]  # (sessions of the block,)
            starts.append(start)
            kept = {name: values for name, values in block.items() if name != "visit"}
            add(kept | {"session": session + sessions, "step": step, "start": start[session]})
            sessions += len(start)
    return np.sort(np.concatenate(starts))


def write_sessions(store: EventStore, catalogue: Catalogue, path: Path, metadata: dict[str, Any]) -> None:
    """Write the table ``log_rows`` as a log at ``path``, in order of the sessions' starts."""
    sessions, last = -1, -1
    with LogWriter(path, catalogue, metadata) as writer:
        for block in store.blocks("SELECT * FROM log_rows ORDER BY start, session, step"):
            session = block["session"]
            begins = session != np.concatenate([[last], session[:-1]])
            session_id = sessions + np.cumsum(begins)
            sessions, last = int(session_id[-1]), int(session[-1])
            writer.append(
                {
                    "session_id": session_id,
                    "step": block["step"],
                    "user_id": block["user"],
                    "item_index": block["item_index"],
                    "response": block["response"],
                    "timestamp": block["milliseconds"] / 1000,
                }
            )
