"""What cannot be read as the mapping says is refused with file, column, row and the fix; nothing is left behind."""

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsim_hrl.data.own.importer import dry_run, import_log
from recsim_hrl.data.own.mapping import CleaningConfig, ColumnMapping
from recsim_hrl.data.schema import LogError
from tests.data.own.shops import IMPRESSIONS, names_in, write_csv

NOON = 1_714_564_800
HEADER = "uid,sku,ts,event,p"
GOOD = [f"1,a,{NOON},view,1", f"1,b,{NOON + 1},click,0.5"]
CHANCES = replace(IMPRESSIONS, propensity="p")


def refused(tmp_path, source, mapping=CHANCES, **cleaning) -> LogError:
    """The error of an import, which a dry run has too, and which leaves nothing."""
    before = names_in(tmp_path)
    with pytest.raises(LogError) as caught:
        import_log(source, tmp_path / "log", mapping, CleaningConfig(**cleaning))
    assert names_in(tmp_path) == before
    with pytest.raises(LogError) as again:
        dry_run(source, mapping, CleaningConfig(**cleaning))
    assert str(again.value) == str(caught.value)
    return caught.value


BAD_ROWS = {
    "no user": (f",a,{NOON},view,1", "uid", "got an empty value, allowed a name or a number; correct it"),
    "nan": (f"NaN,a,{NOON},view,1", "uid", "got an empty value"),
    "no item": (f"1,,{NOON},view,1", "sku", "got an empty value"),
    "no time": ("1,a,,view,1", "ts", "got an empty value, allowed a number of seconds since 1970, as in the first"),
    "another time": ("1,a,2024-05-01,view,1", "ts", "got '2024-05-01', allowed a number of seconds"),
    "unknown response": (f"1,a,{NOON},share,1", "event", "got 'share', allowed 'view', 'impression', 'click'"),
    "no response": (f"1,a,{NOON},,1", "event", "got an empty value, allowed 'view'"),
    "no number": (f"1,a,{NOON},view,often", "p", "got 'often', allowed a finite number"),
    "infinite": (f"1,a,{NOON},view,inf", "p", "got 'inf', allowed a finite number"),
}


@pytest.mark.parametrize(("row", "column", "message"), BAD_ROWS.values(), ids=BAD_ROWS)
def test_a_bad_row_is_refused_or_dropped(tmp_path, row, column, message):
    source = write_csv(tmp_path / "shop.csv", HEADER, *GOOD, row)
    error = refused(tmp_path, source)
    assert (error.file, error.column, error.row) == (str(source), column, 3)
    assert message in str(error) and "row 3 (line 4): got" in str(error)
    assert "or leave such rows out with bad_rows drop" in str(error)
    report = dry_run(source, CHANCES, CleaningConfig(bad_rows="drop"))
    assert (report.dropped("bad_rows"), report.kept.impressions) == (1, 2)


def test_iso_text_that_is_no_time(tmp_path):
    source = write_csv(tmp_path / "shop.csv", HEADER, "1,a,2024-05-01,view,1", "1,a,2024-13-01,view,1")
    error = refused(tmp_path, source)
    assert "column 'ts', row 2 (line 3): got '2024-13-01', allowed a time such as 2024-05-31T17:00:00" in str(error)


def test_flags_and_positions(tmp_path):
    source = write_csv(tmp_path / "shop.csv", "uid,sku,ts,c,pos", f"1,a,{NOON},2,0", f"1,a,{NOON},1,-1")
    mapping = ColumnMapping(user="uid", item="sku", time="ts", clicked="c")
    assert "column 'c', row 1 (line 2): got '2', allowed 1 or true, 0 or false" in str(
        refused(tmp_path, source, mapping)
    )
    mapping = ColumnMapping(user="uid", item="sku", time="ts", response="c", click="1", order="2", position="pos")
    assert "column 'pos', row 2 (line 3): got '-1', allowed an integer of 0" in str(refused(tmp_path, source, mapping))


