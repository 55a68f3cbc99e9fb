"""A written log appears whole or not at all, and what the writer accepts a reader accepts."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from recsim_hrl.data.items import ItemTable
from recsim_hrl.data.log import InteractionLog, LogWriter
from recsim_hrl.data.schema import LogError
from recsim_hrl.types import Catalogue

CATALOGUE = Catalogue(torch.tensor([5, 4]), torch.ones(2, 3), torch.zeros(2, dtype=torch.int64), torch.ones(2))


def rows(session, length=2, **more):
    columns = {"session_id": np.full(length, session), "step": np.arange(length), "user_id": np.full(length, 1)}
    return columns | {"item_index": np.arange(length) % 2, "response": np.zeros(length, dtype=int)} | more


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_item_index_is_stored_as_item_id(tmp_path):
    with LogWriter(tmp_path / "log", CATALOGUE) as writer:
        writer.append(rows(1))
        writer.append(rows(2, response=np.array([2, 1])))
    batch = next(InteractionLog.open(tmp_path / "log").batches())
    assert batch["item_id"].tolist() == [5, 4, 5, 4]
    assert batch["item_index"].tolist() == [0, 1, 0, 1]
    assert batch["response"].tolist() == [0, 0, 2, 1]


def test_a_session_may_go_on_in_the_next_call(tmp_path):
    with LogWriter(tmp_path / "log", CATALOGUE) as writer:
        writer.append(rows(1))
        writer.append(rows(1, step=np.array([2, 3])))
        writer.append(rows(1, step=np.array([9]), length=1))
    assert InteractionLog.open(tmp_path / "log").load().offsets.tolist() == [0, 5]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_writer_leaves_what_was_there(tmp_path, interruption):
    with LogWriter(tmp_path / "log", CATALOGUE) as writer:
        writer.append(rows(1))
    with pytest.raises(interruption), LogWriter(tmp_path / "log", CATALOGUE) as writer:
        writer.append(rows(2, length=300_000))
        raise interruption
    assert names_in(tmp_path) == ["log"]
    assert InteractionLog.open(tmp_path / "log").load().session_ids.tolist() == [1]


def test_a_failing_swap_restores_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "log"
    with LogWriter(path, CATALOGUE) as writer:
        writer.append(rows(1))
    rename = type(path).rename

    def fail_once(source, target):
        if ".partial-" in source.name:
            raise OSError("no space")
        return rename(source, target)

    monkeypatch.setattr(type(path), "rename", fail_once)
    with pytest.raises(OSError, match="no space"), LogWriter(path, CATALOGUE) as writer:
        writer.append(rows(2))
    assert names_in(tmp_path) == ["log"]
    assert InteractionLog.open(path).load().session_ids.tolist() == [1]


def test_a_log_is_replaced_even_by_a_copy_of_itself(tmp_path):
    log = InteractionLog.from_arrays(rows(1), CATALOGUE, tmp_path / "log")
    assert log.to_csv(tmp_path / "log").load().session_ids.tolist() == [1]
    assert names_in(tmp_path / "log") == ["interactions.csv", "items.csv", "metadata.json"]
    assert names_in(tmp_path) == ["log"]


def test_foreign_files_are_never_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("words")
    (tmp_path / "note").write_text("words")
    for name, message in (("thesis", "is not a log"), ("note", "a file is in the way")):
        with pytest.raises(LogError, match=message), LogWriter(tmp_path / name, CATALOGUE) as writer:
            writer.append(rows(1))
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == (tmp_path / "note").read_text() == "words"
    assert names_in(tmp_path) == ["note", "thesis"]


BAD = {
    "index": (rows(2, item_index=np.array([0, 2])), "column 'item_index', row 4: got 2"),
    "fraction": (rows(2, item_index=np.array([0.0, 1.0])), "column 'item_index': got type float64, allowed integers"),
    "both": (rows(2, item_id=np.array([4, 5])), "both given"),
    "no array": (rows(2, item_index=None), "got type object, allowed integers"),
    "response": (rows(2, response=np.array([0, 3])), "column 'response', row 4: got 3"),
    "lengths": (rows(2, step=np.arange(3)), "allowed equally many"),
    "comes back": (rows(1), "row 3: step 0 of session 1|row 3: unsorted"),
    "new column": (rows(2, channel=np.zeros(2)), "as in the first call"),
    "shape": (rows(2, step=np.zeros((2, 2))), "not a one-dimensional array"),
    "missing": ({"step": np.arange(2)}, "column 'session_id': the column is missing"),
    "nan": (rows(2, response=np.array([0.0, np.nan])), "column 'response', row 4: got nan"),
}


@pytest.mark.parametrize("columns, message", BAD.values(), ids=BAD)
def test_bad_rows_are_refused_and_nothing_is_left(tmp_path, columns, message):
    with pytest.raises(LogError, match=message), LogWriter(tmp_path / "log", CATALOGUE) as writer:
        writer.append(rows(1))
        writer.append(columns)
    assert names_in(tmp_path) == []


def test_bad_arguments(tmp_path):
    with pytest.raises(LogError, match="no rows were appended"), LogWriter(tmp_path / "log", CATALOGUE):
        pass
    with pytest.raises(LogError, match="metadata keys .'version'. are filled in"):
        LogWriter(tmp_path / "log", CATALOGUE, {"version": 3})
    with pytest.raises(LogError, match="not JSON"):
        LogWriter(tmp_path / "log", CATALOGUE, {"when": {1, 2}})
    with pytest.raises(LogError, match="allowed 'parquet' or 'csv'"):
        LogWriter(tmp_path / "log", CATALOGUE, form="json")
    twice = Catalogue(torch.tensor([4, 4]), torch.ones(2, 3), torch.zeros(2, dtype=torch.int64), torch.ones(2))
    with pytest.raises(LogError, match="row 2: item 4 is duplicated"):
        LogWriter(tmp_path / "log", ItemTable(twice))
    broken = Catalogue(torch.tensor([4, 5]), torch.ones(2, 3), torch.zeros(2), torch.tensor([1.0, torch.nan]))
    with pytest.raises(LogError, match="column 'price', row 2"):
        LogWriter(tmp_path / "log", broken)
    assert names_in(tmp_path) == []


def test_an_attached_table_comes_with_the_log_and_is_no_part_of_it(tmp_path):
    with LogWriter(tmp_path / "log", CATALOGUE) as writer:
        writer.append(rows(1))
        writer.attach("ids/users.parquet", pa.table({"id": [1], "name": ["ann"]}))
        for name in ("items.parquet", "interactions/part-1.parquet", "ids/users.csv"):
            with pytest.raises(LogError, match="allowed a .parquet file in a folder of its own"):
                writer.attach(name, pa.table({"id": [1]}))
    log = InteractionLog.open(tmp_path / "log")
    assert log.rows == 2 and pq.read_table(log.path / "ids" / "users.parquet").to_pydict()["name"] == ["ann"]
