"""What an import finds suspicious and what it drops: counts, examples, and what each of them means."""

from collections.abc import Iterable
from dataclasses import dataclass, field

EXAMPLES = 3
"""Examples that a finding keeps."""


@dataclass(frozen=True)
class Kind:
    """One kind of suspicion or loss, in words."""

    title: str
    """What is counted; stands behind the count."""
    meaning: str
    """What it would mean, or the setting that decides."""


SUSPICIONS = {
    "order_without_click": Kind(
        "orders without a click", "counted as orders; if these items can be ordered unseen, `purchased` has a gap"
    ),
    "response_without_impression": Kind(
        "clicks or orders of an item that the session never shows",
        "impressions are missing from the log, or the user came from elsewhere; `orphans` decides",
    ),
    "response_before_impression": Kind(
        "clicks or orders before the first impression of their item in the session",
        "the clocks of the two events disagree, or times are rounded; `orphans` decides",
    ),
    "looks_like_events": Kind(
        "clicks or orders after a row of the same item in the session that went less far",
        "at least half of all: each event seems to have a row of its own; if so, set `rows` to events",
    ),
    "duplicate_rows": Kind("rows that equal an earlier one", "the export holds them twice; `duplicates` decides"),
    "busy_users": Kind("users with more rows in a day than `bot_events`", "programs, or an id that many people share"),
    "clicking_users": Kind(
        "users who click on nearly everything (`bot_click_rate`, `bot_impressions`)",
        "programs; or only what was clicked was logged",
    ),
    "one_item_sessions": Kind(
        "sessions of one item", "they teach nothing about what follows; `session_impressions` can drop the shortest"
    ),
    "one_impression_items": Kind(
        "items with a single impression", "little can be learned of them; `item_impressions` can drop them"
    ),
    "time_backwards": Kind(
        "rows earlier than the row before them, of the same session (of the same user without a session column)",
        "harmless if the file is not meant to be in order of time, otherwise clocks disagree; the rows are sorted",
    ),
    "implausible_times": Kind(
        "times outside `earliest` and `latest`", "a wrong unit, a default value or a broken clock; the rows are dropped"
    ),
    "bad_propensities": Kind(
        "propensities outside (0, 1]", "no probability of something that happened; the rows are dropped"
    ),
    "shared_sessions": Kind(
        "sessions that come back with another user",
        "ids of sessions are used again, or users signed in; each user gets their part",
    ),
    "unknown_items": Kind(
        "items of the log that the item table lacks", "the table is older or of another shop; their rows are dropped"
    ),
    "varying_items": Kind(
        "items whose category or price changes", "the first value is taken; a later one would tell the future"
    ),
    "constant_columns": Kind("columns with one value only", "they tell nothing, or the export is broken"),
    "sessions_across_split": Kind(
        "sessions that begin before the split in time and end after it",
        "they go to train whole, which so sees some of the time of test",
    ),
    "test_only_items": Kind(
        "items shown only after the split in time",
        "train knows nothing of them; made item vectors are there the mean of the item's category",
    ),
    "small_halves": Kind(
        "halves of the split in time with fewer than two sessions",
        "no simulator can be fitted to them; the log alone can be written",
    ),
}
"""What may be suspicious, in the order in which it is told."""

LOSSES = {
    "ignored": Kind("rows whose response is ignored", "`ignore`"),
    "bad_rows": Kind("rows with an empty or unreadable value", "`bad_rows` drop"),
    "implausible_times": Kind("rows outside the time", "`earliest`, `latest`"),
    "bad_propensities": Kind("rows with an impossible propensity", "always"),
    "unknown_items": Kind("rows of items that the item table lacks", "`items`"),
    "duplicates": Kind("rows that equal an earlier one", "`duplicates` drop"),
    "orphans": Kind("clicks and orders without an impression before them", "`orphans` drop"),
    "bots": Kind("impressions of bots", "`bots` drop, with `bot_events`, `bot_click_rate`, `bot_impressions`"),
    "rare_items": Kind("impressions of rare items", "`item_impressions`"),
    "short_sessions": Kind("impressions of short sessions", "`session_impressions`"),
}
"""Why something is dropped, in the order of the rules; the meaning is the setting."""


@dataclass
class Finding:
    """One kind of suspicion, found ``count`` times."""

    kind: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        kind = SUSPICIONS[self.kind]
        lines = [f"  {self.count:,} {kind.title}", f"      means: {kind.meaning}"]
        return "\n".join([*lines, *(f"      such as {example}" for example in self.examples)])


@dataclass
class Loss:
    """What is dropped for one reason."""

    reason: str
    rows: int = 0
    units: dict[str, int] = field(default_factory=dict)
    """Whole users, sessions or items that these rows were, by unit."""

    def __str__(self) -> str:
        kind = LOSSES[self.reason]
        units = "".join(f", {count:,} {unit}" for unit, count in self.units.items())
        return f"  {self.rows:,} {kind.title}{units}  [{kind.meaning}]"


class Ledger:
    """Collects findings and losses while parts of a log pass by."""

    def __init__(self) -> None:
        self._findings: dict[str, Finding] = {}
        self._losses: dict[str, Loss] = {}

    def suspect(self, kind: str, count: int, examples: Iterable[str] = ()) -> None:
        """``kind`` was found ``count`` more times; ``examples`` is read only as far as it is needed."""
        if not count:
            return
        finding = self._findings.setdefault(kind, Finding(kind))
        finding.count += int(count)
        missing = EXAMPLES - len(finding.examples)
        finding.examples += [example for _, example in zip(range(missing), examples, strict=False)]

    def drop(self, reason: str, rows: int, **units: int) -> None:
        """``rows`` more rows are dropped for ``reason``, which were so many whole users, sessions or items."""
        if not rows:
            return
        loss = self._losses.setdefault(reason, Loss(reason))
        loss.rows += int(rows)
        for unit, count in units.items():
            loss.units[unit] = loss.units.get(unit, 0) + int(count)

    @property
    def findings(self) -> list[Finding]:
        """In the order of ``SUSPICIONS``."""
        return [self._findings[kind] for kind in SUSPICIONS if kind in self._findings]

    @property
    def losses(self) -> list[Loss]:
        """In the order of ``LOSSES``."""
        return [self._losses[reason] for reason in LOSSES if reason in self._losses]
