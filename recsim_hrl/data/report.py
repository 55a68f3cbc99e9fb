"""What a log holds, in numbers."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np

from recsim_hrl.data.checks import KeySet, session_spans
from recsim_hrl.types import CLICK, ORDER, R

_QUANTILES = {"p5": 0.05, "p25": 0.25, "median": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True)
class SessionLengths:
    """Impressions per session; a quantile is the smallest length that this share of the sessions does not exceed."""

    mean: float
    p5: int
    p25: int
    median: int
    p75: int
    p95: int
    p99: int
    max: int


@dataclass(frozen=True)
class LogReport:
    """Counts of a log; an ordered item counts as clicked too, as in the funnel of MaHRL's Table 1."""

    name: str
    impressions: int
    clicks: int
    """Impressions with response click or order."""
    orders: int
    click_rate: float
    """Clicks per impression."""
    orders_per_click: float
    """Orders per click; 0 for a log without clicks."""
    sessions: int
    users: int
    items: int
    """Items in the item table."""
    items_shown: int
    """Items of the table with at least one impression."""
    session_length: SessionLengths

    def __str__(self) -> str:
        lengths = ", ".join(f"{name} {value}" for name, value in asdict(self.session_length).items() if name != "mean")
        return "\n".join(
            [
                f"{self.name}: {self.impressions:,} impressions in {self.sessions:,} sessions of {self.users:,} users",
                f"  clicks           {self.clicks:,} ({self.click_rate:.2%} of impressions, orders included)",
                f"  orders           {self.orders:,} ({self.orders_per_click:.2%} of clicks)",
                f"  items shown      {self.items_shown:,} of {self.items:,} in the item table",
                f"  session length   mean {self.session_length.mean:.1f}; {lengths}",
            ]
        )

    def to_json(self) -> str:
        """The report as a JSON object with the field names as keys."""
        return json.dumps(asdict(self), indent=2)


def summarise(name: str, session_batches: Iterable[dict[str, np.ndarray]], items: int) -> LogReport:
    """Count what a stream of whole sessions holds.

    Args:
        name: Name of the log.
        session_batches: Blocks with session_id, user_id, item_index and response, as ``session_batches`` yields.
        items: Size of the catalogue.
    """
    responses = np.zeros(R, dtype=np.int64)
    lengths = np.zeros(1, dtype=np.int64)  # (longest + 1,) sessions of each length
    shown = np.zeros(items, dtype=bool)
    users = KeySet()
    for batch in session_batches:
        responses += np.bincount(batch["response"], minlength=R)
        shown[batch["item_index"]] = True
        first, spans = session_spans(batch["session_id"])
        users.add(batch["user_id"][first])
        new = np.bincount(spans, minlength=len(lengths))
        new[: len(lengths)] += lengths
        lengths = new
    clicks, impressions = int(responses[CLICK] + responses[ORDER]), int(responses.sum())
    return LogReport(
        name=name,
        impressions=impressions,
        clicks=clicks,
        orders=int(responses[ORDER]),
        click_rate=clicks / impressions,
        orders_per_click=int(responses[ORDER]) / max(clicks, 1),
        sessions=int(lengths.sum()),
        users=len(users),
        items=items,
        items_shown=int(shown.sum()),
        session_length=_lengths(lengths),
    )


def _lengths(counts: np.ndarray) -> SessionLengths:
    """Statistics of session lengths, of which ``counts[n]`` are n."""
    below = np.cumsum(counts)
    quantiles = {name: int(np.searchsorted(below, q * below[-1])) for name, q in _QUANTILES.items()}
    mean = float(counts @ np.arange(len(counts)) / below[-1])
    return SessionLengths(mean=mean, max=len(counts) - 1, **quantiles)
