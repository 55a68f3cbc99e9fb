"""Ali-CCP as two logs without time: impressions of Taobao's recommender, clicks and conversions.

What the mapping means, and why it is an assumption, is in ``docs/datasets/ali_ccp.md``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsim_hrl.data.blocks import Block, run_starts, whole_runs
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_fields import Field, flag, text
from recsim_hrl.data.sources.event_files import Place, TextTable, converted, find_files, read_table
from recsim_hrl.data.sources.event_store import EventStore, event_store
from recsim_hrl.data.sources.log_rows import LogForm
from recsim_hrl.data.sources.visit_log import (
    NO_LABEL,
    VisitConfig,
    VisitData,
    fill_impressions,
    most_told,
    write_visits,
)
from recsim_hrl.types import CLICK, ORDER, SKIP

PARTS = ("train", "test")
"""The logs: the publisher's halves, of which the second is later."""
ARCHIVES = tuple(f"sample_{part}.tar.gz" for part in PARTS)

_USER, _ITEM, _CATEGORY = 101, 205, 206
"""The publisher's numbers of features."""
_FORM = LogForm(PARTS, is_timed=False)
_WARNING = (
    "Ali-CCP has no time: impressions of a session stand in the order of the file, which may not be the order in which "
    "they were seen (docs/datasets/ali_ccp.md)"
)

SKELETON = TextTable(
    "sample_skeleton_train.csv",
    (
        text("sample_id"),
        flag("click"),
        flag("conversion"),
        text("common_feature_index"),
        text("feature_num"),
        text("feature_list"),
    ),
    is_headed=False,
)
COMMON = TextTable(
    "common_features_train.csv",
    (text("common_feature_index"), text("feature_num"), text("feature_list")),
    is_headed=False,
)


@dataclass(frozen=True)
class AliccpConfig(VisitConfig):
    """How Ali-CCP's impressions become logs."""


def _feature(number: int, absent: int | None = None) -> Field:
    """The value of a feature in a list of them: field, 2, value, 3, weight, with 1 between two features, all bytes.

    Where the list lacks it, ``absent``; None refuses it.
    """
    shape = f"(?:^|\x01){number}\x02(?P<value>[0-9]{{1,18}})\x03"

    def convert(texts: pa.Array) -> pa.Array:
        found = pc.struct_field(pc.extract_regex(texts, shape), "value")
        return (found if absent is None else pc.fill_null(found, str(absent))).cast(pa.int64())

    return Field("feature_list", f"a list of features with feature {number}", convert)


def read_aliccp(
    source: str | Path, path: str | Path, config: AliccpConfig | None = None
) -> tuple[InteractionLog, InteractionLog]:
    """Write Ali-CCP as the logs ``path/train`` and ``path/test`` and open them.

    A row is an impression: an order where it was converted, a click where it was clicked, a skip otherwise. Rows with
    the same common features are a visit, in the order of the file. Items are embedded by what was shown together in
    the publisher's training half.

    Args:
        source: The folder with the publisher's two archives or with the four files, or one of them with the others
            beside it.
        path: The folder of the two logs; logs that are there are replaced.
        config: How impressions become logs.

    Raises:
        LogError: a file is missing or damaged, ``path`` is in use, or DuckDB is not installed; the message names
            file, row and fix.
    """
    config, source, path = config or AliccpConfig(), Path(source), Path(path)
    _FORM.check(path)
    names = [(f"sample_skeleton_{part}.csv", f"common_features_{part}.csv") for part in PARTS]
    files = find_files(source, [name for pair in names for name in pair], "Ali-CCP", ARCHIVES)
    with event_store(path, config.memory_mb) as store:
        reading = _load_impressions(store, [files[skeleton] for skeleton, _ in names])
        commons = [files[common] for _, common in names]
        reading |= _load_pages(store, commons)
        _check_pages(store, commons)
        reading |= _find_visits(store)
        data = VisitData(
            "ali-ccp",
            f"Ali-CCP (Alibaba), read from {source.name}",
            labels=lambda kept: most_told(store, "shown", kept),
            boundary=None,
            form=_FORM,
            warnings=(_WARNING,),
        )
        train, test = write_visits(store, data, path, config, reading)
        return train, test