def test_a_missing_column(tmp_path):
    source = write_csv(tmp_path / "shop.csv", "uid,sku,time,event,p", *GOOD)
    error = refused(tmp_path, source)
    assert "column 'ts': the column is missing, time names it; got ['uid', 'sku', 'time', 'event', 'p']" in str(error)
    source = write_csv(tmp_path / "shop.csv", "uid;sku;ts;event;p")
    assert str(refused(tmp_path, source)).endswith("or add it; separate its columns by commas")
    source = write_csv(tmp_path / "shop.csv", "uid,sku,sku,ts,event,p", f"1,a,b,{NOON},view,1")
    assert "column 'sku': two columns have this name" in str(refused(tmp_path, source))


def test_files_that_are_no_log(tmp_path):
    assert "nowhere.csv: no such file or folder" in str(refused(tmp_path, tmp_path / "nowhere.csv"))
    (tmp_path / "empty").mkdir()
    assert "holds no .parquet and no .csv file" in str(refused(tmp_path, tmp_path / "empty"))
    (tmp_path / "shop.xlsx").write_bytes(b"PK")
    assert "got a .xlsx file, allowed .parquet or .csv" in str(refused(tmp_path, tmp_path / "shop.xlsx"))
    (tmp_path / "shop.csv").write_text("")
    assert "the file is empty" in str(refused(tmp_path, tmp_path / "shop.csv"))
    source = write_csv(tmp_path / "shop.csv", HEADER)
    assert "the log holds no rows" in str(refused(tmp_path, source))
    source = write_csv(tmp_path / "shop.csv", HEADER, GOOD[0], "1,b")
    assert "row 2 (line 3): a broken row: got 2 fields, allowed 5" in str(refused(tmp_path, source))


def test_damaged_parquet(tmp_path):
    columns = {"uid": [1, 2], "sku": ["a", "b"], "ts": [NOON, NOON], "event": ["view", "click"], "p": [0.5, None]}
    source = tmp_path / "shop.parquet"
    pq.write_table(pa.table(columns), source)
    assert "shop.parquet, column 'p', row 2: got an empty value" in str(refused(tmp_path, source))
    source.write_bytes(source.read_bytes()[:-40])
    assert "truncated, damaged or of another kind" in str(refused(tmp_path, source))
    pq.write_table(pa.table(columns | {"sku": [["a"], ["b"]]}), source)
    assert "column 'sku': got type list" in str(refused(tmp_path, source))
    latin = pa.Array.from_buffers(pa.string(), 2, pa.array([b"a", "é".encode("latin-1")]).buffers())
    pq.write_table(pa.table(columns | {"sku": latin}), source)
    assert "column 'sku': some of the text is not UTF-8" in str(refused(tmp_path, source))


def test_nothing_left_tells_why(tmp_path):
    source = write_csv(tmp_path / "shop.csv", HEADER, f"1,a,{NOON},view,0", "1,a,7,view,1")
    error = str(refused(tmp_path, source))
    assert (
        "nothing of 2 rows is left: 1 rows outside the time  [`earliest`, `latest`]; 1 rows with an impossible" in error
    )


ITEM_TABLES = {
    "no key": ("code,e", ["a,1"], {}, "column 'sku': the column is missing, item_key names it; got ['code', 'e']"),
    "no feature": ("sku,f", ["a,1"], {}, "column 'e': the column is missing, features[0] names it"),
    "no embedding": ("sku,e", ["a,1"], {"embedding": "v_*"}, "column 'v_*': the column is missing, embedding names it"),
    "twice": ("sku,e", ["a,1", "b,1", "a,2"], {}, "column 'sku', row 3 (line 4): item 'a' is duplicated"),
    "empty": ("sku,e", ["a,1", ",1"], {}, "column 'sku', row 2 (line 3): got an empty value"),
    "no number": ("sku,e", ["a,1", "b,red"], {}, "column 'e', row 2 (line 3): got 'red', allowed a finite number"),
    "nan": ("sku,e", ["a,nan"], {}, "column 'e', row 1 (line 2): got None, allowed a finite number"),
    "all alike": ("sku,e", ["a,5", "b,5"], {}, "all items have the same vector, allowed vectors that tell them apart"),
    "no rows": ("sku,e", [], {}, "the item table holds no items"),
}


