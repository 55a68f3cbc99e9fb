"""The real run does what the dry run said, whatever the log; and a run that is stopped leaves what was there before."""

import subprocess
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.own import spill
from recsim_hrl.data.own.importer import dry_run, import_log
from recsim_hrl.data.own.mapping import CleaningConfig
from recsim_hrl.data.own.names import Names
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.writer import LogWriter
from tests.data.own.shops import IMPRESSIONS, names_in, rows_of, write_csv

HEADER = "uid,sku,ts,event"
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["u", "v", "w"]),
        st.sampled_from(["a", "b", "c", "d"]),
        st.integers(0, 30).map(lambda tenth: 10**9 + 10 * tenth) | st.just(5),
        st.sampled_from(["view", "click", "purchase", "scroll"]),
    ),
    min_size=1,
    max_size=25,
)
CLEANINGS = st.builds(
    CleaningConfig,
    duplicates=st.sampled_from(["drop", "keep"]),
    gap_seconds=st.sampled_from([10.0, 60.0]),
    orphans=st.sampled_from(["drop", "impression"]),
    bot_events=st.sampled_from([4, 5000]),
    bot_impressions=st.sampled_from([3, 100]),
    item_impressions=st.integers(1, 2),
    session_impressions=st.integers(1, 2),
    width=st.just(4),
)


