"""RetailRocket from small files in the publisher's format, good and damaged."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.cli import main
from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources.event_log import reading_report
from recsim_hrl.data.sources.retailrocket import RetailrocketConfig, read_retailrocket
from recsim_hrl.data.splits import split_by_time

T = 1_433_221_332_117
"""A moment in June 2015, in milliseconds."""
MINUTE = 60_000
# Milliseconds, visitor, event, item, transaction; not in order of time, as in events.csv.
EVENTS = [
    (T + 40 * MINUTE, 257597, "transaction", 355908, "4000"),  # 35 minutes after the last event: a new visit
    (T, 257597, "view", 355908, ""),
    (T, 257597, "view", 355908, ""),  # rows come twice
    (T + 2 * MINUTE, 257597, "view", 248676, ""),
    (T + 4 * MINUTE, 257597, "addtocart", 355908, ""),
    (T + 5 * MINUTE, 257597, "view", 318965, ""),
    (T - MINUTE, 0, "view", 248676, ""),
    (T + MINUTE, 0, "view", 253185, ""),
    (T + 3 * MINUTE, 0, "transaction", 253185, "0"),
]
PROPERTIES = [
    (1_435_460_400_000, 355908, "categoryid", "1338"),
    (1_441_508_400_000, 355908, "888", "1116713 960601 n277.200"),
    (1_441_508_400_000, 355908, "categoryid", "500"),  # moved later on
    (1_435_460_400_000, 248676, "available", "1"),
    (1_435_460_400_000, 248676, "categoryid", "77"),
]
MORE_PROPERTIES = [(1_435_460_400_000, 253185, "categoryid", "999"), (1_435_460_400_000, 1, "categoryid", "1338")]
TREE = [("1338", "400"), ("400", "250"), ("250", "140"), ("140", ""), ("77", "250"), ("500", "140")]


def table(header, rows):
    return "".join(",".join(map(str, row)) + "\n" for row in [header.split(","), *rows]).encode()


def publisher_files(events=EVENTS):
    return {
        "events.csv": table("timestamp,visitorid,event,itemid,transactionid", events),
        "item_properties_part1.csv": table("timestamp,itemid,property,value", PROPERTIES),
        "item_properties_part2.csv": table("timestamp,itemid,property,value", MORE_PROPERTIES),
        "category_tree.csv": table("categoryid,parentid", TREE),
    }


def folder(path, files):
    path.mkdir(parents=True)
    for name, content in files.items():
        (path / name).write_bytes(content)
    return path


def archive(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


ALL = RetailrocketConfig(min_item_impressions=1)


def rows_of(log):
    (batch,) = log.batches()
    names = ("session_id", "step", "user_id", "item_id", "response")
    times = np.round((batch["timestamp"] - T / 1000) / 60, 3).tolist()
    return list(zip(*(batch[name].tolist() for name in names), times, strict=True))


def test_rows_by_hand(tmp_path):
    log = read_retailrocket(folder(tmp_path / "data", publisher_files()), tmp_path / "log", ALL)
    assert rows_of(log) == [
        (0, 0, 0, 248676, 0, -1),  # the earliest session comes first; visitor 0 is a visitor
        (0, 1, 0, 253185, 2, 1),  # viewed, then ordered: one row at the time of the view; transaction 0 is a number
        (1, 0, 257597, 355908, 1, 0),  # viewed twice, put into the cart
        (1, 1, 257597, 248676, 0, 2),
        (1, 2, 257597, 318965, 0, 5),
        (2, 0, 257597, 355908, 2, 40),  # ordered in a visit that did not view it
    ]
    assert log.metadata["reading"] == {
        "rows": 9,
        "published_rows": 2_756_101,
        "rows_outside_days": 0,
        "events": 9,
        "visits": 3,
        "impressions": 6,
        "begun_by_response": 1,
        "longest_visit": 3,
        "items": 4,
        "items_dropped": 0,
        "impressions_dropped": 0,
    }
    assert "read 9 events (the publisher states 2,756,101)" in reading_report(log)


def test_categories(tmp_path):
    source = folder(tmp_path / "data", publisher_files())
    log = read_retailrocket(source, tmp_path / "log", ALL)
    assert log.items.item_ids.tolist() == [248676, 253185, 318965, 355908]
    names = [log.metadata["categories"][category] for category in log.items.categories]
    # 77 is a child of 250, a child of the root 140; 999 is not in the tree; no row; 1338 came first.
    assert names == ["250", "999", "unknown", "250"]
    deep = read_retailrocket(source, tmp_path / "deep", RetailrocketConfig(min_item_impressions=1, category_depth=3))
    assert [deep.metadata["categories"][category] for category in deep.items.categories][0::3] == ["77", "1338"]
    roots = read_retailrocket(source, tmp_path / "roots", RetailrocketConfig(min_item_impressions=1, category_depth=0))
    assert [roots.metadata["categories"][category] for category in roots.items.categories][0::3] == ["140", "140"]
    assert log.items.prices.tolist() == [0.0] * 4


def test_rare_items_are_dropped_and_told(tmp_path):
    source = folder(tmp_path / "data", publisher_files())
    log = read_retailrocket(source, tmp_path / "log", RetailrocketConfig(min_item_impressions=2))
    assert [row[:4] for row in rows_of(log)] == [
        (0, 0, 0, 248676),
        (1, 0, 257597, 355908),
        (1, 1, 257597, 248676),
        (2, 0, 257597, 355908),
    ]
    assert log.metadata["reading"]["items_dropped"] == 2 and log.metadata["reading"]["impressions_dropped"] == 2
    assert "2 of 4 items dropped, with 2 impressions" in reading_report(log)
    one = read_retailrocket(source, tmp_path / "one", RetailrocketConfig(min_item_impressions=1, max_items=1))
    assert one.items.item_ids.tolist() == [248676]  # as many impressions as 355908, and the smaller id
    with pytest.raises(LogError, match="no item has min_item_impressions=5 impressions, the most frequent one has 2"):
        read_retailrocket(source, tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_every_source_gives_the_same_log(tmp_path):
    files = publisher_files()
    sources = [
        folder(tmp_path / "a", files),
        tmp_path / "a" / "events.csv",
        archive(tmp_path / "archive.zip", files),
        archive(tmp_path / "inner.zip", {f"ecommerce-dataset/{name}": content for name, content in files.items()}),
        folder(tmp_path / "crlf", {name: content.replace(b"\n", b"\r\n") for name, content in files.items()}),
        folder(tmp_path / "order", files | {"events.csv": publisher_files(EVENTS[::-1])["events.csv"]}),
    ]
    (tmp_path / "each").mkdir()
    for name, content in files.items():
        archive(tmp_path / "each" / f"{name}.zip", {name: content})
    sources.append(tmp_path / "each")
    logs = [read_retailrocket(source, tmp_path / "logs" / str(at), ALL) for at, source in enumerate(sources)]
    for log in logs[1:]:
        assert rows_of(log) == rows_of(logs[0])
        np.testing.assert_array_equal(log.items.embeddings.numpy(), logs[0].items.embeddings.numpy())
        np.testing.assert_array_equal(log.items.categories.numpy(), logs[0].items.categories.numpy())
    assert sorted(path.name for path in (tmp_path / "logs").iterdir()) == [str(at) for at in range(len(sources))]


def market(tmp_path, name, change=lambda events: events):
    """30 visits of 10 visitors, one a day each, to 4 items out of 12."""
    rng = np.random.default_rng(5)
    events = []
    for visitor in range(10):
        for visit, items in enumerate(rng.permutation(12).reshape(3, 4)):
            start = T + visit * 86_400_000 + visitor * 1000
            events += [(start + place, visitor, "view", item, "") for place, item in enumerate(items.tolist())]
    source = folder(tmp_path / name, publisher_files(change(events)))
    config = RetailrocketConfig(min_item_impressions=1, embedding_dim=5)
    return read_retailrocket(source, tmp_path / f"{name}-log", config)


def test_boundary_is_that_of_the_split_by_time(tmp_path):
    log = market(tmp_path, "whole")
    assert log.metadata["boundary"] == (T + 86_400_000 + 5000) / 1000  # session 15 of 0 ... 29
    assert log.metadata["training_sessions"] == 15
    by_fraction, _ = split_by_time(log, tmp_path / "fraction", fraction=0.5)
    by_boundary, _ = split_by_time(log, tmp_path / "boundary")
    assert by_fraction.rows == by_boundary.rows == 60
    assert by_fraction.metadata["split"]["boundary"] == log.metadata["boundary"]


def test_embeddings_know_training_items_alone(tmp_path):
    whole = market(tmp_path, "whole")
    boundary = whole.metadata["boundary"] * 1000

    def other_items(later):
        def change(events):
            return [(t, v, e, (11 - i) if (t >= boundary) == later else i, x) for t, v, e, i, x in events]

        return change

    def all_ordered(events):
        return [row for t, v, e, i, _ in events for row in ((t, v, e, i, ""), (t, v, "transaction", i, t))]

    expected = whole.items.embeddings.numpy()
    np.testing.assert_array_equal(market(tmp_path, "b", other_items(True)).items.embeddings.numpy(), expected)
    assert (market(tmp_path, "c", other_items(False)).items.embeddings.numpy() != expected).any()
    ordered = market(tmp_path, "d", all_ordered)
    assert ordered.report().orders == 120
    np.testing.assert_array_equal(ordered.items.embeddings.numpy(), expected)  # nor how users responded


@settings(max_examples=15, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 5 * 10**6), st.integers(0, 3), st.sampled_from(["view", "addtocart"]), st.just(7)),
        min_size=1,
        max_size=12,
    ),
    st.randoms(use_true_random=False),
)
def test_the_order_of_rows_does_not_matter_and_no_event_is_lost(tmp_path_factory, rows, shuffle):
    events = [(T + time, visitor, event, item, "") for time, visitor, event, item in rows]
    other = list(events)
    shuffle.shuffle(other)
    base = tmp_path_factory.mktemp("order")
    logs = [
        read_retailrocket(folder(base / name, publisher_files(some)), base / f"{name}-log", ALL)
        for name, some in (("a", events), ("b", other))
    ]
    assert rows_of(logs[0]) == rows_of(logs[1])
    visits = 0
    for visitor in {row[1] for row in events}:
        times = sorted(row[0] for row in events if row[1] == visitor)
        visits += 1 + sum(later - sooner > 1_800_000 for sooner, later in zip(times, times[1:], strict=False))
    assert logs[0].rows == visits  # one item, so one impression a visit


def fails(source, tmp_path):
    with pytest.raises(LogError) as caught:
        read_retailrocket(source, tmp_path / "log", ALL)
    assert not [path for path in tmp_path.iterdir() if "log" in path.name]
    return caught.value


def replaced(old, new):
    return lambda content: content.replace(old, new, 1)


DAMAGE = {
    "seconds": ("events.csv", replaced(b"1433221332117", b"1433221332"), "timestamp", 2, "in the year 2015"),
    "event": ("events.csv", replaced(b"addtocart", b"addtobasket"), "event", 5, "got 'addtobasket', allowed view or"),
    "cut": ("events.csv", lambda x: x[:-3], "transactionid", 9, "got 4 fields"),
    "order without number": ("events.csv", lambda x: x[:-2] + b"\n", "transactionid", 9, "got no transactionid for"),
    "view with number": ("events.csv", replaced(b"view,355908,", b"view,355908,9"), "transactionid", 2, "got a trans"),
    "header": ("events.csv", replaced(b"visitorid", b"userid"), None, None, "got the header 'timestamp,userid,"),
    "empty": ("events.csv", lambda x: b"", None, None, "the file is empty"),
    "value": ("item_properties_part1.csv", replaced(b",500", b",n500"), "value", 3, "got 'n500', allowed the whole"),
    "property item": ("item_properties_part2.csv", replaced(b",1,cat", b",one,cat"), "itemid", 2, "got 'one'"),
    "tree twice": ("category_tree.csv", replaced(b"77,250", b"400,250"), "categoryid", 5, "400 is duplicated"),
    "tree circle": ("category_tree.csv", replaced(b"140,\n", b"140,250\n"), None, None, "among its own ancestors"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_files(tmp_path, case):
    name, damage, column, row, message = DAMAGE[case]
    files = publisher_files()
    files[name] = damage(files[name])
    error = fails(folder(tmp_path / "data", files), tmp_path)
    assert error.file.endswith(f"data/{name}") and (error.column, error.row) == (column, row)
    assert message in str(error)


@pytest.mark.parametrize("name", publisher_files())
def test_a_missing_file_is_named(tmp_path, name):
    files = publisher_files()
    del files[name]
    assert f"not all of RetailRocket: ['{name}'] missing" in str(fails(archive(tmp_path / "a.zip", files), tmp_path))


def test_a_damaged_member_of_the_archive(tmp_path):
    whole = archive(tmp_path / "archive.zip", publisher_files(EVENTS * 200))
    content = bytearray(whole.read_bytes())
    content[120] ^= 0xFF  # inside the compressed events.csv
    whole.write_bytes(bytes(content))
    error = fails(whole, tmp_path)
    assert error.file == f"{whole}/events.csv"


def test_an_older_log_survives_a_failure(tmp_path):
    source = folder(tmp_path / "data", publisher_files())
    log = read_retailrocket(source, tmp_path / "log", ALL)
    (source / "events.csv").write_bytes(b"")
    with pytest.raises(LogError, match="the file is empty"):
        read_retailrocket(source, tmp_path / "log", ALL)
    assert len(rows_of(log)) == 6


def test_a_folder_that_is_no_log_is_refused_before_the_work(tmp_path):
    other = folder(tmp_path / "log", {"thesis.tex": b"x"})
    with pytest.raises(LogError, match="the folder exists and is not a log"):
        read_retailrocket(folder(tmp_path / "data", publisher_files() | {"events.csv": b""}), other, ALL)
    assert (other / "thesis.tex").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gap_seconds": -1}, "reader gap_seconds: got -1, allowed 0 or more; raise it"),
        ({"embedding_dim": 1}, "reader embedding_dim: got 1, allowed 2 or more"),
        ({"max_items": 0}, "reader max_items: got 0, allowed 1 or more"),
        ({"memory_mb": 10}, "reader memory_mb: got 10, allowed 64 or more"),
        ({"training_fraction": 1.0}, "reader training_fraction: got 1.0, allowed above 0 and below 1"),
        ({"category_depth": -1}, "retailrocket category_depth: got -1, allowed 0 or more"),
    ],
)
def test_config_errors(settings, message):
    with pytest.raises(ValueError, match=message):
        RetailrocketConfig(**settings)


def test_the_command(tmp_path, capsys):
    source = folder(tmp_path / "data", publisher_files())
    assert main(["retailrocket", str(source), "--out", str(tmp_path / "log"), "--min-item-impressions", "1"]) == 0
    text = capsys.readouterr().out
    assert "retailrocket: 6 impressions in 3 sessions of 2 users" in text and "read 9 events" in text


def test_without_duckdb_the_extra_is_named(tmp_path):
    code = (
        "import sys; sys.modules['duckdb'] = None\n"
        "from recsim_hrl.cli import main\n"
        f"sys.exit(main(['retailrocket', {str(folder(tmp_path / 'data', publisher_files()))!r}, "
        f"'--out', {str(tmp_path / 'log')!r}]))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert found.returncode == 2 and "run `pip install recsim-hrl[data]`" in found.stderr
