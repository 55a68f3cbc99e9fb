"""The rules that turn the records of some users into sessions of impressions: each a function on arrays."""

import numpy as np

from recsim_hrl.data.blocks import run_starts
from recsim_hrl.data.checks import session_spans
from recsim_hrl.types import CLICK, SKIP

_DAY = 86_400.0


def duplicates(records: np.ndarray) -> np.ndarray:
    """(rows,) bool: the record equals an earlier one in everything but its row."""
    names = [name for name in records.dtype.names if name != "row"]
    order = np.lexsort([records["row"], *(records[name] for name in names)])
    ordered = records[order]
    return _back(order, ~run_starts(*(ordered[name] for name in names)))


def backwards(records: np.ndarray, by_session: bool) -> np.ndarray:
    """(rows,) bool: the record is earlier than the one before it in the file, of the same session, or user."""
    keys = [records["user"], records["session"]] if by_session else [records["user"]]
    order = np.lexsort([records["row"], *reversed(keys)])
    falls = ~run_starts(*(key[order] for key in keys))
    falls[1:] &= np.diff(records["time"][order]) < 0
    return _back(order, falls)


def in_sessions(records: np.ndarray, by_session: bool, gap_seconds: float, events: bool) -> np.ndarray:
    """The records with sessions numbered from 0, those of a user by their start, and in order of time within.

    Args:
        records: Some users, complete.
        by_session: Whether the records have sessions; otherwise a gap of more than ``gap_seconds`` begins one.
        gap_seconds: See there.
        events: Whether an impression comes before its click where both have the same time; otherwise slate and
            position decide, where there are any, and then the order of the file.
    """
    ties = [records[name] for name in ("position", "slate") if name in records.dtype.names]
    ties += [records["response"]] if events else []
    outer = [records["session"], records["user"]] if by_session else [records["user"]]
    records = records[np.lexsort([records["row"], *ties, records["time"], *outer])]
    begins = run_starts(records["user"], *([records["session"]] if by_session else []))
    if not by_session:
        begins[1:] |= np.diff(records["time"]) > gap_seconds
    first = np.flatnonzero(begins)  # (S,)
    lengths = np.diff(np.append(first, len(records)))
    heads = records[first]
    by_start = np.lexsort([heads["row"], heads["time"], heads["user"]])
    first, lengths = first[by_start], lengths[by_start]
    within = np.arange(len(records)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    records = records[np.repeat(first, lengths) + within]
    records["session"] = np.repeat(np.arange(len(first)), lengths)
    return records


def merged_events(records: np.ndarray, orphans_count: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Clicks and orders merged into the last impression of their item before them in the session.

    Args:
        records: As ``in_sessions`` gives them.
        orphans_count: Whether a click or order with no impression before it becomes one.

    Returns:
        (rows,) response of each record after merging; and as (rows,) bool which records are impressions, which have no
        impression before them but one later, and which have none in the session at all.
    """
    size = len(records)
    order = np.lexsort([np.arange(size), records["item"], records["session"]])
    ordered = records[order]
    begins = run_starts(ordered["item"], ordered["session"])
    group = np.cumsum(begins) - 1  # (rows,) each session's dealings with one item
    shown = ordered["response"] == SKIP
    orphan = _count_within(shown, begins) == 0
    ever_shown = np.bincount(group, shown, minlength=size)[group] > 0
    opens = shown | (begins if orphans_count else False)
    opened = _count_within(opens, begins) > 0
    latest = np.cumsum(opens) - 1  # (rows,) the impression that a record belongs to
    response = ordered["response"].copy()
    best = np.zeros(int(opens.sum()), dtype=response.dtype)
    np.maximum.at(best, latest[opened], response[opened])
    response[opens] = best
    return tuple(_back(order, values) for values in (response, opens, orphan & ever_shown, orphan & ~ever_shown))


def further_than_before(records: np.ndarray) -> np.ndarray:
    """(rows,) bool: the last record of the item in the session went less far, as if this were its click."""
    order = np.lexsort([np.arange(len(records)), records["item"], records["session"]])
    ordered = records[order]
    further = ~run_starts(ordered["item"], ordered["session"])
    further[1:] &= ordered["response"][1:] > ordered["response"][:-1]
    return _back(order, further)


def busy_users(records: np.ndarray, most: int) -> np.ndarray:
    """Users with more than ``most`` records in one day."""
    days = np.floor(records["time"] / _DAY)
    order = np.lexsort([days, records["user"]])
    users, days = records["user"][order], days[order]
    first = np.flatnonzero(run_starts(users, days))
    return np.unique(users[first][np.diff(np.append(first, len(records))) > most])


def clicking_users(impressions: np.ndarray, rate: float, least: int) -> np.ndarray:
    """Users with ``least`` impressions or more of which a share of ``rate`` or more was clicked or ordered."""
    users, inverse, counts = np.unique(impressions["user"], return_inverse=True, return_counts=True)
    clicks = np.bincount(inverse, impressions["response"] >= CLICK, minlength=len(users))
    return users[(counts >= least) & (clicks >= rate * counts)]


def one_item_sessions(impressions: np.ndarray) -> np.ndarray:
    """Positions of the first impression of each session that shows a single item, in records of whole sessions."""
    if not len(impressions):
        return np.zeros(0, dtype=np.int64)
    first, _ = session_spans(impressions["session"])
    items = impressions["item"]
    return first[np.minimum.reduceat(items, first) == np.maximum.reduceat(items, first)]


def _back(order: np.ndarray, values: np.ndarray) -> np.ndarray:
    """(rows,) the ``values`` of rows in ``order``, where the rows were before."""
    back = np.empty_like(values)
    back[order] = values
    return back


def _count_within(marked: np.ndarray, begins: np.ndarray) -> np.ndarray:
    """(rows,) how many of ``marked`` there were in the group so far, the record itself included."""
    total = np.cumsum(marked)
    before = (total - marked)[begins]
    return total - before[np.cumsum(begins) - 1]