def expected_rows(rows, rows_are, cleaning):
    """(user, item, time, response) that are kept, as a slow reading of docs/own_log.md; in no order."""
    table = {"view": 0, "click": 1, "purchase": 2}
    found = [(user, item, time, table[word]) for user, item, time, word in rows if word in table and time > 10**8]
    if cleaning.duplicates == "drop":
        found = list(dict.fromkeys(found))
    busy = set()
    for user, day in {(user, time // 86_400) for user, _, time, _ in found}:
        if sum(row[0] == user and row[2] // 86_400 == day for row in found) > cleaning.bot_events:
            busy.add(user)
    sessions = []
    by_response = (lambda row: (row[2], row[3])) if rows_are == "events" else (lambda row: row[2])
    for user in sorted({row[0] for row in found}):
        before = None
        for row in sorted((row for row in found if row[0] == user), key=by_response):
            if before is None or row[2] - before > cleaning.gap_seconds:
                sessions.append([])
            sessions[-1].append(list(row))
            before = row[2]
    if rows_are == "events":
        sessions = [merged(session, cleaning.orphans) for session in sessions]
    users = defaultdict(list)
    for session in sessions:
        for row in session:
            users[row[0]].append(row[3] > 0)
    rates = {user: np.mean(clicks) for user, clicks in users.items() if len(clicks) >= cleaning.bot_impressions}
    bots = busy | {user for user, rate in rates.items() if rate >= cleaning.bot_click_rate}
    sessions = [session for session in sessions if session and session[0][0] not in bots]
    counts = defaultdict(int)
    for session in sessions:
        for row in session:
            counts[row[1]] += 1
    sessions = [[row for row in session if counts[row[1]] >= cleaning.item_impressions] for session in sessions]
    return [
        [tuple(row) for row in session]
        for session in sessions
        if len(session) >= cleaning.session_impressions and session
    ]


def merged(session, orphans):
    impressions, latest = [], {}
    for row in session:
        if row[3] == 0 or (row[1] not in latest and orphans == "impression"):
            latest[row[1]] = row
            impressions.append(row)
        elif row[1] in latest:
            latest[row[1]][3] = max(latest[row[1]][3], row[3])
    return impressions


@settings(max_examples=120, deadline=None)
@given(rows=ROWS, rows_are=st.sampled_from(["impressions", "events"]), cleaning=CLEANINGS)
def test_the_dry_run_tells_what_the_real_run_does(rows, rows_are, cleaning):
    mapping = replace(IMPRESSIONS, rows=rows_are, ignore="scroll")
    expected = expected_rows(rows, rows_are, cleaning)
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        source = write_csv(folder / "shop.csv", HEADER, *(",".join(map(str, row)) for row in rows))
        if not expected:
            for run in (
                lambda: dry_run(source, mapping, cleaning),
                lambda: import_log(source, folder / "log", mapping, cleaning),
            ):
                with pytest.raises(LogError, match="nothing of .* rows is left"):
                    run()
            assert names_in(folder) == ["shop.csv"]
            return
        told = dry_run(source, mapping, cleaning)
        assert names_in(folder) == ["shop.csv"], "a dry run writes nothing"
        log, report = import_log(source, folder / "log", mapping, cleaning)
        assert report.to_json() == told.to_json() and str(report) == str(told)
        assert told.rows == len(rows) == told.kept.impressions + told.merged + sum(loss.rows for loss in told.losses)
        on_disk = log.report()
        kept = told.kept
        assert (on_disk.impressions, on_disk.sessions, on_disk.users) == (kept.impressions, kept.sessions, kept.users)
        assert (on_disk.items, on_disk.orders) == (kept.items, kept.responses[2])
        assert on_disk.clicks == kept.responses[1] + kept.responses[2]
        assert sorted(map(sorted, sessions_of(log, rows))) == sorted(map(sorted, expected))


def sessions_of(log, rows):
    """The log's sessions as lists of (user, item, time, response), by the shop's names."""
    shop = {"user_id": [row[0] for row in rows], "item_id": [row[1] for row in rows]}
    kept = [place for place, row in enumerate(rows) if row[3] != "scroll" and row[2] > 10**8]
    names = {kind: list(dict.fromkeys(column[place] for place in kept)) for kind, column in shop.items()}
    sessions = defaultdict(list)
    for session, user, item, time, response in rows_of(
        log, "session_id", "user_id", "item_id", "timestamp", "response"
    ):
        sessions[session].append((names["user_id"][user], names["item_id"][item], time, response))
    return list(sessions.values())


def test_a_log_beyond_memory_is_the_same(tmp_path, monkeypatch):
    """With parts that go to disk from their first byte, and blocks of a few rows."""
    rng = np.random.default_rng(0)
    rows = [
        f"u{user},{item},{10**9 + time},{event}"
        for user, item, time, event in zip(
            rng.integers(0, 100, 2000),
            rng.integers(0, 20, 2000),
            rng.integers(0, 10**6, 2000),
            rng.choice(["view", "click", "buy"], 2000),
            strict=True,
        )
    ]
    source = write_csv(tmp_path / "shop.csv", HEADER, *rows)
    one, _ = import_log(source, tmp_path / "one", IMPRESSIONS)
    monkeypatch.setattr(spill, "_IN_MEMORY", spill.PARTS)
    stream = InteractionLog.batches.__globals__["files"].stream
    monkeypatch.setattr("recsim_hrl.data.files.stream", lambda path, columns, rows=7: stream(path, columns, rows))
    two, _ = import_log(source, tmp_path / "two", IMPRESSIONS)
    columns = ("session_id", "step", "user_id", "item_id", "response", "timestamp")
    assert rows_of(one, *columns) == rows_of(two, *columns)


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, MemoryError])
@pytest.mark.parametrize("where", ["append", "attach", "_finish"])
def test_an_interrupted_run_leaves_what_was_there(tmp_path, monkeypatch, interruption, where):
    source = write_csv(tmp_path / "shop.csv", HEADER, f"u,a,{10**9},view", f"u,b,{10**9},click")

    def fail(*_):
        raise interruption

    with monkeypatch.context() as patched, pytest.raises(interruption):
        patched.setattr(LogWriter, where, fail)
        import_log(source, tmp_path / "log", IMPRESSIONS)
    assert names_in(tmp_path) == ["shop.csv"]
    import_log(source, tmp_path / "log", IMPRESSIONS)
    before = InteractionLog.open(tmp_path / "log").metadata
    with monkeypatch.context() as patched, pytest.raises(interruption):
        patched.setattr(LogWriter, where, fail)
        import_log(source, tmp_path / "log", replace(IMPRESSIONS, rows="events"))
    assert names_in(tmp_path) == ["log", "shop.csv"] and InteractionLog.open(tmp_path / "log").metadata == before


def test_a_killed_run_leaves_no_log(tmp_path):
    """Killed at the worst moment, with everything written and nothing moved to its place."""
    write_csv(tmp_path / "shop.csv", HEADER, f"u,a,{10**9},view")
    code = (
        "import os, signal; from recsim_hrl.data.writer import LogWriter\n"
        "LogWriter._finish = lambda self: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from recsim_hrl.cli import main\n"
        "main('import shop.csv --out my --no-fit --user uid --item sku --time ts --response event --skip view'.split())"
    )
    killed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, timeout=120, capture_output=True)
    assert killed.returncode == -9
    assert names_in(tmp_path) == ["my-log", "shop.csv"]
    assert [name for name in names_in(tmp_path / "my-log") if not name.startswith(".all.partial-")] == []


def test_names_are_numbers_only_where_nothing_is_lost():
    def names(*words):
        import pyarrow as pa

        found = Names()
        assert found.add(pa.array(words)).tolist() == list(range(len(words)))
        return found

    assert names("12", "-3", str(2**63 - 1)).ids().tolist() == [12, -3, 2**63 - 1]
    for odd in ("007", "1.0", "1e3", "+1", "-0", str(2**63), "x"):
        assert names("12", odd).ids().tolist() == [0, 1], odd
    assert names("12", "x").table().to_pydict() == {"id": [0, 1], "name": ["12", "x"]}
