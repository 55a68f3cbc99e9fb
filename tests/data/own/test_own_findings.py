"""Every suspicion is raised by a small log that deserves it, with its count and an example, and by no clean one."""

from dataclasses import replace
from pathlib import Path

import pytest

from recsim_hrl.data.own.importer import dry_run, import_log
from recsim_hrl.data.own.ledger import LOSSES, SUSPICIONS
from recsim_hrl.data.own.mapping import CleaningConfig
from recsim_hrl.data.own.report import ImportReport
from recsim_hrl.data.schema import LogError
from tests.data.own.shops import IMPRESSIONS, names_in, rows_of, write_csv

NOON = 1_714_564_800  # 2024-05-01T12:00:00Z
DAY = 86_400
EVENTS = replace(IMPRESSIONS, rows="events")
HEADER = "uid,sku,ts,event"

CLEAN = [
    f"u{user},{item},{NOON + visit * DAY + place},{event}"
    for visit in (0, 1)
    for user in (1, 2)
    for place, (item, event) in enumerate([("a", "view"), ("b", "click"), ("c", "purchase")])
]
"""Two users, two visits each of the same three items."""


def look(tmp_path, *rows, mapping=IMPRESSIONS, header=HEADER, **cleaning) -> ImportReport:
    return dry_run(write_csv(tmp_path / "shop.csv", header, *rows), mapping, CleaningConfig(**cleaning))


def kinds(report):
    return [finding.kind for finding in report.findings]


def test_a_clean_log_has_no_findings(tmp_path):
    report = look(tmp_path, *CLEAN)
    assert (kinds(report), report.losses, report.kept.impressions) == ([], [], 12)
    assert "Suspicious: nothing" in str(report) and "Dropped: nothing" in str(report)


ONE_ROW = {
    "duplicate_rows": (CLEAN[0], "row 13: user 'u1', item 'a', 2024-05-01T12:00:00Z, skip", {}),
    "implausible_times": ("u1,a,12,view", "row 13: time '12'", {}),
    "time_backwards": (f"u2,a,{NOON - 5},view", "row 13: user 'u2', item 'a', 2024-05-01T11:59:55Z, skip", {}),
    "busy_users": (
        f"u1,a,{NOON + DAY + 9},view",
        "row 1: user 'u1', item 'a', 2024-05-01T12:00:00Z, skip",
        {"bot_events": 3, "bots": "keep"},
    ),
    "one_item_sessions": (f"u2,a,{NOON + 9 * DAY},view", "row 13: user 'u2', item 'a', 2024-05-10T12:00:00Z, skip", {}),
}


@pytest.mark.parametrize(("kind", "row", "example", "cleaning"), [(kind, *rest) for kind, rest in ONE_ROW.items()])
def test_one_more_row_makes_one_finding(tmp_path, kind, row, example, cleaning):
    report = look(tmp_path, *CLEAN, row, **cleaning)
    assert kinds(report) == [kind]
    assert (report.finding(kind).count, report.finding(kind).examples) == (1, [example])
    assert SUSPICIONS[kind].meaning in str(report) and example in str(report)


@pytest.mark.parametrize("late", ["x", f"x,{NOON + 7}"])
def test_a_click_without_its_impression(tmp_path, late):
    """The click of x, which the session never shows, or shows 3 seconds later."""
    views = [row.replace("purchase", "view").replace("click", "view") for row in CLEAN]
    rows = [f"u1,x,{NOON + 4},click", *([f"u1,{late},view"] if "," in late else [])]
    report = look(tmp_path, *views, *rows, mapping=EVENTS)
    kind = "response_before_impression" if "," in late else "response_without_impression"
    assert kind in kinds(report)
    assert report.finding(kind).examples == ["row 13: user 'u1', item 'x', 2024-05-01T12:00:04Z, click"]
    assert (report.dropped("orphans"), report.kept.impressions) == (1, 12 + ("," in late))
    kept = look(tmp_path, *views, *rows, mapping=EVENTS, orphans="impression")
    assert (kept.finding(kind).count, kept.dropped("orphans"), kept.kept.impressions) == (1, 0, 13 + ("," in late))


def test_events_read_as_impressions_are_noticed(tmp_path):
    rows = [f"u1,a,{NOON},view", f"u1,b,{NOON + 1},view", f"u1,b,{NOON + 2},click", f"u1,b,{NOON + 3},purchase"]
    again = [row.replace("u1", "u2") for row in rows]
    finding = look(tmp_path, *rows, *again).finding("looks_like_events")
    assert (finding.count, len(finding.examples)) == (4, 2)
    assert look(tmp_path, *rows, *again, mapping=EVENTS).finding("looks_like_events") is None
    shown_again = [f"u1,b,{NOON},view", f"u1,b,{NOON + 9},click", f"u1,a,{NOON},click", f"u1,c,{NOON},click"]
    assert look(tmp_path, *shown_again).finding("looks_like_events") is None


def test_users_who_click_on_nearly_everything(tmp_path):
    """19 of 20 is 0.95 and a bot, 18 of 20 is not; neither is 4 of 4."""

    def visit(user, clicks, size):
        return [f"{user},{place % 7},{NOON + place},{'click' if place < clicks else 'view'}" for place in range(size)]

    rows = [*visit("robot", 19, 20), *visit("fan", 18, 20), *visit("happy", 4, 4)]
    report = look(tmp_path, *rows, bot_impressions=20)
    finding = report.finding("clicking_users")
    assert (finding.count, finding.examples) == (1, ["row 1: user 'robot', item '0', 2024-05-01T12:00:00Z, click"])
    loss = next(loss for loss in report.losses if loss.reason == "bots")
    assert (loss.rows, loss.units, report.kept.users) == (20, {"users": 1}, 2)
    assert look(tmp_path, *rows, bot_impressions=20, bots="keep").kept.users == 3


