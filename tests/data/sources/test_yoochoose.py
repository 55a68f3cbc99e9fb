"""YooChoose from small files in the publisher's format, good and damaged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.cli import main
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_files import Place, read_table
from recsim_hrl.data.sources.yoochoose import CLICKS as CLICKS_TABLE
from recsim_hrl.data.sources.yoochoose import YoochooseConfig, read_yoochoose
from tests.data.sources.test_retailrocket import archive, folder

# Session, time, item, context; sessions are numbered, but the file is in no order of time.
CLICKS = """\
2,2014-04-07T13:56:37.614Z,214662742,0
2,2014-04-07T13:57:19.373Z,214662742,0
2,2014-04-07T13:58:37.446Z,214825110,S
1,2014-04-07T10:51:09.277Z,214536502,0
1,2014-04-07T10:54:09.868Z,214536500,7
1,2014-04-07T10:57:00.306Z,214536502,7
1,2014-04-07T10:54:46.998Z,214536506,2089046335
1,2014-04-07T12:59:00.000Z,214536500,3
"""
BUYS = """\
2,2014-04-07T13:59:00.000Z,214825110,1046,1
2,2014-04-07T13:59:00.000Z,214825110,1046,1
2,2014-04-07T14:00:00.000Z,214999999,0,0
"""
NOON = 1_396_872_000  # 2014-04-07T12:00:00Z
ALL = YoochooseConfig(min_item_impressions=1)


def publisher_files(clicks=CLICKS, buys=BUYS):
    return {
        "yoochoose-clicks.dat": clicks.encode(),
        "yoochoose-buys.dat": buys.encode(),
        "dataset-README.txt": b"SUMMARY\n",
    }


def rows_of(log):
    (batch,) = log.batches()
    names = ("session_id", "step", "user_id", "item_id", "response")
    times = np.round(batch["timestamp"] - NOON, 3).tolist()
    return list(zip(*(batch[name].tolist() for name in names), times, strict=True))


def test_rows_by_hand(tmp_path):
    log = read_yoochoose(folder(tmp_path / "data", publisher_files()), tmp_path / "log", ALL)
    assert rows_of(log) == [
        (0, 0, 1, 214536502, 1, -4130.723),  # opened again after others
        (0, 1, 1, 214536500, 1, -3950.132),  # two hours later is the same session of the publisher
        (0, 2, 1, 214536506, 0, -3913.002),
        (1, 0, 2, 214662742, 0, 6997.614),  # twice in a row is no return
        (1, 1, 2, 214825110, 2, 7117.446),  # bought, in a row that comes twice
        (1, 2, 2, 214999999, 2, 7200.0),  # bought for a price of 0, never opened
    ]
    # Categories: 7 as often as 3, and the smaller one counts; 7; a brand; nothing; a special offer; never opened.
    names = [log.metadata["categories"][category] for category in log.items.categories]
    expected = {214536500: "3", 214536502: "7"}
    assert names == [expected.get(item, "unknown") for item in log.items.item_ids.tolist()]
    reading = log.metadata["reading"]
    assert (reading["rows"], reading["published_rows"], reading["begun_by_response"]) == (11, 34_154_697, 1)
    assert log.items.prices.tolist() == [0.0] * 6


def test_without_returns(tmp_path):
    source = folder(tmp_path / "data", publisher_files())
    log = read_yoochoose(source, tmp_path / "log", YoochooseConfig(min_item_impressions=1, return_is_click=False))
    assert [row[4] for row in rows_of(log)] == [0, 0, 0, 0, 2, 2]
    log = read_yoochoose(source, tmp_path / "gap", YoochooseConfig(min_item_impressions=1, gap_seconds=1800))
    assert [row[:4] for row in rows_of(log)][:5] == [
        (0, 0, 1, 214536502),
        (0, 1, 1, 214536500),
        (0, 2, 1, 214536506),
        (1, 0, 1, 214536500),  # two hours later
        (2, 0, 2, 214662742),
    ]


def test_every_source_gives_the_same_log(tmp_path):
    files = publisher_files()
    sources = [
        folder(tmp_path / "a", files),
        tmp_path / "a" / "yoochoose-buys.dat",
        archive(tmp_path / "yoochoose-data.zip", files),
        folder(tmp_path / "crlf", {name: content.replace(b"\n", b"\r\n") for name, content in files.items()}),
    ]
    logs = [read_yoochoose(source, tmp_path / "logs" / str(at), ALL) for at, source in enumerate(sources)]
    assert all(rows_of(log) == rows_of(logs[0]) for log in logs)


def test_the_command(tmp_path, capsys):
    source = folder(tmp_path / "data", publisher_files())
    assert main(["yoochoose", str(source), "--out", str(tmp_path / "log"), "--min-item-impressions", "1"]) == 0
    assert "yoochoose: 6 impressions in 2 sessions of 2 users" in capsys.readouterr().out


def fails(source, tmp_path):
    with pytest.raises(LogError) as caught:
        read_yoochoose(source, tmp_path / "log", ALL)
    assert not (tmp_path / "log").exists()
    return caught.value


DAMAGE = {
    "local time": (
        "yoochoose-clicks.dat",
        "13:57:19.373Z",
        "13:57:19.373",
        "timestamp",
        2,
        "got '2014-04-07T13:57:19.",
    ),
    "day": ("yoochoose-clicks.dat", "2014-04-07T13:57", "2014-04-31T13:57", "timestamp", 2, "allowed a moment of 2014"),
    "year": ("yoochoose-clicks.dat", "2014-04-07T13:57", "2013-04-07T13:57", "timestamp", 2, "got '2013-04-07T13:57"),
    "category": (
        "yoochoose-clicks.dat",
        ",S",
        ",T",
        "category",
        3,
        "got 'T', allowed a whole number of 0 or more, or S",
    ),
    "session": ("yoochoose-buys.dat", "2,2014", "two,2014", "session_id", 1, "got 'two'"),
    "price": ("yoochoose-buys.dat", ",1046,", ",10.46,", "price", 1, "got '10.46'"),
    "cut": ("yoochoose-buys.dat", ",0,0\n", ",0", "quantity", 3, "got 4 fields"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files(tmp_path, case):
    name, old, new, column, row, message = DAMAGE[case]
    files = publisher_files()
    files[name] = files[name].replace(old.encode(), new.encode(), 1)
    error = fails(folder(tmp_path / "data", files), tmp_path)
    assert error.file.endswith(f"data/{name}") and (error.column, error.row) == (column, row)
    assert message in str(error)


def test_the_publishers_archive_has_to_be_extracted(tmp_path):
    (tmp_path / "yoochoose-data.7z").write_bytes(b"7z\xbc\xaf\x27\x1c")
    assert "got a .7z file, allowed .zip and .tar.gz; extract it and pass the folder" in str(
        fails(tmp_path / "yoochoose-data.7z", tmp_path)
    )


def test_a_missing_file_is_named(tmp_path):
    files = publisher_files()
    del files["yoochoose-buys.dat"]
    error = fails(folder(tmp_path / "data", files), tmp_path)
    assert "not all of YooChoose: ['yoochoose-buys.dat'] missing" in str(error)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 10**18 - 1),
            st.integers(0, 364 * 86_400_000),
            st.integers(0, 10**18 - 1),
            st.sampled_from(["0", "S", "1", "12", "13", "2089046335"]),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_any_clicks_are_read_as_they_are(tmp_path_factory, rows):
    begin = np.datetime64("2014-01-01T00:00:00.000")
    text = "".join(f"{user},{begin + np.timedelta64(ms)}Z,{item},{kind}\n" for user, ms, item, kind in rows)
    path = tmp_path_factory.mktemp("clicks") / CLICKS_TABLE.file
    path.write_text(text)
    ((origin, columns),) = read_table(Place(path), CLICKS_TABLE)
    expected = [(user, 1_388_534_400_000 + ms, item, -1 if kind == "S" else int(kind)) for user, ms, item, kind in rows]
    assert list(zip(*(values.to_pylist() for values in columns.values()), strict=True)) == expected
    assert origin.first_row == 1


@settings(max_examples=60, deadline=None)
@given(text=st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("clicks") / CLICKS_TABLE.file
    path.write_bytes(CLICKS.encode() + text)
    try:
        assert sum(len(columns["item_id"]) for _, columns in read_table(Place(path), CLICKS_TABLE)) >= 8
    except LogError as error:
        assert error.file == str(path)
