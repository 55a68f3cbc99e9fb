"""Each form of a shop's log becomes the rows that were worked out by hand."""

import datetime as dt
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsim_hrl.data.own.importer import import_log
from recsim_hrl.data.own.mapping import CleaningConfig, ColumnMapping
from recsim_hrl.data.splits import split_by_time
from tests.data.own.shops import IMPRESSIONS, rows_of, write_csv

NOON = 1_714_564_800  # 2024-05-01T12:00:00Z


def names_of(log, kind):
    """The table that leads from ids to the shop's names."""
    return dict(zip(*pq.read_table(log.path / "ids" / f"{kind}.parquet").to_pydict().values(), strict=True))


def test_impressions_with_a_response_column(tmp_path):
    """Two visits of u1, since the third row comes 1,801 seconds after the second; u2 in between, out of order."""
    source = write_csv(
        tmp_path / "shop.csv",
        "event,sku,uid,ts,browser",
        f"view,      a, u1, {NOON},         x",
        f"click,     b, u1, {NOON + 1800},  x",
        f"buy,       c, u2, {NOON + 60},    x",
        f"impression,b, u2, {NOON + 50},    x",
        f"Purchase,  a, u1, {NOON + 3601},  x",
    )
    log, report = import_log(source, tmp_path / "log", IMPRESSIONS)
    assert rows_of(log, "session_id", "step", "user_id", "item_id", "response", "timestamp") == [
        (0, 0, 0, 0, 0, NOON),
        (0, 1, 0, 1, 1, NOON + 1800),
        (1, 0, 0, 0, 2, NOON + 3601),
        (2, 0, 1, 1, 0, NOON + 50),
        (2, 1, 1, 2, 2, NOON + 60),
    ]
    assert names_of(log, "users") == {0: "u1", 1: "u2"} and names_of(log, "items") == {0: "a", 1: "b", 2: "c"}
    assert not (log.path / "ids" / "categories.parquet").exists()
    assert (report.rows, report.unused, report.merged, report.losses) == (5, ["browser"], 0, [])
    assert report.columns[3].reading == "view 1 = skip; click 1 = click; buy 1 = order; impression 1 = skip; " + (
        "Purchase 1 = order"
    )
    kept = report.kept
    assert (kept.impressions, kept.sessions, kept.users, kept.items, kept.responses) == (5, 3, 2, 3, (2, 1, 2))


def test_events_are_merged_into_the_impression_before_them(tmp_path):
    """The click and the order of b go to its second impression; c is never shown and d only later."""
    source = write_csv(
        tmp_path / "shop.csv",
        "uid,sku,ts,event",
        "u, b, 10, view",
        "u, a, 20, view",
        "u, b, 30, view",
        "u, b, 30, click",
        "u, c, 35, click",
        "u, b, 40, purchase",
        "u, d, 45, click",
        "u, d, 50, view",
        "u, c, 55, purchase",
    )
    events, late = replace(IMPRESSIONS, rows="events"), {"earliest": "1970-01-01"}
    log, report = import_log(source, tmp_path / "log", events, CleaningConfig(**late))
    expected = [(0, 0, 0.0, 10), (1, 0, 0.0, 20), (0, 0, 2.0, 30), (3, 0, 0.0, 50)]
    assert rows_of(log, "item_id", "user_id", "response", "timestamp") == expected
    assert (report.merged, report.dropped("orphans")) == (2, 3)
    log, report = import_log(source, tmp_path / "log", events, CleaningConfig(orphans="impression", **late))
    assert rows_of(log, "item_id", "response", "timestamp") == [
        (0, 0, 10), (1, 0, 20), (0, 2, 30), (2, 2, 35), (3, 1, 45), (3, 0, 50),
    ]  # fmt: skip
    assert (report.merged, report.dropped("orphans")) == (3, 0)


@pytest.mark.parametrize(
    ("words", "columns", "expected"),
    [
        (("1", "0"), ("clicked", "purchased"), [0, 1, 2, 2]),
        (("True", "false"), ("clicked", "purchased"), [0, 1, 2, 2]),
        (("1", "0"), ("clicked", None), [0, 1, 0, 1]),
        (("1", "0"), (None, "purchased"), [0, 0, 2, 2]),
    ],
)
def test_binary_columns(tmp_path, words, columns, expected):
    yes, no = words
    source = write_csv(
        tmp_path / "shop.csv",
        "uid,sku,ts,c,p",
        f"7,10,{NOON},{no},{no}",
        f"7,11,{NOON + 1},{yes},{no}",
        f"7,12,{NOON + 2},{no},{yes}",
        f"7,13,{NOON + 3},{yes},{yes}",
    )
    named = {role: name for role, name in zip(("clicked", "purchased"), "cp", strict=True) if role in columns}
    log, report = import_log(source, tmp_path / "log", ColumnMapping(user="uid", item="sku", time="ts", **named))
    assert rows_of(log, "user_id", "item_id", "response") == [
        (7, item, response) for item, response in zip((10, 11, 12, 13), expected, strict=True)
    ]
    assert not (log.path / "ids").exists(), "numbers are kept"
    odd = report.finding("order_without_click")
    assert (odd is not None) == (None not in columns)
    assert odd is None or (odd.count, odd.examples) == (
        1,
        ["row 3: user '7', item '12', 2024-05-01T12:00:02Z, order"],
    )


