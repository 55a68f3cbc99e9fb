"""Rows put aside on disk: what comes out, what is left behind, and errors in words of ours."""

import numpy as np
import pytest

from recsim_hrl.data.schema import LogError
from recsim_hrl.data.sources import event_store
from recsim_hrl.data.sources.event_store import event_store as open_store


def fill(store, rows, size=1000):
    with store.filled("numbers", "a BIGINT, b BIGINT") as add:
        for first in range(0, rows, size):
            a = np.arange(first, min(first + size, rows))
            add({"b": a * 7919 % 10_007, "a": a})


def test_rows_come_out_as_they_went_in_or_sorted(tmp_path, monkeypatch):
    monkeypatch.setattr(event_store, "STREAM_ROWS", 512)
    with open_store(tmp_path / "log", 64) as store:
        fill(store, 10_000)
        blocks = list(store.blocks("SELECT a, b FROM numbers"))
        assert len(blocks) > 4 and np.concatenate([block["a"] for block in blocks]).tolist() == list(range(10_000))
        found = store.whole("SELECT b, a FROM numbers ORDER BY b")
        assert (np.diff(found["b"]) > 0).all() and (found["a"] * 7919 % 10_007 == found["b"]).all()
        assert list(store.blocks("SELECT a FROM numbers WHERE a < 0")) == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("size", [50_000, 200_000, 700_000])
def test_more_rows_than_duckdb_keeps_together_come_out_in_order(tmp_path, size):
    with open_store(tmp_path / "log", 64) as store:
        fill(store, 1_000_000, size)
        a = np.concatenate([block["a"] for block in store.blocks("SELECT * FROM numbers WHERE a % 3 < 2")])
    assert len(a) > 600_000 and (np.diff(a) > 0).all()


def test_one_table_is_filled_while_another_is_read(tmp_path):
    with open_store(tmp_path / "log", 64) as store:
        fill(store, 5_000)
        with store.filled("halves", "half BIGINT") as add:
            for block in store.blocks("SELECT a FROM numbers ORDER BY b"):
                add({"half": block["a"] // 2})
        assert store.whole("SELECT count(*) AS n FROM halves")["n"].tolist() == [5_000]


def test_an_error_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), open_store(tmp_path / "new" / "log", 64) as store:
        fill(store, 10)
        raise ZeroDivisionError
    assert not list((tmp_path / "new").iterdir())


def test_what_duckdb_cannot_do_is_told_with_the_fix(tmp_path):
    with pytest.raises(LogError, match=r"log: sorting the events failed \(.*\); raise memory_mb \(got 64\), or free"):
        with open_store(tmp_path / "log", 64) as store:
            fill(store, 300_000)
            list(store.blocks("SELECT list(b) AS l FROM (SELECT n.b FROM numbers AS n, range(100)) GROUP BY 1 + 1"))


def test_ctrl_c_is_ctrl_c(tmp_path):
    with pytest.raises(KeyboardInterrupt), open_store(tmp_path / "log", 64):
        raise RuntimeError("Query interrupted")
    with pytest.raises(RuntimeError, match="another"), open_store(tmp_path / "log", 64):
        raise RuntimeError("another")