@pytest.mark.parametrize(("header", "rows", "more", "message"), ITEM_TABLES.values(), ids=ITEM_TABLES)
def test_a_bad_item_table(tmp_path, header, rows, more, message):
    source = write_csv(tmp_path / "shop.csv", HEADER, *GOOD)
    table = write_csv(tmp_path / "products.csv", header, *rows)
    error = refused(tmp_path, source, replace(CHANCES, items=table, features="e", **more))
    assert f"products.csv, {message}" in str(error) or f"products.csv: {message}" in str(error)


def test_lists_of_an_item_table(tmp_path):
    source = write_csv(tmp_path / "shop.csv", HEADER, *GOOD)
    mapping = replace(CHANCES, items=tmp_path / "p.parquet", embedding="v")
    assert "p.parquet: no such item table" in str(refused(tmp_path, source, mapping))
    pq.write_table(pa.table({"sku": ["a", "b"], "v": [[1.0, 2.0], [1.0]]}), tmp_path / "p.parquet")
    assert "column 'v', row 2: got a list of 1 numbers, allowed equally" in str(refused(tmp_path, source, mapping))
    pq.write_table(pa.table({"sku": ["a", "b"], "v": [[1.0, 2.0], [1.0, None]]}), tmp_path / "p.parquet")
    assert "column 'v', row 2: an entry of the list is not" in str(refused(tmp_path, source, mapping))


BASE = {"item": "i", "time": "t", "user": "u", "response": "r"}
MAPPINGS = {
    "same column": (
        {"session": "u"},
        "mapping session: column 'u' of the log is given for user and for session, allowed",
    ),
    "same word": ({"ignore": "view,click"}, "mapping ignore: the word 'click' is given for click and for ignore"),
    "no response": (
        {"response": None},
        "mapping response: got none, allowed either response, or clicked and purchased",
    ),
    "two responses": ({"clicked": "c"}, "mapping response: got ['response', 'clicked'], allowed either"),
    "binary events": (
        {"response": None, "clicked": "c", "rows": "events"},
        "mapping rows: got 'events' with ['clicked'], allowed with response only",
    ),
    "nobody": ({"user": None}, "mapping user: got neither user nor session"),
    "features of nothing": ({"features": "f"}, "mapping features: got 'f' without an item table; pass items too"),
    "same feature": (
        {"items": "p.csv", "features": "f", "price": "f"},
        "mapping features[0]: column 'f' of the item table is given for price and for features[0]",
    ),
}


@pytest.mark.parametrize(("more", "message"), MAPPINGS.values(), ids=MAPPINGS)
def test_a_mapping_that_contradicts_itself(more, message):
    with pytest.raises(ValueError) as caught:
        ColumnMapping(**BASE | more)
    assert str(caught.value).startswith(message)


RULES = {
    "bot_events": (0, "cleaning bot_events: got 0, allowed 1 or more"),
    "width": (2, "cleaning width: got 2, allowed 4 or more"),
    "gap_seconds": (float("nan"), "cleaning gap_seconds: got nan, allowed 0 or more"),
    "bot_click_rate": (0.0, "cleaning bot_click_rate: got 0.0, allowed above 0"),
    "earliest": ("soon", "cleaning earliest: got 'soon', allowed a day such as 2024-05-31"),
    "latest": ("1990-01-01", "cleaning earliest: got 1995-01-01, allowed a day before latest, 1990-01-01"),
}


@pytest.mark.parametrize(("name", "value", "message"), [(name, *rest) for name, rest in RULES.items()])
def test_rules_that_make_no_sense(name, value, message):
    with pytest.raises(ValueError) as caught:
        CleaningConfig(**{name: value})
    assert str(caught.value).startswith(message)
