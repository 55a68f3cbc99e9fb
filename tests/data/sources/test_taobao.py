"""Taobao UserBehavior from small files in the publisher's format, good and damaged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.cli import main
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.taobao import TaobaoConfig, read_taobao
from tests.data.sources.test_retailrocket import archive, folder

T = 1_511_544_070
"""01:21 in China on 25 November 2017, in seconds."""
# User, item, category, behaviour, seconds; the publisher's rows stand user by user, not always in order of time.
ROWS = [
    (1, 2268318, 2520377, "pv", T),
    (1, 2333346, 2520771, "pv", T + 60),
    (1, 2268318, 2520377, "fav", T + 120),
    (1, 2333346, 2520771, "buy", T + 90),
    (1, 2333346, 2520771, "cart", T + 80),
    (1, 2268318, 2520377, "pv", T + 120 + 1801),  # a second more than the gap
    (100, 1603476, 2951233, "buy", T - 10),  # nothing viewed before
    (100, 1603476, 2951233, "buy", T - 10),  # rows come twice
    (100, 1603476, 77, "pv", T),  # another category, told less often
]
OUTSIDE = [
    (1, 2268318, 2520377, "pv", -2134949234),
    (1, 2268318, 2520377, "pv", 1_511_539_199),  # the last second of 24 November in China
    (1, 2268318, 2520377, "pv", 1_512_316_800),  # midnight after 3 December
    (1, 2268318, 2520377, "pv", 2122867355),
]
ALL = TaobaoConfig(min_item_impressions=1)


def content(rows=ROWS):
    return "".join(",".join(map(str, row)) + "\n" for row in rows).encode()


def rows_of(log):
    (batch,) = log.batches()
    names = ("session_id", "step", "user_id", "item_id", "response")
    times = (batch["timestamp"] - T).tolist()
    return list(zip(*(batch[name].tolist() for name in names), times, strict=True))


def test_rows_by_hand(tmp_path):
    log = read_taobao(folder(tmp_path / "data", {"UserBehavior.csv": content()}), tmp_path / "log", ALL)
    assert rows_of(log) == [
        (0, 0, 100, 1603476, 2, -10),
        (1, 0, 1, 2268318, 1, 0),  # viewed, then a favourite
        (1, 1, 1, 2333346, 2, 60),  # viewed, cart, bought
        (2, 0, 1, 2268318, 0, 1921),
    ]
    names = [log.metadata["categories"][category] for category in log.items.categories]
    assert (log.items.item_ids.tolist(), names) == ([1603476, 2268318, 2333346], ["2951233", "2520377", "2520771"])
    reading = log.metadata["reading"]
    assert (reading["rows"], reading["events"], reading["begun_by_response"]) == (9, 9, 1)


def test_events_outside_the_nine_days_are_dropped_and_told(tmp_path, capsys):
    many = [(user, 2268318, 2520377, "pv", T + user) for user in range(2, 500)]
    edges = [(700, 2268318, 2520377, "pv", 1_511_539_200), (700, 2268318, 2520377, "pv", 1_512_316_799)]
    source = folder(tmp_path / "data", {"UserBehavior.csv": content([*ROWS, *OUTSIDE, *many, *edges])})
    assert main(["taobao", str(source), "--out", str(tmp_path / "log"), "--min-item-impressions", "1"]) == 0
    text = capsys.readouterr().out
    assert "read 513 events (the publisher states 100,150,807)" in text
    assert "outside the days  4 events, dropped" in text
    assert "taobao: 504 impressions" in text


def test_a_file_of_other_days_is_refused(tmp_path):
    source = folder(tmp_path / "data", {"UserBehavior.csv": content(ROWS * 3 + OUTSIDE)})
    assert "4 of 31 events are outside the days of taobao, allowed 1%" in str(fails(source, tmp_path))
    milliseconds = [(*row[:4], row[4] * 1000) for row in ROWS]
    source = folder(tmp_path / "other", {"UserBehavior.csv": content(milliseconds)})
    assert "9 of 9 events are outside the days" in str(fails(source, tmp_path))


def test_every_source_gives_the_same_log(tmp_path):
    sources = [
        folder(tmp_path / "a", {"UserBehavior.csv": content()}),
        tmp_path / "a" / "UserBehavior.csv",
        archive(tmp_path / "UserBehavior.csv.zip", {"UserBehavior.csv": content()}),
        folder(tmp_path / "crlf", {"UserBehavior.csv": content(ROWS[::-1]).replace(b"\n", b"\r\n")[:-2]}),
    ]
    logs = [read_taobao(source, tmp_path / "logs" / str(at), ALL) for at, source in enumerate(sources)]
    for log in logs[1:]:
        assert rows_of(log) == rows_of(logs[0])
        np.testing.assert_array_equal(log.items.embeddings.numpy(), logs[0].items.embeddings.numpy())


ROW = st.tuples(
    st.integers(1, 3),
    st.integers(1, 4),
    st.just(9),
    st.sampled_from(["pv", "fav", "cart", "buy"]),
    st.integers(T, T + 9000),
)


@settings(max_examples=15, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=25))
def test_against_a_slow_reader(tmp_path_factory, rows):
    strength = {"pv": 0, "fav": 1, "cart": 1, "buy": 2}
    expected = []
    for user in {row[0] for row in rows}:
        visit, last = -1, None
        shown = {}
        for _, item, _, behaviour, time in sorted((r for r in rows if r[0] == user), key=lambda r: (r[4], r[1])):
            visit += last is None or time - last > 1800
            last = time
            time, response = shown.get((visit, item), (time, 0))
            shown[visit, item] = (time, max(response, strength[behaviour]))
        expected += [(user, item, response, time - T) for (_, item), (time, response) in shown.items()]
    base = tmp_path_factory.mktemp("slow")
    log = read_taobao(folder(base / "data", {"UserBehavior.csv": content(rows)}), base / "log", ALL)
    assert sorted(row[2:] for row in rows_of(log)) == sorted(expected)


def fails(source, tmp_path):
    with pytest.raises(LogError) as caught:
        read_taobao(source, tmp_path / "log", ALL)
    assert not [path for path in tmp_path.iterdir() if "log" in path.name]
    return caught.value


DAMAGE = {
    "header": (lambda x: b"user,item,category,behavior,time\n" + x, "user_id", 1, "row 1 (line 1): got 'user'"),
    "behaviour": (lambda x: x.replace(b"fav", b"like"), "behavior", 3, "got 'like', allowed pv or fav or cart or buy"),
    "time": (lambda x: x.replace(b"1511544130", b"15115x4130"), "timestamp", 2, "got '15115x4130'"),
    "cut": (lambda x: x[:-12], "timestamp", 9, "(line 9): a broken row: got 4 fields ('100,1603476,77,pv')"),
    "empty": (lambda x: b"", None, None, "the file is empty"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files(tmp_path, case):
    damage, column, row, message = DAMAGE[case]
    error = fails(folder(tmp_path / "data", {"UserBehavior.csv": damage(content())}), tmp_path)
    assert error.file.endswith("data/UserBehavior.csv") and (error.column, error.row) == (column, row)
    assert message in str(error)


def test_a_damaged_archive(tmp_path):
    whole = archive(tmp_path / "UserBehavior.csv.zip", {"UserBehavior.csv": content()})
    whole.write_bytes(whole.read_bytes()[:-40])
    assert "not readable as a zip archive" in str(fails(whole, tmp_path))
