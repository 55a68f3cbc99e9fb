"""Reading, converting and counting a log, against a log of ten rows that fits on a screen."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recsim_hrl.data import files
from recsim_hrl.data.checks import KeySet
from recsim_hrl.data.items import ItemTable
from recsim_hrl.data.log import InteractionLog, LogWriter
from recsim_hrl.types import Catalogue

CATALOGUE = Catalogue(
    torch.tensor([30, 10, 20]),
    torch.tensor([[0.5, -1.0], [0.1, 0.0], [2.0, 1.5]]),
    torch.tensor([1, 0, 1]),
    torch.tensor([9.5, 3.0, 1.0]),
)
ROWS = {
    "session_id": np.array([7, 7, 7, 7, 3, 3, 9, 9, 9, 9]),
    "step": np.array([0, 1, 2, 5, 0, 1, 1, 2, 3, 4]),
    "user_id": np.array([1, 1, 1, 1, 2, 2, 1, 1, 1, 1]),
    "item_id": np.array([10, 20, 10, 20, 10, 10, 20, 20, 10, 10]),
    "response": np.array([0, 1, 2, 0, 0, 1, 0, 0, 2, 0]),
    "timestamp": np.array([5.0, 6.0, 7.0, 8.0, 1.0, 2.5, 9.0, 9.0, 9.0, 9.0]),
    "propensity": np.array([0.1, 1.0, 0.3, 1 / 3, 0.5, 0.5, 0.25, 1e-9, 0.7, 0.9]),
    "context_hour": np.array([3, 3, 3, 3, 4, 4, 5, 5, 5, 5]),
}


@pytest.fixture
def log(tmp_path):
    return InteractionLog.from_arrays(ROWS, CATALOGUE, tmp_path / "log", {"source": "hand"})


def whole(log, **options):
    parts = list(log.batches(**options))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def test_rows_come_back_in_order_with_their_place_in_the_catalogue(log):
    rows = whole(log)
    for name, values in ROWS.items():
        np.testing.assert_array_equal(rows[name], values, err_msg=name)
    assert rows["item_index"].tolist() == [1, 2, 1, 2, 1, 1, 2, 2, 1, 1]
    assert {name: values.dtype.name for name, values in rows.items()} == {
        "session_id": "int64",
        "step": "int64",
        "user_id": "int64",
        "item_id": "int64",
        "response": "int8",
        "timestamp": "float64",
        "propensity": "float64",
        "context_hour": "float64",
        "item_index": "int32",
    }


def test_the_item_table_keeps_its_order_and_its_columns(log):
    for field in ("item_ids", "embeddings", "categories", "prices"):
        assert torch.equal(getattr(log.items, field), getattr(CATALOGUE, field))
    assert log.item_table.channels is None
    assert log.item_table.index(np.array([20, 10, 30, 15, 99, -1])).tolist() == [2, 1, 0, -1, -1, -1]


def test_metadata_states_the_counts(log):
    assert log.metadata == {
        "format": "recsim-hrl-log",
        "version": 1,
        "name": "log",
        "source": "hand",
        "counts": {"rows": 10, "sessions": 3, "clicks": 4, "orders": 2, "items": 3, "embedding_dim": 2},
        "columns": list(ROWS),
    }
    assert log.rows == 10


def test_report_counts_by_hand(log):
    report = log.report()
    assert (report.impressions, report.clicks, report.orders) == (10, 4, 2)
    assert (report.click_rate, report.orders_per_click) == (0.4, 0.5)
    assert (report.sessions, report.users, report.items, report.items_shown) == (3, 2, 3, 2)
    assert report.session_length.mean == pytest.approx(10 / 3)
    lengths = report.session_length
    assert (lengths.p5, lengths.p25, lengths.median, lengths.p75, lengths.p99, lengths.max) == (2, 2, 4, 4, 4, 4)
    assert "10 impressions in 3 sessions of 2 users" in str(report)
    assert "4 (40.00% of impressions" in str(report)
    assert '"orders_per_click": 0.5' in report.to_json()


def test_report_of_a_log_without_clicks(tmp_path):
    quiet = ROWS | {"response": np.zeros(10, dtype=int)}
    report = InteractionLog.from_arrays(quiet, CATALOGUE, tmp_path / "quiet").report()
    assert (report.clicks, report.click_rate, report.orders_per_click) == (0, 0.0, 0.0)


def test_load_gives_sessions_by_offset(log):
    table = log.load()
    assert table.item_index.dtype == np.int32 and table.response.dtype == np.int8
    assert table.offsets.tolist() == [0, 4, 6, 10]
    assert table.lengths.tolist() == [4, 2, 4]
    assert table.session_ids.tolist() == [7, 3, 9]
    assert table.user_ids.tolist() == [1, 2, 1]
    assert table.start_seconds.tolist() == [5.0, 1.0, 9.0]
    assert table.response.tolist() == ROWS["response"].tolist()
    assert len(table) == 3


def test_load_without_timestamps(tmp_path):
    rows = {name: values for name, values in ROWS.items() if name != "timestamp"}
    assert InteractionLog.from_arrays(rows, CATALOGUE, tmp_path / "log").load().start_seconds is None


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 5, 9, 10, 11])
def test_session_batches_hold_whole_sessions(log, rows):
    parts = list(log.session_batches(rows))
    assert np.concatenate([part["step"] for part in parts]).tolist() == ROWS["step"].tolist()
    owners = [set(part["session_id"].tolist()) for part in parts]
    assert sum(len(owner) for owner in owners) == 3
    assert all(len(part["step"]) for part in parts)


def test_large_row_groups_are_read_as_streams_and_small_ones_at_once_with_the_same_rows(log, monkeypatch):
    opened = []

    def open_file(*arguments, **settings):
        opened.append(settings["buffer_size"])
        return parquet_file(*arguments, **settings)

    parquet_file = pq.ParquetFile
    monkeypatch.setattr(pq, "ParquetFile", open_file)
    at_once = log.load()
    assert set(opened) == {0}
    monkeypatch.setattr(files, "_WHOLE_BYTES", 1)
    opened.clear()
    as_stream = log.load()
    assert set(opened) == {1 << 20}
    assert at_once.response.tolist() == as_stream.response.tolist() == ROWS["response"].tolist()


def test_only_the_optional_columns_asked_for_are_read(log):
    assert list(next(log.batches(optional=("propensity",)))) == [
        *("session_id", "step", "user_id", "item_id", "response", "propensity", "item_index")
    ]
    with pytest.raises(ValueError, match="column 'dwell_seconds': the column is missing"):
        next(log.batches(optional=("dwell_seconds",)))


def test_parquet_to_csv_and_back_is_exact(log, tmp_path):
    table = ItemTable(CATALOGUE, np.array([4, 0, 4]))
    with LogWriter(tmp_path / "with_channels", table, {"name": "shop"}) as writer:
        writer.append(ROWS)
    first = InteractionLog.open(tmp_path / "with_channels")
    text = first.to_csv(tmp_path / "text")
    assert sorted(path.name for path in text.path.iterdir()) == ["interactions.csv", "items.csv", "metadata.json"]
    back = text.to_parquet(tmp_path / "back")
    assert back.metadata == text.metadata == first.metadata
    assert back.item_table.channels.tolist() == [4, 0, 4]
    assert torch.equal(back.items.embeddings, CATALOGUE.embeddings)
    for name, values in whole(first).items():
        np.testing.assert_array_equal(whole(back)[name], values, err_msg=name)


def test_one_file_and_its_item_table(log, tmp_path):
    text = log.to_csv(tmp_path / "text")
    (tmp_path / "text" / "items.csv").rename(tmp_path / "things.csv")
    opened = InteractionLog.open(text.path / "interactions.csv", items=tmp_path / "things.csv")
    assert opened.rows == 10 and opened.metadata == {}


def test_shards_are_read_in_order(tmp_path):
    with LogWriter(tmp_path / "log", CATALOGUE, shard_rows=4) as writer:
        for part in (slice(0, 3), slice(3, 3), slice(3, 10)):
            writer.append({name: values[part] for name, values in ROWS.items()})
    log = InteractionLog.open(tmp_path / "log")
    names = [path.name for path in sorted((log.path / "interactions").iterdir())]
    assert names == ["part-00000.parquet", "part-00001.parquet", "part-00002.parquet"]
    assert log.rows == 10
    assert whole(log)["step"].tolist() == ROWS["step"].tolist()
    assert log.load().offsets.tolist() == [0, 4, 6, 10]


def plain_shards(log: InteractionLog, folder: Path, rows: int) -> None:
    """The rows of ``log`` as others would leave them: files that are numbered without zeros, beside hidden ones."""
    folder.mkdir()
    for number, block in enumerate(log.batches(rows)):
        table = pa.table({name: values for name, values in block.items() if name != "item_index"})
        pq.write_table(table, folder / f"part-{number}.parquet")
    for hidden in ("_SUCCESS", "_metadata.parquet", ".part-0.parquet", "notes.txt"):
        (folder / hidden).write_bytes(b"no table")


def test_a_plain_folder_of_shards_is_read_in_counting_order(log, tmp_path):
    plain_shards(log, tmp_path / "plain", rows=1)
    (log.path / "items.parquet").rename(tmp_path / "plain" / "items.parquet")
    opened = InteractionLog.open(tmp_path / "plain")
    assert (opened.rows, opened.metadata, opened.name) == (10, {}, "plain")
    for name, values in ROWS.items():
        np.testing.assert_array_equal(whole(opened)[name], values, err_msg=name)


def test_the_item_table_of_a_plain_folder_may_have_any_name_and_place(log, tmp_path, monkeypatch):
    plain_shards(log, tmp_path / "plain", rows=4)
    items = (log.path / "items.parquet").rename(tmp_path / "plain" / "products.parquet")
    assert InteractionLog.open(tmp_path / "plain", items).rows == 10
    monkeypatch.chdir(tmp_path / "plain")  # the same file by another name
    assert InteractionLog.open(tmp_path / "plain", "products.parquet").rows == 10
    elsewhere = items.rename(tmp_path / "goods.parquet")
    assert InteractionLog.open(tmp_path / "plain", elsewhere).rows == 10
    with pytest.raises(ValueError, match="allowed exactly one items.parquet or items.csv"):
        InteractionLog.open(tmp_path / "plain")


def test_words_dictionaries_and_times_of_other_writers_are_understood(tmp_path):
    folder = tmp_path / "foreign"
    folder.mkdir()
    interactions = pa.table(
        {
            "item_id": pa.array([10, 30], pa.uint16()),
            "response": pa.array(["order", "skip"]).dictionary_encode(),
            "step": pa.array([0.0, 1.0]),
            "session_id": pa.array([1, 1], pa.int32()),
            "user_id": pa.array(["5", "5"]),
            "timestamp": pa.array([1_500_000, 2_000_000], pa.timestamp("us")),
        }
    )
    pq.write_table(interactions, folder / "interactions.parquet")
    items = {"item_id": [30, 10], "category": [0, 1], "price": [1, 2], "embedding": [[0.5, 1.0], [2.0, 3.0]]}
    pq.write_table(pa.table(items), folder / "items.parquet")
    log = InteractionLog.open(folder)
    rows = whole(log)
    assert rows["response"].tolist() == [2, 0]
    assert rows["item_index"].tolist() == [1, 0]
    assert rows["timestamp"].tolist() == [1.5, 2.0]
    assert rows["user_id"].tolist() == [5, 5]
    assert log.items.embeddings.tolist() == [[0.5, 1.0], [2.0, 3.0]]
    assert log.rows == 2


def test_key_set_remembers_across_merges():
    keys, seen = KeySet(), set()
    generator = np.random.default_rng(0)
    for size in (5, 1, 30, 0, 7, 64, 2):
        block = generator.integers(0, 60, size)
        expected = [key in seen or key in block[:place] for place, key in enumerate(block.tolist())]
        assert keys.add(block).tolist() == expected
        seen |= set(block.tolist())
        assert len(keys) == len(seen)


finite = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def logs(draw):
    """Columns of a valid log over the items 0 to 4."""
    lengths = draw(st.lists(st.integers(1, 4), min_size=1, max_size=5))
    ids = draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=len(lengths), max_size=len(lengths), unique=True))
    rows = sum(lengths)
    steps = [sorted(draw(st.sets(st.integers(-5, 2**62), min_size=n, max_size=n))) for n in lengths]
    columns = {
        "session_id": np.repeat(np.array(ids, dtype=np.int64), lengths),
        "step": np.concatenate(steps),
        "user_id": np.repeat(draw(st.lists(st.integers(0, 9), min_size=len(ids), max_size=len(ids))), lengths),
        "item_id": np.array(draw(st.lists(st.integers(0, 4), min_size=rows, max_size=rows))),
        "response": np.array(draw(st.lists(st.integers(0, 2), min_size=rows, max_size=rows))),
    }
    for name in draw(st.sets(st.sampled_from(["timestamp", "context_a"]))):
        columns[name] = np.array(draw(st.lists(finite, min_size=rows, max_size=rows)))
    return columns


@settings(max_examples=25, deadline=None)
@given(columns=logs(), values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=10))
def test_any_valid_log_survives_both_forms(tmp_path_factory, columns, values):
    folder = tmp_path_factory.mktemp("any")
    embeddings = torch.tensor(values[:10]).reshape(5, 2)
    catalogue = Catalogue(torch.arange(5), embeddings, torch.arange(5), torch.ones(5))
    first = InteractionLog.from_arrays(columns, catalogue, folder / "parquet")
    text = first.to_csv(folder / "csv")
    for log in (first, text, text.to_parquet(folder / "back")):
        rows = whole(log, rows=3)
        for name, expected in columns.items():
            np.testing.assert_array_equal(rows[name], expected, err_msg=name)
        assert torch.equal(log.items.embeddings, embeddings)
        lengths = log.load().lengths
        assert log.report().session_length.median == np.quantile(lengths, 0.5, method="inverted_cdf")