TIMES = {
    "seconds": (f"{NOON}", "seconds since 1970"),
    "half seconds": (f"{NOON}.0", "seconds since 1970"),
    "milliseconds": (f"{NOON}000", "milliseconds since 1970"),
    "microseconds": (f"{NOON}000000", "microseconds since 1970"),
    "nanoseconds": (f"{NOON}000000000", "nanoseconds since 1970"),
    "iso": ("2024-05-01T12:00:00", "ISO 8601 text, without a zone as UTC"),
    "iso, utc": ("2024-05-01T12:00:00Z", "ISO 8601 text, without a zone as UTC"),
    "iso, zone": ("2024-05-01T14:00:00.000+02:00", "ISO 8601 text, without a zone as UTC"),
}


@pytest.mark.parametrize(("written", "words"), TIMES.values(), ids=TIMES)
def test_times_in_text(tmp_path, written, words):
    source = write_csv(tmp_path / "shop.csv", "uid,sku,ts,event", f"1,2,{written},view")
    log, report = import_log(source, tmp_path / "log", IMPRESSIONS)
    assert rows_of(log, "timestamp") == [(NOON,)]
    assert report.columns[2].reading == words


def test_a_default_in_the_first_row_does_not_decide_the_unit(tmp_path):
    rows = ["1,2,0,view", *(f"1,2,{NOON + place}000,view" for place in range(3))]
    log, report = import_log(write_csv(tmp_path / "shop.csv", "uid,sku,ts,event", *rows), tmp_path / "log", IMPRESSIONS)
    assert rows_of(log, "timestamp") == [(NOON,), (NOON + 1,), (NOON + 2,)]
    assert report.finding("implausible_times").examples == ["row 1: time '0'"]


@pytest.mark.parametrize(
    "times",
    [
        pa.array([NOON * 1000], pa.int64()),
        pa.array([dt.datetime(2024, 5, 1, 12)], pa.timestamp("ns")),
        pa.array([dt.datetime(2024, 5, 1, 12)], pa.timestamp("s", "Europe/Paris")),
        pa.array(["2024-05-01 12:00:00"]).dictionary_encode(),
        pa.array([float(NOON)]),
    ],
    ids=lambda times: str(times.type)[:20],
)
def test_times_in_parquet(tmp_path, times):
    columns = {"uid": [1.0], "sku": pa.array(["b"]).dictionary_encode(), "ts": times, "event": ["view"]}
    pq.write_table(pa.table(columns), tmp_path / "shop.parquet")
    log, _ = import_log(tmp_path / "shop.parquet", tmp_path / "log", IMPRESSIONS)
    assert rows_of(log, "user_id", "timestamp") == [(1, NOON)]


def test_sessions_of_the_shop_with_slates_and_propensities(tmp_path):
    """Sessions by their column and not by gaps; of one moment, the slate's position decides."""
    source = write_csv(
        tmp_path / "shop.csv",
        "sid,uid,sku,ts,event,page,pos,p",
        f"s2, 5, 10, {NOON + 9000}, view,  p3, 0, 1",
        f"s1, 5, 11, {NOON},        click, p1, 1, 0.25",
        f"s1, 5, 12, {NOON},        view,  p1, 0, 0.5",
        f"s1, 5, 10, {NOON + 8000}, view,  9,  0, 0.75",
    )
    mapping = replace(IMPRESSIONS, session="sid", slate="page", position="pos", propensity="p")
    log, _ = import_log(source, tmp_path / "log", mapping)
    assert rows_of(log, "session_id", "step", "item_id", "response", "position", "propensity") == [
        (0, 0, 12, 0, 0, 0.5),
        (0, 1, 11, 1, 1, 0.25),
        (0, 2, 10, 0, 0, 0.75),
        (1, 0, 10, 0, 0, 1.0),
    ]
    slates = [slate for (slate,) in rows_of(log, "slate_id")]
    assert slates[0] == slates[1] and slates[2] == 9 and len(set(slates)) == 3


def test_without_users_every_session_is_one(tmp_path):
    source = write_csv(
        tmp_path / "shop.csv", "sid,sku,ts,event", f"x,1,{NOON},view", f"y,1,{NOON},view", f"x,2,{NOON + 9999},click"
    )
    log, _ = import_log(source, tmp_path / "log", replace(IMPRESSIONS, user=None, session="sid"))
    assert rows_of(log, "user_id", "session_id", "item_id") == [(0, 0, 1), (0, 0, 2), (1, 1, 1)]
    assert names_of(log, "users") == {0: "x", 1: "y"}


