"""What a shop's log calls things, and what is kept of it: the two settings of an import."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Literal

from recsim_hrl.types import CLICK, ORDER, SKIP

FROM_LOG = ("user", "item", "time", "session", "response", "clicked", "purchased", "slate", "position", "propensity")
"""Roles whose column is always one of the log."""
OF_ITEMS = ("category", "price")
"""Roles whose column is one of the item table, or of the log where there is no item table."""


@dataclass(frozen=True)
class ColumnMapping:
    """Which column of a shop's log is what."""

    item: str
    """Column that names the item."""
    time: str
    """Column of the time: seconds, milliseconds, micro- or nanoseconds since 1970 (told apart by their size), ISO 8601
    text, or timestamps. Text without a zone is UTC."""
    user: str | None = None
    """Column that names the user; without, every session is a user of its own."""
    session: str | None = None
    """Column that names the session; without, a user who does nothing for `gap_seconds` begins a new one."""
    response: str | None = None
    """Column that says what happened, in the words of `skip`, `click`, `order` and `ignore`."""
    skip: str = "skip,0"
    """Words of `response`, separated by commas, for: shown, and nothing more."""
    click: str = "click,1"
    """Words of `response` for a click."""
    order: str = "order,2"
    """Words of `response` for an order."""
    ignore: str = ""
    """Words of `response` whose rows are left out."""
    rows: Literal["impressions", "events"] = "impressions"
    """Whether a row is an impression with the furthest that the user went, or an event: then clicks and orders have
    rows of their own, which are merged into the impression of the same item before them in the session."""
    clicked: str | None = None
    """In place of `response`: column that is 1 or true where the impression was clicked."""
    purchased: str | None = None
    """In place of `response`: column that is 1 or true where the item was ordered."""
    slate: str | None = None
    """Column that impressions shown together share."""
    position: str | None = None
    """Column of the place within the slate, from 0."""
    propensity: str | None = None
    """Column of the probability with which the shop's policy chose the item."""
    items: Path | None = None
    """Item table (.parquet or .csv); without, the items are those of the log."""
    item_key: str | None = None
    """Column of the item table that names the item; the name given by `item` without."""
    category: str | None = None
    """Column of the category: in the item table, or in the log where there is none."""
    price: str | None = None
    """Column of the price: in the item table, or in the log where there is none."""
    embedding: str | None = None
    """Columns of the item table that hold an embedding, taken as it is: a column of lists, or the beginning of the
    names of numbered columns with a star, as in `embedding_*`."""
    features: str = ""
    """Numeric columns of the item table, separated by commas, that become entries of the embedding, standardised."""

    def __post_init__(self) -> None:
        if self.user is None and self.session is None:
            raise ValueError("mapping user: got neither user nor session, allowed one or both; name a column")
        self._check_responses()
        if self.items is None:
            for name in ("item_key", "embedding", "features"):
                if getattr(self, name):
                    raise ValueError(
                        f"mapping {name}: got {getattr(self, name)!r} without an item table; pass items too, or drop it"
                    )
        self._check_distinct("the log", self.log_columns)
        self._check_distinct("the item table", self.item_columns)

    @property
    def log_columns(self) -> dict[str, str]:
        """Column of the log by role."""
        roles = FROM_LOG + (OF_ITEMS if self.items is None else ())
        return {role: getattr(self, role) for role in roles if getattr(self, role) is not None}

    @property
    def item_columns(self) -> dict[str, str]:
        """Column of the item table by role; the embedding's as the pattern that was given."""
        if self.items is None:
            return {}
        named = {"item_key": self.item_key or self.item} | {name: getattr(self, name) for name in OF_ITEMS}
        named |= {"embedding": self.embedding} | {f"features[{at}]": name for at, name in enumerate(self.feature_names)}
        return {role: name for role, name in named.items() if name is not None}

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The columns that ``features`` names."""
        return words_of(self.features)

    @property
    def responses(self) -> dict[str, int | None]:
        """Response by word; None for a word that is left out."""
        codes = {"skip": SKIP, "click": CLICK, "order": ORDER, "ignore": None}
        return {word: code for name, code in codes.items() for word in words_of(getattr(self, name))}

    def _check_responses(self) -> None:
        binary = [name for name in ("clicked", "purchased") if getattr(self, name) is not None]
        if (self.response is None) == (not binary):
            got = ["response", *binary] if binary else "none"
            raise ValueError(
                f"mapping response: got {got}, allowed either response, or clicked and purchased (one or both); "
                "name the column of the response, or the columns that are 1 for a click and an order"
            )
        if self.rows == "events" and binary:
            raise ValueError(
                f"mapping rows: got 'events' with {binary}, allowed with response only; a row with a column for each "
                "response is an impression"
            )
        seen: dict[str, str] = {}
        for name in ("skip", "click", "order", "ignore"):
            for word in words_of(getattr(self, name)):
                if word in seen:
                    raise ValueError(
                        f"mapping {name}: the word {word!r} is given for {seen[word]} and for {name}, allowed once; "
                        "give the words of both"
                    )
                seen[word] = name

    @staticmethod
    def _check_distinct(where: str, columns: dict[str, str]) -> None:
        roles: dict[str, str] = {}
        for role, column in columns.items():
            if column in roles:
                raise ValueError(
                    f"mapping {role}: column {column!r} of {where} is given for {roles[column]} and for {role}, "
                    "allowed once; name another column or drop one of the two"
                )
            roles[column] = role


@dataclass(frozen=True)
class CleaningConfig:
    """What of a shop's log is kept, and how it is cut into sessions. The rules apply once each, from top to bottom."""

    bad_rows: Literal["refuse", "drop"] = "refuse"
    """A row with an empty or unreadable value: an error that names it, or left out and counted."""
    earliest: str = "1995-01-01"
    """Rows before this day are dropped: nobody sold anything online."""
    latest: str = "2100-01-01"
    """Rows from this day on are dropped."""
    duplicates: Literal["drop", "keep"] = "drop"
    """A row that equals an earlier one of the same user in session, item, time, response, slate, position and
    propensity, as far as these were read."""
    gap_seconds: float = 1800.0
    """Without a session column: a user who does nothing for longer than this has left."""
    orphans: Literal["drop", "impression"] = "drop"
    """With rows of events: a click or order without an impression of its item before it in the session is dropped, or
    counts as an impression of its own."""
    bots: Literal["drop", "keep"] = "drop"
    """Users with too many events or clicks to be people."""
    bot_events: int = 5000
    """Rows of one user in one day (UTC) above which it is a bot."""
    bot_click_rate: float = 0.95
    """Clicks and orders per impression from which a user with `bot_impressions` or more is a bot."""
    bot_impressions: int = 100
    """Impressions below which a click rate says nothing."""
    item_impressions: int = 1
    """Impressions of items with fewer than this many are dropped."""
    session_impressions: int = 1
    """Sessions of fewer than this many impressions are dropped."""
    width: int = 32
    """Width of item vectors that have to be made because no embedding and no features were given."""
    vector_seed: int = 0
    """Starts the decomposition that makes item vectors."""

    def __post_init__(self) -> None:
        lowest = {"bot_events": 1, "bot_impressions": 1, "item_impressions": 1, "session_impressions": 1, "width": 4}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ValueError(f"cleaning {name}: got {getattr(self, name)}, allowed {low} or more; raise it")
        if not self.gap_seconds >= 0.0:
            raise ValueError(f"cleaning gap_seconds: got {self.gap_seconds}, allowed 0 or more; raise it")
        if not 0.0 < self.bot_click_rate <= 1.0:
            raise ValueError(
                f"cleaning bot_click_rate: got {self.bot_click_rate}, allowed above 0, at most 1; change it"
            )
        first, end = self.seconds
        if first >= end:
            raise ValueError(
                f"cleaning earliest: got {self.earliest}, allowed a day before latest, {self.latest}; change one"
            )

    @property
    def seconds(self) -> tuple[float, float]:
        """``earliest`` and ``latest`` in seconds since 1970."""
        return _start_of("earliest", self.earliest), _start_of("latest", self.latest)


def words_of(text: str) -> tuple[str, ...]:
    """The words of ``text``, which commas separate."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _start_of(name: str, day: str) -> float:
    try:
        found = date.fromisoformat(day)
    except ValueError:
        raise ValueError(f"cleaning {name}: got {day!r}, allowed a day such as 2024-05-31; correct it") from None
    return datetime(found.year, found.month, found.day, tzinfo=UTC).timestamp()
