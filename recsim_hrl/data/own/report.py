"""What an import understood, finds suspicious, drops and keeps; the same before and after it is done."""

import json
from dataclasses import asdict, dataclass

from recsim_hrl.data.own.ledger import SUSPICIONS, Finding, Loss
from recsim_hrl.data.own.reading import ColumnReport
from recsim_hrl.data.own.values import moment_of
from recsim_hrl.types import RESPONSES


@dataclass(frozen=True)
class Kept:
    """Counts of what the log will hold."""

    impressions: int
    sessions: int
    users: int
    items: int
    """Items of the item table of the log, shown or not."""
    responses: tuple[int, int, int]
    """Impressions by response: skip, click, order."""


@dataclass(frozen=True)
class ImportReport:
    """Every row that was read is kept as an impression, merged into one, or dropped for one reason."""

    source: str
    rows: int
    columns: list[ColumnReport]
    unused: list[str]
    """Columns that the mapping does not name."""
    seconds: tuple[float, float]
    """The earliest and the latest time."""
    findings: list[Finding]
    losses: list[Loss]
    merged: int
    """Rows of events that became the response of an impression."""
    kept: Kept
    boundary: float
    """The moment in seconds since 1970 that splits the log into train and test."""
    halves: tuple[int, int]
    """Sessions before it, and from it on."""
    vectors: str
    """Where the item vectors come from, in words."""

    def finding(self, kind: str) -> Finding | None:
        """The finding of a kind of ``SUSPICIONS``, or None."""
        return next((finding for finding in self.findings if finding.kind == kind), None)

    def dropped(self, reason: str) -> int:
        """Rows dropped for a reason of ``LOSSES``."""
        return next((loss.rows for loss in self.losses if loss.reason == reason), 0)

    def __str__(self) -> str:
        return "\n".join([*self._understood(), "", *self._suspicious(), "", *self._dropped(), "", *self._kept()])

    def to_json(self) -> str:
        """The report as a JSON object with the field names as keys."""
        content = asdict(self)
        for finding in content["findings"]:
            finding |= asdict(SUSPICIONS[finding["kind"]])
        return json.dumps(content, indent=2)

    def _understood(self) -> list[str]:
        lines = [f"{self.source}: {self.rows:,} rows", "", "Understood"]
        roles, names = ["role", "item vectors"], [""]
        roles += [column.role for column in self.columns]
        names += [repr(column.column) for column in self.columns]
        width, wide = max(map(len, roles)), max(map(len, names))
        for column in self.columns:
            lines.append(f"  {column.role:{width}}  {column.column!r:{wide}}  {column.reading}")
            if column.examples and column.role != "response":
                lines[-1] += f"; such as {', '.join(column.examples[: 1 if column.role == 'time' else None])}"
        span = f"{moment_of(self.seconds[0])} to {moment_of(self.seconds[1])}"
        lines.append(f"  {'time span':{width}}  {'':{wide}}  {span}")
        lines.append(f"  {'item vectors':{width}}  {'':{wide}}  {self.vectors}")
        if self.unused:
            lines.append(f"  {'not used':{width}}  {', '.join(map(repr, self.unused))}")
        return lines

    def _suspicious(self) -> list[str]:
        return ["Suspicious", *map(str, self.findings)] if self.findings else ["Suspicious: nothing"]

    def _dropped(self) -> list[str]:
        lines = ["Dropped", *map(str, self.losses)] if self.losses else ["Dropped: nothing"]
        return [*lines, f"Merged into the impression before them: {self.merged:,}"] if self.merged else lines

    def _kept(self) -> list[str]:
        kept = self.kept
        responses = ", ".join(f"{count:,} {name}" for name, count in zip(RESPONSES, kept.responses, strict=True))
        return [
            f"Kept: {kept.impressions:,} impressions ({responses}) in {kept.sessions:,} sessions of {kept.users:,} "
            f"users; {kept.items:,} items",
            f"Split: {self.halves[0]:,} sessions begin before {moment_of(self.boundary)} (train), {self.halves[1]:,} "
            "later (test)",
        ]
