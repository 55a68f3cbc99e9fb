"""Small shop logs for tests."""

from pathlib import Path

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.own.mapping import ColumnMapping

IMPRESSIONS = ColumnMapping(
    user="uid", item="sku", time="ts", response="event", skip="view,impression", click="click", order="purchase,buy"
)
"""A row is an impression and says how far the user went."""


def write_csv(path: Path, header: str, *rows: str) -> Path:
    """A CSV file at ``path``; spaces stand for nothing."""
    path.write_text("\n".join([header, *rows, ""]).replace(" ", ""), encoding="utf-8")
    return path


def rows_of(log: InteractionLog, *names: str) -> list[tuple]:
    """Columns ``names`` of the whole log as tuples; ids of users and items as the shop named them."""
    found = []
    for batch in log.batches():
        found += list(zip(*(batch[name].tolist() for name in names), strict=True))
    return found


def names_in(folder: Path) -> list[str]:
    """Everything in ``folder``, hidden or not."""
    return sorted(path.name for path in folder.iterdir())
