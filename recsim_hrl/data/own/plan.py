"""A shop's log in sessions, cleaned by the rules and not yet written: a dry run ends here, a real one goes on."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from recsim_hrl.data.blocks import run_starts
from recsim_hrl.data.checks import KeySet, session_spans
from recsim_hrl.data.own import rules
from recsim_hrl.data.own.items import ShopItems, read_item_file
from recsim_hrl.data.own.ledger import Ledger
from recsim_hrl.data.own.mapping import CleaningConfig, ColumnMapping
from recsim_hrl.data.own.names import Names
from recsim_hrl.data.own.reading import LogReader, record_type
from recsim_hrl.data.own.report import ImportReport, Kept
from recsim_hrl.data.own.spill import Spill
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.splits import boundary_of
from recsim_hrl.types import CLICK, R


class Plan:
    """Reads a log, applies the rules, and holds the impressions that are kept; use it in a ``with``.

    Rows wait in temporary files where there are too many of them for memory, with all rows of a user in one part, so
    that memory holds one part, the names of users and items, and 16 bytes for each session.

    Args:
        source: A .parquet or .csv file, or a folder of them.
        mapping: Which column is what.
        cleaning: What is kept.

    Raises:
        LogError: the log cannot be read as the mapping says, or nothing of it is left.
    """

    def __init__(self, source: str | Path, mapping: ColumnMapping, cleaning: CleaningConfig) -> None:
        self.mapping, self.cleaning = mapping, cleaning
        self._source = Path(source)
        self._ledger = Ledger()
        self._by_session = mapping.session is not None
        self._merged = 0
        self._shared = KeySet()
        self._rises = _Rises()
        self._starts: list[np.ndarray] = []
        self._users = 0
        self._responses = np.zeros(R, dtype=np.int64)

    def __enter__(self) -> "Plan":
        with ExitStack() as stack:
            dtype = record_type(self.mapping)
            self._final = stack.enter_context(Spill(dtype))
            with Spill(dtype) as cleaned:
                self._clean(cleaned)
                self._finish(cleaned)
            if not self._final.rows:
                reasons = "; ".join(str(loss).strip() for loss in self._ledger.losses)
                raise LogError(f"nothing of {self._reader.rows} rows is left: {reasons}; relax a rule", self._source)
            self.boundary = boundary_of(np.concatenate(self._starts))
            self.items = self._reader.table or self._reader.items.known()
            self.report = self._report()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @cached_property
    def user_ids(self) -> np.ndarray:
        """(users,) int64 id in the log of each user code."""
        return self.users.ids()

    @cached_property
    def item_ids(self) -> np.ndarray:
        """(n,) int64 id in the log of each item code."""
        return self.items.names.ids()

    @property
    def users(self) -> Names:
        """The names of all users that were read."""
        return self._reader.users

    def parts(self) -> Iterator[np.ndarray]:
        """The impressions that are kept: records of whole sessions, which are numbered from 0 through all parts."""
        for _, records in self._final.parts():
            yield records

    def _clean(self, cleaned: Spill) -> None:
        """Read the log and apply every rule that looks at one user alone."""
        table = read_item_file(self.mapping) if self.mapping.items is not None else None
        self._reader = LogReader(self._source, self.mapping, self.cleaning, self._ledger, table)
        with Spill(cleaned.dtype) as raw:
            self._reader.read(raw)
            self._item_counts = np.zeros(len(self._reader.item_names), dtype=np.int64)
            for part, records in raw.parts():
                impressions = self._impressions(records)
                self._item_counts += np.bincount(impressions["item"], minlength=len(self._item_counts))
                cleaned.put(part, impressions)
        self._rises.tell(self._ledger, self.mapping.rows)

    def _impressions(self, records: np.ndarray) -> np.ndarray:
        """The sessions of impressions in one part of the log."""
        ledger, cleaning = self._ledger, self.cleaning
        again = rules.duplicates(records)
        ledger.suspect("duplicate_rows", again.sum(), self._reader.describe(records[again]))
        if cleaning.duplicates == "drop":
            ledger.drop("duplicates", again.sum())
            records = records[~again]
        falls = rules.backwards(records, self._by_session)
        ledger.suspect("time_backwards", falls.sum(), self._reader.describe(records[falls]))
        busy = rules.busy_users(records, cleaning.bot_events)
        if self._by_session:
            self._look_for_shared_sessions(records)
        events = self.mapping.rows == "events"
        records = rules.in_sessions(records, self._by_session, cleaning.gap_seconds, events)
        if events:
            records = self._merge(records)
        else:
            rises = rules.further_than_before(records)
            self._rises.see(records, rises, self._reader.describe(records[rises]))
        return self._without_bots(records, busy)

    def _look_for_shared_sessions(self, records: np.ndarray) -> None:
        order = np.lexsort([records["row"], records["user"], records["session"]])
        sessions, users = records["session"][order], records["user"][order]
        heads = records[order[run_starts(sessions, users)]]  # one of each user's part of a session
        shared = self._shared.add(heads["session"])
        self._ledger.suspect("shared_sessions", shared.sum(), self._reader.describe(heads[shared]))

    def _merge(self, records: np.ndarray) -> np.ndarray:
        counts = self.cleaning.orphans == "impression"
        response, shown, early, missing = rules.merged_events(records, counts)
        for kind, found in (("response_before_impression", early), ("response_without_impression", missing)):
            self._ledger.suspect(kind, found.sum(), self._reader.describe(records[found]))
        lost = np.zeros(len(records), dtype=bool) if counts else early | missing
        self._ledger.drop("orphans", lost.sum())
        self._merged += int((~shown & ~lost).sum())
        records = records.copy()
        records["response"] = response
        return records[shown]

    def _without_bots(self, records: np.ndarray, busy: np.ndarray) -> np.ndarray:
        ledger, cleaning = self._ledger, self.cleaning
        clicking = rules.clicking_users(records, cleaning.bot_click_rate, cleaning.bot_impressions)
        for kind, users in (("busy_users", busy), ("clicking_users", clicking)):
            first = records[np.unique(records["user"], return_index=True)[1]]
            ledger.suspect(kind, len(users), self._reader.describe(first[np.isin(first["user"], users)]))
        if cleaning.bots == "keep":
            return records
        bots = np.isin(records["user"], np.union1d(busy, clicking))
        ledger.drop("bots", bots.sum(), users=len(np.unique(records["user"][bots])))
        return records[~bots]

    def _finish(self, cleaned: Spill) -> None:
        """Apply the rules that need the counts of all items, and number the sessions."""
        self._tell_of_rare_items()
        rare = self._item_counts < self.cleaning.item_impressions
        gone = int((rare & (self._item_counts > 0)).sum())
        sessions = 0
        for part, records in cleaned.parts():
            alone = records[rules.one_item_sessions(records)]
            self._ledger.suspect("one_item_sessions", len(alone), self._reader.describe(alone))
            dropped = rare[records["item"]]
            self._ledger.drop("rare_items", dropped.sum(), items=gone)
            gone = gone if not dropped.any() else 0
            records = self._without_short_sessions(records[~dropped])
            if not len(records):
                continue
            first, lengths = session_spans(records["session"])
            records["session"] = sessions + np.repeat(np.arange(len(first)), lengths)
            sessions += len(first)
            self._starts.append(records["time"][first])
            self._users += len(np.unique(records["user"]))
            self._responses += np.bincount(records["response"], minlength=R)
            self._final.put(part, records)

    def _tell_of_rare_items(self) -> None:
        once = np.flatnonzero(self._item_counts == 1)
        names = self._reader.item_names.originals()
        self._ledger.suspect("one_impression_items", len(once), (f"item {names[code]!r}" for code in once))

    def _without_short_sessions(self, records: np.ndarray) -> np.ndarray:
        if not len(records):
            return records
        _, lengths = session_spans(records["session"])
        short = np.repeat(lengths < self.cleaning.session_impressions, lengths)
        self._ledger.drop("short_sessions", short.sum(), sessions=(lengths < self.cleaning.session_impressions).sum())
        return records[~short]

    def _report(self) -> ImportReport:
        starts = np.concatenate(self._starts)
        before = int((starts < self.boundary).sum())
        shown = self._look_across_the_split()
        halves = (before, len(starts) - before)
        self._ledger.suspect("small_halves", sum(half < 2 for half in halves))
        has_table = self.mapping.items is not None
        return ImportReport(
            source=self._source.name,
            rows=self._reader.rows,
            columns=list(self._reader.columns.values()),
            unused=self._reader.unused,
            seconds=(float(self._reader.seconds[0]), float(self._reader.seconds[1])),
            findings=self._ledger.findings,
            losses=self._ledger.losses,
            merged=self._merged,
            kept=Kept(
                impressions=self._final.rows,
                sessions=len(starts),
                users=self._users,
                items=len(self.items.names) if has_table else int(shown.sum()),
                responses=tuple(int(count) for count in self._responses),
            ),
            boundary=self.boundary,
            halves=halves,
            vectors=_words_for_vectors(self.items, self.mapping, self.cleaning),
        )

    def _look_across_the_split(self) -> np.ndarray:
        """Tell what train and test share or lack; (n,) bool the items that are shown at all."""
        shown = np.zeros((2, len(self._item_counts)), dtype=bool)
        for records in self.parts():
            first, lengths = session_spans(records["session"])
            late = records["time"][first] >= self.boundary
            for side in (0, 1):
                shown[side, records["item"][np.repeat(late == side, lengths)]] = True
            crossing = first[~late & (records["time"][first + lengths - 1] >= self.boundary)]
            self._ledger.suspect("sessions_across_split", len(crossing), self._reader.describe(records[crossing]))
        new = np.flatnonzero(shown[1] & ~shown[0])
        names = self._reader.item_names.originals()
        self._ledger.suspect("test_only_items", len(new), (f"item {names[code]!r}" for code in new))
        return shown.any(axis=0)


@dataclass
class _Rises:
    """Clicks that follow a row of their item which went less far, over all parts."""

    count: int = 0
    clicks: int = 0
    examples: list[str] | None = None

    def see(self, records: np.ndarray, rises: np.ndarray, examples: Iterator[str]) -> None:
        self.clicks += int((records["response"] >= CLICK).sum())
        self.count += int(rises.sum())
        self.examples = self.examples or list(examples)

    def tell(self, ledger: Ledger, rows: str) -> None:
        # Shown again and then clicked is usual in small numbers.
        if rows == "impressions" and 2 * self.count >= self.clicks:
            ledger.suspect("looks_like_events", self.count, self.examples or ())


def _words_for_vectors(items: ShopItems, mapping: ColumnMapping, cleaning: CleaningConfig) -> str:
    if items.embeddings is None:
        return (
            f"made from sessions before the split, {cleaning.width} wide: what they show together, rates of clicks and "
            "orders"
        )
    named = [f"embedding {mapping.embedding!r}"] if mapping.embedding else []
    named += [f"features {', '.join(map(repr, mapping.feature_names))}"] if mapping.feature_names else []
    return (
        f"{' and '.join(named)} of the item table, {items.embeddings.shape[1]} wide; if they were computed from "
        "responses after the split, test is no longer unseen, which no file can show"
    )
