"""Every kind of damage gives one LogError that names file, column and row and says the fix."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from recsim_hrl.data.log import InteractionLog, LogWriter
from recsim_hrl.data.schema import LogError
from recsim_hrl.types import Catalogue

HEADER = "session_id,step,user_id,item_id,response,propensity"
GOOD = ["1,0,5,10,0,0.5", "1,1,5,20,1,0.5", "2,0,6,10,order,0.5", "2,1,6,20,skip,1"]
ITEMS = "item_id,category,price,embedding_0,embedding_1\n10,0,1.5,0.1,0.2\n20,1,2.5,0.3,0.4\n"


def write_csv(folder, rows=GOOD, header=HEADER, items=ITEMS):
    (folder / "interactions.csv").write_bytes("\n".join([header, *rows, ""]).encode("utf-8", "surrogateescape"))
    (folder / "items.csv").write_text(items)
    return folder


def write_parquet(folder, columns=None, items=None):
    rows = {"session_id": [1, 1, 2], "step": [0, 1, 0], "user_id": [5, 5, 6], "item_id": [10, 20, 10]}
    rows |= {"response": [0, 1, 2]} | (columns or {})
    table = {"item_id": [10, 20], "category": [0, 1], "price": [1.0, 2.0], "embedding": [[1.0, 2.0], [3.0, 4.0]]}
    table |= items or {}
    for name, content in (("interactions", rows), ("items", table)):
        pq.write_table(pa.table({key: values for key, values in content.items() if values is not None}),
                       folder / f"{name}.parquet")  # fmt: skip
    return folder


def fails(path, **options):
    with pytest.raises(LogError) as caught:
        InteractionLog.open(path, **options).validate()
    return caught.value


def test_the_good_log_is_good(tmp_path):
    assert InteractionLog.open(write_csv(tmp_path)).report().orders == 1


ROW_DAMAGE = {
    "unknown response": (3, "2,0,6,10,buy,0.5", "response", "got 'buy' (string), allowed 0 or skip, 1 or click"),
    "response out of range": (1, "1,0,5,10,3,0.5", "response", "got '3'"),
    "duplicated row": (2, "1,0,5,20,1,0.5", "step", "step 0 of session 1 is duplicated, allowed once; remove"),
    "unsorted step": (2, "1,-1,5,20,1,0.5", "step", "unsorted: got step -1 after step 0 in session 1"),
    "session comes back": (4, "1,7,5,20,0,1", "session_id", "session 1 comes back (step 7) after other sessions"),
    "two users": (4, "2,1,7,20,0,1", "user_id", "got user 7 after user 6 in session 2, allowed one user"),
    "unknown item": (3, "2,0,6,11,0,0.5", "item_id", "got item 11, which the item table of 2 items does not hold"),
    "no number": (2, "1,1,five,20,1,0.5", "user_id", "got 'five' (string), allowed a 64-bit integer"),
    "too large": (2, "1,1,9223372036854775808,20,1,0.5", "user_id", "allowed a 64-bit integer"),
    "empty value": (2, "1,1,,20,1,0.5", "user_id", "got ''"),
    "nan": (2, "1,1,5,20,1,nan", "propensity", "got 'nan', allowed a number above 0 and at most 1"),
    "probability above one": (4, "2,1,6,20,0,1.5", "propensity", "got '1.5'"),
    "field missing": (3, "2,0,6,10,0", "propensity", "a broken row: got 5 fields, allowed 6"),
    "field too many": (1, "1,0,5,10,0,0.5,8", "propensity", "a broken row: got 7 fields, allowed 6"),
    "not UTF-8": (2, "1,1,5,20,\udcff,0.5", "response", "not UTF-8"),
}


@pytest.mark.parametrize("row, text, column, message", ROW_DAMAGE.values(), ids=ROW_DAMAGE)
def test_damaged_csv_row(tmp_path, row, text, column, message):
    rows = [*GOOD]
    rows[row - 1] = text
    error = fails(write_csv(tmp_path, rows))
    assert message in str(error)
    assert (error.file, error.column, error.row) == (str(tmp_path / "interactions.csv"), column, row)
    assert f"column '{column}', row {row} (line {row + 1}): " in str(error)


def test_an_endless_line_is_refused_without_reading_it_whole(tmp_path):
    error = fails(write_csv(tmp_path, [GOOD[0], "1,1,5,20,1,0." + "5" * 3_000_000]))
    assert error.row == 2 and "row 2 (line 3): the line is longer than" in str(error)


def test_the_line_counts_blank_lines_and_the_row_does_not(tmp_path):
    error = fails(write_csv(tmp_path, [GOOD[0], "", "", "1,1,5,20,what,0.5"]))
    assert error.row == 2 and "row 2 (line 5)" in str(error)


def test_a_step_duplicated_further_back_is_called_duplicated(tmp_path):
    error = fails(write_csv(tmp_path, [GOOD[0], GOOD[1], "1,2,5,10,0,0.5", GOOD[1]]))
    assert error.row == 4 and "step 1 of session 1 is duplicated" in str(error)


def test_checks_reach_across_blocks_and_files(tmp_path):
    log = InteractionLog.open(write_csv(tmp_path, [*GOOD, "2,1,6,20,0,1"]))
    with pytest.raises(LogError, match=r"row 5 \(line 6\): step 1 of session 2 is duplicated"):
        list(log.batches(rows=1))
    shards = tmp_path / "sharded" / "interactions"
    shards.mkdir(parents=True)
    (tmp_path / "sharded" / "items.csv").write_text(ITEMS)
    for place, rows in enumerate((GOOD[:2], GOOD[2:], [GOOD[0]])):
        (shards / f"part-{place}.csv").write_text("\n".join([HEADER, *rows]))
    error = fails(tmp_path / "sharded")
    assert error.file == str(shards / "part-2.csv") and error.row == 1 and "session 1 comes back" in str(error)


@pytest.mark.parametrize("name", ["session_id", "step", "user_id", "item_id", "response"])
def test_missing_column(tmp_path, name):
    error = fails(write_csv(tmp_path, header=HEADER.replace(name, "context_x")))
    assert (error.column, error.row) == (name, None)
    assert "the column is missing" in str(error) and "interactions.csv" in str(error)


def test_unknown_and_repeated_columns(tmp_path):
    error = fails(write_csv(tmp_path, header=HEADER.replace("propensity", "weather")))
    assert error.column == "weather" and "rename it to context_weather or drop it" in str(error)
    error = fails(write_csv(tmp_path, [f"{row},1" for row in GOOD], header=HEADER + ",step"))
    assert error.column == "step" and "two columns have this name" in str(error)


ITEM_DAMAGE = {
    "nan": ("20,1,2.5,0.3,nan", "embedding_1", 2, "entry 1 of the embedding of item 20 is nan"),
    "inf": ("20,1,2.5,inf,0.4", "embedding_0", 2, "entry 0 of the embedding of item 20 is inf"),
    "float32 overflow": ("20,1,2.5,1e39,0.4", "embedding_0", 2, "is inf"),
    "twice": ("10,1,2.5,0.3,0.4", "item_id", 2, "item 10 is duplicated"),
    "price": ("20,1,free,0.3,0.4", "price", 2, "got 'free'"),
    "short": ("20,1,2.5,0.3", "embedding_1", 2, "a broken row: got 4 fields, allowed 5"),
    "fraction": ("20,0.5,2.5,0.3,0.4", "category", 2, "got '0.5' (string), allowed a 64-bit integer"),
}


@pytest.mark.parametrize("text, column, row, message", ITEM_DAMAGE.values(), ids=ITEM_DAMAGE)
def test_damaged_item_row(tmp_path, text, column, row, message):
    error = fails(write_csv(tmp_path, items=ITEMS.replace("20,1,2.5,0.3,0.4", text)))
    assert (error.file, error.column, error.row) == (str(tmp_path / "items.csv"), column, row)
    assert message in str(error) and f"(line {row + 1})" in str(error)


@pytest.mark.parametrize(
    "old, new, column, message",
    [
        ("category", "kind", "category", "missing"),
        ("embedding_0", "embedding_2", "embedding_0", "missing"),
        ("embedding_0,embedding_1", "price_2,price_3", "embedding", "missing"),
        ("category", "embedding", "embedding", "both forms"),
    ],
)
def test_columns_of_the_item_table(tmp_path, old, new, column, message):
    error = fails(write_csv(tmp_path, items=ITEMS.replace(old, new)))
    assert error.column == column and message in str(error)


@pytest.mark.parametrize("content", ["", "\n\n", ITEMS.splitlines()[0]])
def test_empty_item_table(tmp_path, content):
    assert "empty" in (text := str(fails(write_csv(tmp_path, items=content)))) or "holds no items" in text


@pytest.mark.parametrize("content, message", [("", "the file is empty"), (HEADER + "\n", "the log holds no rows")])
def test_empty_csv(tmp_path, content, message):
    write_csv(tmp_path)
    (tmp_path / "interactions.csv").write_text(content)
    assert message in str(fails(tmp_path))


PARQUET_DAMAGE = {
    "null": ({"user_id": [5, None, 6]}, {}, "user_id", 2, "got an empty value"),
    "fraction": ({"step": [0, 1.5, 2]}, {}, "step", 2, "got 1.5 (double)"),
    "truth value": ({"response": [True, False, True]}, {}, "response", 1, "got True (bool)"),
    "list": ({"response": [[0], [1], [2]]}, {}, "response", 1, "got [0]"),
    "response": ({"response": [0, 1, 7]}, {}, "response", 3, "got 7"),
    "null embedding": ({}, {"embedding": [[1.0, 2.0], None]}, "embedding", 2, "got 0 numbers, allowed 2"),
    "uneven": ({}, {"embedding": [[1.0, 2.0], [1.0]]}, "embedding", 2, "got 1 numbers, allowed 2"),
    "null entry": ({}, {"embedding": [[1.0, 2.0], [1.0, None]]}, "embedding", 2, "an entry of the embedding"),
    "nan entry": ({}, {"embedding": [[1.0, float("nan")], [1.0, 2.0]]}, "embedding", 1, "of item 10 is nan"),
    "no list": ({}, {"embedding": ["a", "b"]}, "embedding", None, "got type string"),
    "no embedding": ({}, {"embedding": None}, "embedding", None, "missing"),
}


@pytest.mark.parametrize("columns, items, column, row, message", PARQUET_DAMAGE.values(), ids=PARQUET_DAMAGE)
def test_damaged_parquet_values(tmp_path, columns, items, column, row, message):
    error = fails(write_parquet(tmp_path, columns, items))
    assert (error.column, error.row) == (column, row) and message in str(error)


def test_empty_parquet(tmp_path):
    columns = dict.fromkeys(("session_id", "step", "user_id", "item_id", "response"), pa.array([], pa.int64()))
    assert "the log holds no rows" in str(fails(write_parquet(tmp_path, columns)))


@pytest.mark.parametrize("keep", [0, 4, 40, 0.5, -1])
def test_truncated_parquet(tmp_path, keep):
    path = write_parquet(tmp_path) / "interactions.parquet"
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    assert "not readable as Parquet" in str(fails(tmp_path)) and str(path) in str(fails(tmp_path))


def test_a_flipped_bit_in_our_own_parquet_is_noticed(tmp_path):
    catalogue = Catalogue(torch.arange(2), torch.ones(2, 3), torch.zeros(2, dtype=torch.int64), torch.ones(2))
    rows = {name: np.arange(500) for name in ("session_id", "step", "user_id")}
    rows |= {"item_index": np.arange(500) % 2, "response": np.arange(500) % 3}
    log = InteractionLog.from_arrays(rows, catalogue, tmp_path / "log")
    path = log.path / "interactions" / "part-00000.parquet"
    content = bytearray(path.read_bytes())
    content[200] ^= 4
    path.write_bytes(content)
    assert "not readable as Parquet" in str(fails(tmp_path / "log"))


def test_missing_and_ambiguous_files(tmp_path):
    assert "no such file or folder" in str(fails(tmp_path / "nowhere"))
    assert "allowed exactly one interactions.parquet or interactions.csv" in str(fails(tmp_path))
    write_parquet(write_csv(tmp_path))
    assert "got ['interactions.parquet', 'interactions.csv']" in str(fails(tmp_path))
    (tmp_path / "items.parquet").unlink()
    assert "no such item table" in str(fails(tmp_path / "interactions.csv", items=tmp_path / "none.csv"))
    (tmp_path / "log.xlsx").write_text("")
    assert "got a .xlsx file, allowed .parquet or .csv" in str(fails(tmp_path / "log.xlsx"))


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "not readable as JSON"),
        ("[]", "not the metadata of a log"),
        ('{"format": "other"}', "not the metadata of a log"),
        ('{"format": "recsim-hrl-log", "version": 99}', "got format version 99, allowed 1"),
        (
            '{"format": "recsim-hrl-log", "version": 1, "counts": {"rows": 5}}',
            "4 rows, but metadata.json states 5",
        ),
    ],
)
def test_damaged_metadata(tmp_path, content, message):
    write_csv(tmp_path)
    (tmp_path / "metadata.json").write_text(content)
    assert message in str(fails(tmp_path))


def test_a_lost_shard_is_noticed(tmp_path):
    catalogue = Catalogue(torch.arange(2), torch.ones(2, 3), torch.zeros(2, dtype=torch.int64), torch.ones(2))
    with LogWriter(tmp_path / "log", catalogue, shard_rows=2) as writer:
        writer.append({name: np.arange(4) for name in ("session_id", "step", "user_id")}
                      | {"item_index": np.zeros(4, int), "response": np.zeros(4, int)})  # fmt: skip
    (tmp_path / "log" / "interactions" / "part-00001.parquet").unlink()
    assert "the files hold 2 rows, but metadata.json states 4" in str(fails(tmp_path / "log"))


def test_shards_with_other_columns(tmp_path):
    shards = tmp_path / "interactions"
    shards.mkdir()
    (tmp_path / "items.csv").write_text(ITEMS)
    assert "holds no .parquet and no .csv" in str(fails(tmp_path))
    (shards / "a.csv").write_text("\n".join([HEADER, *GOOD]))
    (shards / "b.csv").write_text(HEADER.replace("propensity", "channel"))
    assert "as in the first file" in str(fails(tmp_path))


def test_the_error_survives_a_process_border(tmp_path):
    error = fails(write_csv(tmp_path, ["1,0,5,10,9,0.5"]))
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error) and (copy.column, copy.row) == ("response", 1)
    assert isinstance(error, ValueError)
