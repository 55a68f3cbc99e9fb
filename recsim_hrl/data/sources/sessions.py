"""Events in order of time become visits, visits become impressions and sessions; functions of arrays alone."""

from collections.abc import Iterable, Iterator

import numpy as np

from recsim_hrl.data.blocks import Block, run_starts
from recsim_hrl.data.checks import session_spans
from recsim_hrl.types import CLICK, SKIP


def visits_of(user: np.ndarray, milliseconds: np.ndarray, gap_milliseconds: int) -> np.ndarray:
    """(n,) numbers of visits from 0, of rows (n,) in order of user and time; a longer silence than the gap ends one."""
    begins = run_starts(user)  # (n,)
    begins[1:] |= np.diff(milliseconds) > gap_milliseconds
    return np.cumsum(begins) - 1


def collapse(events: Block, gap_milliseconds: int, return_is_click: bool) -> Block:
    """Each item once a visit, at the time of its first event, with the strongest of its responses.

    Args:
        events: Columns ``user``, ``milliseconds``, ``item`` and ``response`` (n,) of whole users, in order of user
            and time.
        gap_milliseconds: A longer silence ends a visit.
        return_is_click: Whether an item that is skipped and comes back after another one counts as clicked.

    Returns:
        Columns (impressions,) in order of user and time: ``visit`` from 0, ``user``, ``item``, ``milliseconds``,
        ``response``, and ``begins_with_response`` (bool), where no view came before the response.
    """
    user, item, response = events["user"], events["item"], events["response"]
    visit = visits_of(user, events["milliseconds"], gap_milliseconds)  # (n,)
    turns = run_starts(visit, item)  # (n,) another item than just before
    order = np.lexsort((item, visit))  # which keeps the order in time of equals
    firsts = np.flatnonzero(run_starts(visit[order], item[order]))  # (impressions,) places in ``order``
    strongest = np.maximum.reduceat(response[order], firsts)
    if return_is_click:
        comes_back = np.add.reduceat(turns[order].astype(np.int64), firsts) > 1
        strongest = np.where((strongest == SKIP) & comes_back, CLICK, strongest)
    rows = order[firsts]
    in_time = np.argsort(rows)
    rows, strongest = rows[in_time], strongest[in_time]
    return {
        "visit": visit[rows],
        "user": user[rows],
        "item": item[rows],
        "milliseconds": events["milliseconds"][rows],
        "response": strongest,
        "begins_with_response": response[rows] != SKIP,
    }


def cut_visits(visit: np.ndarray, session_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut each visit of L impressions into round(L / session_length) sessions of equal length, at least one.

    Args:
        visit: (n,) whole visits, their equal numbers together.
        session_length: The length that is aimed at.

    Returns:
        ``session`` from 0 and ``step`` from 0, both (n,).
    """
    first, lengths = session_spans(visit)
    pieces = np.maximum(1, (lengths / session_length + 0.5).astype(np.int64))  # (visits,)
    place = np.arange(len(visit)) - np.repeat(first, lengths)
    # Piece p of P begins at place floor(p * L / P).
    piece = ((place + 1) * np.repeat(pieces, lengths) - 1) // np.repeat(lengths, lengths)
    session = piece + np.repeat(np.cumsum(pieces) - pieces, lengths)
    starts, sizes = session_spans(session)
    return session, np.arange(len(visit)) - np.repeat(starts, sizes)


def cut_into_sessions(visits: Iterable[Block], session_length: int) -> Iterator[Block]:
    """Cut visits as ``cut_visits`` does, block after block.

    Args:
        visits: Blocks of whole visits, with the columns ``visit`` and ``moment``.
        session_length: The length that is aimed at.

    Yields:
        The same columns without ``visit``, and ``session`` from 0 through all blocks, ``step``, and ``start``, the
        moment of the session's first impression.
    """
    sessions = 0
    for block in visits:
        session, step = cut_visits(block["visit"], session_length)
        start = block["moment"][step == 0]  # (sessions of the block,)
        kept = {name: values for name, values in block.items() if name != "visit"}
        yield kept | {"session": session + sessions, "step": step, "start": start[session]}
        sessions += len(start)