def test_shards_are_one_log_and_the_item_table_among_them_is_none(tmp_path):
    (tmp_path / "shop").mkdir()
    write_csv(tmp_path / "shop" / "part-10.csv", "uid,sku,ts,event", f"1,3,{NOON + 2},view")
    write_csv(tmp_path / "shop" / "part-2.csv", "event,uid,sku,ts", f"view,1,4,{NOON + 1}", f"view,1,4,{NOON + 1}")
    write_csv(tmp_path / "shop" / "products.csv", "sku,e", "4,1", "3,2")
    mapping = replace(IMPRESSIONS, items=tmp_path / "shop" / "products.csv", features="e")
    log, report = import_log(tmp_path / "shop", tmp_path / "log", mapping)
    assert rows_of(log, "item_id", "item_index") == [(4, 0), (3, 1)]
    assert report.finding("duplicate_rows").examples[0].startswith("part-2.csv row 2: ")


# Items


def test_categories_and_prices_of_the_log(tmp_path):
    source = write_csv(
        tmp_path / "shop.csv",
        "uid,sku,ts,event,kind,eur",
        f"1,a,{NOON},view,shoes,9.5",
        f"1,b,{NOON + 1},view,hats,3",
        f"1,a,{NOON + 2},view,shoes,8.5",
    )
    log, report = import_log(source, tmp_path / "log", replace(IMPRESSIONS, category="kind", price="eur"))
    assert log.items.categories.tolist() == [0, 1] and log.items.prices.tolist() == [9.5, 3.0]
    assert names_of(log, "categories") == {0: "shoes", 1: "hats"}
    assert (report.finding("varying_items").count, report.finding("varying_items").examples) == (1, ["'a'"])


def test_an_item_table_brings_its_vectors_and_items_never_shown(tmp_path):
    """Features 1, 3, 5 have mean 3 and standard deviation sqrt(8/3)."""
    source = write_csv(tmp_path / "shop.csv", "uid,sku,ts,event", f"1,b,{NOON},view", f"1,zz,{NOON},click")
    table = write_csv(
        tmp_path / "p.csv", "code,kind,eur,size,e_10,e_2", "a,7,1,1,.1,.2", "b,8,2,3,.3,.4", "c,7,3,5,.5,.6"
    )
    mapping = replace(
        IMPRESSIONS, items=table, item_key="code", category="kind", price="eur", embedding="e_*", features="size"
    )
    log, report = import_log(source, tmp_path / "log", mapping)
    unit = np.sqrt(1.5)
    expected = [[0.2, 0.1, -unit], [0.4, 0.3, 0.0], [0.6, 0.5, unit]]
    np.testing.assert_allclose(log.items.embeddings, expected, atol=1e-6)
    assert log.items.categories.tolist() == [7, 8, 7] and log.items.prices.tolist() == [1, 2, 3]
    assert rows_of(log, "item_id") == [(1,)] and names_of(log, "items") == {0: "a", 1: "b", 2: "c"}
    assert report.finding("unknown_items").examples == ["row 2: item 'zz'"] and report.dropped("unknown_items") == 1
    assert "no file can show" in report.vectors and "no file can show" in str(report)


def test_an_item_table_with_lists(tmp_path):
    source = write_csv(tmp_path / "shop.csv", "uid,sku,ts,event", f"1,20,{NOON},view")
    pq.write_table(pa.table({"sku": [10, 20], "v": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / "p.parquet")
    log, _ = import_log(source, tmp_path / "log", replace(IMPRESSIONS, items=tmp_path / "p.parquet", embedding="v"))
    assert log.items.embeddings.tolist() == [[1, 2], [3, 4]] and log.items.item_ids.tolist() == [10, 20]


def test_made_vectors_know_nothing_of_test(tmp_path):
    """Whatever happens after the boundary, the vectors and the split stay as they are."""
    train = [
        f"u{user},{item},{NOON + user * 10},{'click' if item == 1 else 'view'}" for user in (1, 2) for item in (1, 2)
    ]
    logs = []
    for name, later in (("one", ["view", "view"]), ("two", ["click", "purchase"])):
        test = [f"u{user},3,{NOON + user * 10},{event}" for user, event in zip((3, 4), later, strict=True)]
        source = write_csv(tmp_path / f"{name}.csv", "uid,sku,ts,event", *train, *test)
        logs.append(import_log(source, tmp_path / name, IMPRESSIONS, CleaningConfig(width=4))[0])
    one, two = (log.items.embeddings.numpy() for log in logs)
    np.testing.assert_array_equal(one, two)
    assert one.shape == (3, 4) and not one[2, :1].any(), "no training session shows item 3"
    # Rates of clicks, damped by 60 impressions of the base rate 1/2: 32/62, 30/62 and 1/2, in proportion 1, -1 and 0.
    np.testing.assert_allclose(one[:, 2] * np.sqrt(2), np.array([1, -1, 0]) * np.sqrt(1.5), atol=1e-6)
    halves = split_by_time(logs[0], tmp_path / "halves")
    assert [len(half.load()) for half in halves] == [2, 2] and logs[0].metadata["training_sessions"] == 2
    assert halves[0].metadata["split"]["boundary"] == logs[0].metadata["boundary"] == NOON + 30
