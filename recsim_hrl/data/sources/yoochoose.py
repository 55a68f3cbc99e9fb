"""YooChoose, the data of the RecSys Challenge 2015, as an interaction log: what sessions of a shop opened and bought.

What the mapping means, and what it does not, is in ``docs/datasets/yoochoose.md``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_hrl.data.blocks import Block
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources.event_fields import optional_whole, utc_time, whole
from recsim_hrl.data.sources.event_files import Place, TextTable, find_files, read_table
from recsim_hrl.data.sources.event_log import EventConfig, EventData, write_event_log
from recsim_hrl.data.sources.visit_log import NO_LABEL
from recsim_hrl.types import ORDER, SKIP

_CATEGORIES = (1, 12)
"""The real categories; 0 is a missing one, larger numbers are brands, S is a special offer."""
_TIME = utc_time("timestamp", "a moment of 2014 as in 2014-04-07T10:51:09.277Z", 1_388_534_400_000, 1_420_070_399_999)

CLICKS = TextTable(
    "yoochoose-clicks.dat",
    (whole("session_id"), _TIME, whole("item_id"), optional_whole("category", absent="S")),
    is_headed=False,
)
BUYS = TextTable(
    "yoochoose-buys.dat",
    (whole("session_id"), _TIME, whole("item_id"), whole("price"), whole("quantity")),
    is_headed=False,
)


@dataclass(frozen=True)
class YoochooseConfig(EventConfig):
    """How YooChoose's events become a log."""

    gap_seconds: int = 86_400
    """A session of the publisher is one visit, unless nothing happens in it for longer than this."""
    return_is_click: bool = True
    """Whether an item that the user comes back to in the same visit, after another item, counts as clicked."""


def read_yoochoose(source: str | Path, path: str | Path, config: YoochooseConfig | None = None) -> InteractionLog:
    """Write YooChoose's sessions as a log and open it.

    An opened item is a skip, one that the user comes back to a click, a bought one an order; each item once a visit.
    A session of the publisher is a user, since nothing tells who came twice.

    Args:
        source: The folder with yoochoose-clicks.dat and yoochoose-buys.dat, a zip archive that holds them, or the
            path of one with the other beside it.
        path: The folder to write; a log that is there is replaced.
        config: How events become a log.

    Raises:
        LogError: a file is missing or damaged, ``path`` is in use, or DuckDB is not installed; the message names
            file, row and fix.
    """
    source = Path(source)
    files = find_files(source, [CLICKS.file, BUYS.file], "YooChoose")
    data = EventData(
        "yoochoose",
        f"YooChoose, RecSys Challenge 2015, read from {source.name}",
        published_rows=33_003_944 + 1_150_753,
        blocks=_events(files),
    )
    return write_event_log(data, path, config or YoochooseConfig())


def _events(files: dict[str, Place]) -> Iterator[Block]:
    for table, response in ((CLICKS, SKIP), (BUYS, ORDER)):
        for _, columns in read_table(files[table.file], table):
            values = {name: column.to_numpy() for name, column in columns.items()}
            label = np.full(len(values["item_id"]), NO_LABEL)
            if "category" in values:
                category = values["category"]
                label = np.where((category >= _CATEGORIES[0]) & (category <= _CATEGORIES[1]), category, NO_LABEL)
            yield {
                "user": values["session_id"],
                "item": values["item_id"],
                "milliseconds": values["timestamp"],
                "response": np.full(len(label), response),
                "label": label,
            }