def _load_impressions(store: EventStore, places: list[Place]) -> dict[str, int]:
    """Fill the table ``shown``, whose rows are numbered through both halves."""
    rows = unclicked = 0
    columns = "part TINYINT, page VARCHAR, number BIGINT, item BIGINT, label BIGINT, response TINYINT"
    with store.filled("shown", columns) as add:
        for part, place in enumerate(places):
            for origin, columns in read_table(place, SKELETON):
                click, conversion = columns["click"].to_numpy(), columns["conversion"].to_numpy()
                features = columns["feature_list"]
                good = click >= conversion
                block = {
                    "part": np.full(len(click), part),
                    "page": columns["common_feature_index"],
                    "number": rows + np.arange(len(click)),
                    "item": converted(features, _feature(_ITEM), origin),
                    "label": converted(features, _feature(_CATEGORY, NO_LABEL), origin),
                    "response": np.where(conversion == 1, ORDER, np.where(click == 1, CLICK, SKIP)),
                }
                kept = pa.table(block).filter(pa.array(good))
                add({name: kept[name] for name in block})
                rows += len(click)
                unclicked += int((~good).sum())
    return {"rows": rows, "conversions_without_click": unclicked}


def _load_pages(store: EventStore, places: list[Place]) -> dict[str, int]:
    """Fill the table ``pages``: the user of each list of common features."""
    pages = anonymous = 0
    with store.filled("pages", "part TINYINT, page VARCHAR, user BIGINT") as add:
        for part, place in enumerate(places):
            for origin, columns in read_table(place, COMMON):
                user = converted(columns["feature_list"], _feature(_USER, -1), origin).to_numpy()
                unknown = user < 0
                own = -1 - pages - np.arange(len(user))  # each a user of its own
                add(
                    {
                        "part": np.full(len(user), part),
                        "page": columns["common_feature_index"],
                        "user": np.where(unknown, own, user),
                    }
                )
                pages += len(user)
                anonymous += int(unknown.sum())
    return {"pages": pages, "pages_without_user": anonymous}


def _check_pages(store: EventStore, places: list[Place]) -> None:
    """Raise LogError unless each impression has its common features, once."""
    twice = "SELECT part, page, count(*) AS n FROM pages GROUP BY part, page HAVING n > 1"
    missing = "SELECT part, page, count(*) AS n FROM shown ANTI JOIN pages USING (part, page) GROUP BY part, page"
    for query, problem in (
        (twice, "rows, allowed one; remove the others"),
        (missing, "impressions and no row, allowed one; the two files are not of one download, or one is cut"),
    ):
        for found in store.blocks(f"{query} ORDER BY part, page LIMIT 1"):
            raise LogError(
                f"common_feature_index {found['page'][0]} has {found['n'][0]} {problem}",
                places[found["part"][0]].label,
                "common_feature_index",
            )


def _find_visits(store: EventStore) -> dict[str, int]:
    """Fill the table ``impressions``: visits in order of their first rows, in each the order of the file."""
    firsts = "SELECT part, page, min(number) AS first FROM shown GROUP BY part, page"
    rows = store.blocks(
        "SELECT first, shown.part AS part, user, item, number AS moment, response "
        f"FROM shown JOIN ({firsts}) USING (part, page) JOIN pages USING (part, page) ORDER BY first, number"
    )

    def visits() -> Iterator[Block]:
        for block in whole_runs(rows, "first"):
            first = block.pop("first")
            yield block | {"visit": np.cumsum(run_starts(first)) - 1}

    return fill_impressions(store, _FORM, visits())
