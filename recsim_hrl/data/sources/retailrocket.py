"""RetailRocket as an interaction log: what visitors of a shop viewed, put into the cart and ordered.

What the mapping means, and what it does not, is in ``docs/datasets/retailrocket.md``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from recsim_hrl.data.blocks import Block
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_fields import optional_whole, text, whole, word
from recsim_hrl.data.sources.event_files import Place, TextTable, converted, find_files, read_table
from recsim_hrl.data.sources.event_log import EventConfig, EventData, write_event_log
from recsim_hrl.data.sources.visit_log import NO_LABEL
from recsim_hrl.types import CLICK, ORDER, SKIP

_RESPONSES = {"view": SKIP, "addtocart": CLICK, "transaction": ORDER}
_ORDER_WITHOUT_NUMBER = -1
_TIME = whole("timestamp", "milliseconds since 1970 in the year 2015", 1_420_070_400_000, 1_451_606_399_999)

EVENTS = TextTable(
    "events.csv",
    (_TIME, whole("visitorid"), word("event", tuple(_RESPONSES)), whole("itemid"), optional_whole("transactionid")),
    is_headed=True,
)
PROPERTIES = tuple(
    TextTable(name, (_TIME, whole("itemid"), text("property"), text("value")), is_headed=True)
    for name in ("item_properties_part1.csv", "item_properties_part2.csv")
)
_CATEGORY = whole("value", "the whole number of a category")
TREE = TextTable("category_tree.csv", (whole("categoryid"), optional_whole("parentid")), is_headed=True)


@dataclass(frozen=True)
class RetailrocketConfig(EventConfig):
    """How RetailRocket's events become a log."""

    category_depth: int = 1
    """Levels of the category tree below its roots that are kept; a deeper category becomes its ancestor there."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.category_depth < 0:
            raise ValueError(f"retailrocket category_depth: got {self.category_depth}, allowed 0 or more; raise it")


def read_retailrocket(source: str | Path, path: str | Path, config: RetailrocketConfig | None = None) -> InteractionLog:
    """Write RetailRocket's events as a log and open it.

    A view is a skip, an item put into the cart a click, an order an order; each item once a visit.

    Args:
        source: The publisher's archive, a folder with events.csv, item_properties_part1.csv and _part2.csv and
            category_tree.csv, or the path of events.csv with the others beside it.
        path: The folder to write; a log that is there is replaced.
        config: How events become a log.

    Raises:
        LogError: a file is missing or damaged, ``path`` is in use, or DuckDB is not installed; the message names
            file, row and fix.
    """
    config, source = config or RetailrocketConfig(), Path(source)
    files = find_files(source, [table.file for table in (EVENTS, *PROPERTIES, TREE)], "RetailRocket")
    ancestors = _ancestors(files[TREE.file], config.category_depth)

    def labels(items: np.ndarray) -> np.ndarray:
        first = _first_categories(files, items)
        return np.array([ancestors.get(label, label) for label in first.tolist()], dtype=np.int64)

    data = EventData(
        "retailrocket",
        f"RetailRocket recommender system dataset, read from {source.name}",
        published_rows=2_756_101,
        blocks=_events(files[EVENTS.file]),
        labels=labels,
    )
    return write_event_log(data, path, config)


def _events(place: Place) -> Iterator[Block]:
    responses = np.array(list(_RESPONSES.values()))
    for origin, columns in read_table(place, EVENTS):
        values = {name: column.to_numpy() for name, column in columns.items()}
        numbered = values["transactionid"] != _ORDER_WITHOUT_NUMBER
        response = responses[values["event"]]
        wrong = numbered != (response == ORDER)
        if wrong.any():
            at = int(wrong.argmax())
            event = list(_RESPONSES)[values["event"][at]]
            raise origin.error(
                f"got {'a' if numbered[at] else 'no'} transactionid for the event {event}, allowed a number for a "
                "transaction and nothing for others; correct the row",
                "transactionid",
                at,
            )
        yield {
            "user": values["visitorid"],
            "item": values["itemid"],
            "milliseconds": values["timestamp"],
            "response": response,
            "label": np.full(len(response), NO_LABEL),
        }


def _ancestors(place: Place, depth: int) -> dict[int, int]:
    """Each category's ancestor ``depth`` levels below its root; itself where it lies higher."""
    parents: dict[int, int] = {}
    for origin, columns in read_table(place, TREE):
        for at, (category, parent) in enumerate(zip(*(column.to_pylist() for column in columns.values()), strict=True)):
            if category in parents:
                raise origin.error(f"category {category} is duplicated, allowed once; remove a row", "categoryid", at)
            parents[category] = parent
    found = {}
    for category in parents:
        line = [category]
        while parents.get(line[-1], NO_LABEL) != NO_LABEL:
            line.append(parents[line[-1]])
            if len(line) > len(parents) + 1:
                raise LogError(f"category {category} is among its own ancestors; correct the tree", place.label)
        found[category] = line[max(0, len(line) - 1 - depth)]
    return found


def _first_categories(files: dict[str, Place], items: np.ndarray) -> np.ndarray:
    """(n,) the category of each of the ascending ``items`` (n,) at its earliest moment, NO_LABEL for none."""
    labels = np.full(len(items), NO_LABEL, dtype=np.int64)
    since = np.full(len(items), np.iinfo(np.int64).max)
    for table in PROPERTIES:
        for origin, columns in read_table(files[table.file], table):
            rows = np.flatnonzero(pc.equal(columns["property"], "categoryid").to_numpy(zero_copy_only=False))
            values = converted(columns["value"].take(rows), _CATEGORY, origin, rows).to_numpy()
            item, time = columns["itemid"].to_numpy()[rows], columns["timestamp"].to_numpy()[rows]
            place = np.searchsorted(items, item).clip(max=len(items) - 1)
            earlier = (time < since[place]) | ((time == since[place]) & (values < labels[place]))
            chosen = np.flatnonzero((items[place] == item) & earlier)
            chosen = chosen[
                np.lexsort((-values[chosen], -time[chosen]))
            ]  # the earliest of an item comes last and stays
            labels[place[chosen]], since[place[chosen]] = values[chosen], time[chosen]
    return labels
