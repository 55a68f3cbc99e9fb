"""Taobao UserBehavior as an interaction log: what users of a market place viewed, kept and bought.

What the mapping means, and what it does not, is in ``docs/datasets/taobao.md``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsim_hrl.data.blocks import Block
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.sources.event_fields import signed, whole, word
from recsim_hrl.data.sources.event_files import Place, TextTable, find_files, read_table
from recsim_hrl.data.sources.event_log import EventConfig, EventData, write_event_log
from recsim_hrl.types import CLICK, ORDER, SKIP

_RESPONSES = {"pv": SKIP, "fav": CLICK, "cart": CLICK, "buy": ORDER}
_DAYS = (1_511_539_200_000, 1_512_316_800_000)
"""Midnight in China at the beginning of 25 November and of 4 December 2017, in milliseconds."""

BEHAVIOUR = TextTable(
    "UserBehavior.csv",
    (
        whole("user_id"),
        whole("item_id"),
        whole("category_id"),
        word("behavior", tuple(_RESPONSES)),
        signed("timestamp"),
    ),
    is_headed=False,
)


@dataclass(frozen=True)
class TaobaoConfig(EventConfig):
    """How Taobao's events become a log."""


def read_taobao(source: str | Path, path: str | Path, config: TaobaoConfig | None = None) -> InteractionLog:
    """Write Taobao UserBehavior as a log and open it.

    A view is a skip, an item put into the cart or among the favourites a click, a purchase an order; each item once
    a visit. Events outside the nine days of the data set are dropped.

    Args:
        source: The publisher's UserBehavior.csv.zip, UserBehavior.csv, or the folder of one of them.
        path: The folder to write; a log that is there is replaced.
        config: How events become a log.

    Raises:
        LogError: the file is missing, damaged or another one, ``path`` is in use, or DuckDB is not installed; the
            message names file, row and fix.
    """
    source = Path(source)
    place = find_files(source, [BEHAVIOUR.file], "Taobao UserBehavior")[BEHAVIOUR.file]
    data = EventData(
        "taobao",
        f"Taobao UserBehavior (Alibaba), read from {source.name}",
        published_rows=100_150_807,
        blocks=_events(place),
        days=_DAYS,
    )
    return write_event_log(data, path, config or TaobaoConfig())


def _events(place: Place) -> Iterator[Block]:
    responses = np.array(list(_RESPONSES.values()))
    for _, columns in read_table(place, BEHAVIOUR):
        values = {name: column.to_numpy() for name, column in columns.items()}
        yield {
            "user": values["user_id"],
            "item": values["item_id"],
            "milliseconds": values["timestamp"] * 1000,
            "response": responses[values["behavior"]],
            "label": values["category_id"],
        }