def test_rare_items_and_short_sessions_go_in_this_order(tmp_path):
    """x has one impression; without it, the third session of u1 has one impression left, and goes too."""
    rows = [f"u1,x,{NOON + 5 * DAY},view", f"u1,a,{NOON + 5 * DAY + 1},view"]
    report = look(tmp_path, *CLEAN, *rows, item_impressions=2, session_impressions=2)
    assert (report.finding("one_impression_items").count, report.finding("one_impression_items").examples) == (
        1,
        ["item 'x'"],
    )
    assert [(loss.reason, loss.rows, loss.units) for loss in report.losses] == [
        ("rare_items", 1, {"items": 1}),
        ("short_sessions", 1, {"sessions": 1}),
    ]
    assert (report.kept.impressions, report.kept.items, report.kept.sessions) == (12, 3, 4)


def test_propensities_that_are_none(tmp_path):
    chances = ["0.1", "0.2", "1", "0", "1.5", "-0.1"] * 2
    rows = [f"{row},{chance}" for row, chance in zip(CLEAN, chances, strict=True)]
    report = look(tmp_path, *rows, header=HEADER + ",p", mapping=replace(IMPRESSIONS, propensity="p"))
    finding = report.finding("bad_propensities")
    assert finding.count == report.dropped("bad_propensities") == 6
    assert finding.examples == [
        f"row {row}: propensity {chance!r}" for row, chance in ((4, "0"), (5, "1.5"), (6, "-0.1"))
    ]
    fine = [f"{row},{chance}" for row, chance in zip(CLEAN, ["0.1", "1"] * 6, strict=True)]
    assert look(tmp_path, *fine, header=HEADER + ",p", mapping=replace(IMPRESSIONS, propensity="p")).findings == []


def test_constant_columns(tmp_path):
    rows = [f"{row},0.5" for row in CLEAN]
    report = look(tmp_path, *rows, header=HEADER + ",p", mapping=replace(IMPRESSIONS, propensity="p"))
    assert (kinds(report), report.findings[0].examples) == (["constant_columns"], ["propensity 'p': always 0.5"])


def test_sessions_of_two_users(tmp_path):
    rows = [f"{row},s{place // 3}" for place, row in enumerate(CLEAN)]
    mapping, header = replace(IMPRESSIONS, session="sid"), HEADER + ",sid"
    assert look(tmp_path, *rows, header=header, mapping=mapping).findings == []
    strange = [*rows, f"u2,a,{NOON + 2 * DAY},view,s0", f"u2,b,{NOON + 2 * DAY},view,s0"]
    report = look(tmp_path, *strange, header=header, mapping=mapping)
    assert kinds(report) == ["shared_sessions"] and report.finding("shared_sessions").count == 1
    assert report.kept.sessions == 5


def test_what_crosses_the_split(tmp_path):
    """The split lies where the third of four sessions begins; u1's first ends after that, and y is new there."""
    rows = [row.replace("c,", "y,") if place >= 6 else row for place, row in enumerate(CLEAN)]
    mapping, header = replace(IMPRESSIONS, session="sid"), HEADER + ",sid"
    rows = [f"{row},s{place // 3}" for place, row in enumerate(rows)]
    rows += [f"u1,b,{NOON + 3 * DAY},view,s0"]
    report = look(tmp_path, *rows, header=header, mapping=mapping)
    assert kinds(report) == ["sessions_across_split", "test_only_items"]
    assert (report.boundary, report.halves) == (NOON + DAY, (2, 2))
    assert report.findings[0].examples == ["row 1: user 'u1', item 'a', 2024-05-01T12:00:00Z, skip"]
    assert report.findings[1].examples == ["item 'y'"]


def test_no_split_in_time(tmp_path):
    rows = [row.replace(str(NOON + DAY), str(NOON)) for row in CLEAN[:3] + CLEAN[3:6]]
    report = look(tmp_path, *rows)
    assert (kinds(report), report.halves) == (["test_only_items", "small_halves"], (0, 2))
    with pytest.raises(LogError, match=r"has \(0, 2\) sessions on its sides, allowed two or more on each"):
        import_log(tmp_path / "shop.csv", tmp_path / "log", IMPRESSIONS, must_split=True)
    assert names_in(tmp_path) == ["shop.csv"]


def test_every_suspicion_and_loss_is_tried_somewhere():
    tests = [path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_own_*.py")]
    for kind in [*SUSPICIONS, *LOSSES]:
        assert any(f'"{kind}"' in text for text in tests), kind


def test_what_is_ignored_may_lack_everything_else(tmp_path):
    report = look(tmp_path, *CLEAN, ",,,scroll", "u1,,soon,scroll", mapping=replace(IMPRESSIONS, ignore="scroll"))
    assert (report.dropped("ignored"), report.kept.impressions) == (2, 12)
    assert "scroll 2 = ignored" in report.columns[3].reading


def test_duplicates_may_be_kept(tmp_path):
    source = write_csv(tmp_path / "shop.csv", HEADER, *CLEAN, CLEAN[0])
    log, report = import_log(source, tmp_path / "log", IMPRESSIONS, CleaningConfig(duplicates="keep"))
    assert report.finding("duplicate_rows").count == 1 and report.dropped("duplicates") == 0
    assert rows_of(log, "session_id", "step", "item_id")[:2] == [(0, 0, 0), (0, 1, 0)]
    assert look(tmp_path, *CLEAN, CLEAN[0]).dropped("duplicates") == 1
