"""A log that is ten times as long does not take ten times the memory: measured from outside, in fresh processes."""

import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from recsim_hrl.data.log import InteractionLog, LogWriter
from recsim_hrl.simulator.fit import load_sequences
from recsim_hrl.types import Catalogue

ITEMS, LENGTH = 50, 20
SHORT, LONG = 600_000, 3_600_000  # both above two of the blocks that are read at a time
LIMIT_KIB = 0.4 * 7 * 8 * (LONG - SHORT) / 1024
"""Less than half of what the seven columns of the longer log add, where they are held."""
_READ = """
import re, sys
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.data.splits import split_by_time
log = InteractionLog.open(sys.argv[1])
log.validate()
if len(sys.argv) > 2:
    split_by_time(log, sys.argv[2])
status = open("/proc/self/status").read()
print(log.report().impressions, re.search(r"VmHWM:\\s+(\\d+) kB", status)[1])
"""
"""Not ru_maxrss, which a new process has from the one that started it."""


def block(first: int, rows: int) -> dict[str, np.ndarray]:
    """``rows`` impressions in sessions of 20, from the session numbered ``first``."""
    row = np.arange(rows)
    session = first + row // LENGTH
    return {
        "session_id": session,
        "step": row % LENGTH,
        "user_id": session % 1000,
        "item_index": row % ITEMS,
        "response": (row % 7 == 0).astype(np.int8),
        "timestamp": session * 60.0,
        "propensity": np.full(rows, 0.5),
    }


def write(path: Path, rows: int) -> InteractionLog:
    index = torch.arange(ITEMS)
    catalogue = Catalogue(index, torch.zeros(ITEMS, 2), index, torch.ones(ITEMS))
    with LogWriter(path, catalogue, shard_rows=100_000) as writer:
        for start in range(0, rows, 100_000):
            writer.append(block(start // LENGTH, 100_000))
    return InteractionLog.open(path)


needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory from /proc")


@pytest.fixture(scope="module")
def logs(tmp_path_factory) -> tuple[InteractionLog, InteractionLog]:
    folder = tmp_path_factory.mktemp("long")
    return write(folder / "short", SHORT), write(folder / "long", LONG)


def peak_kib(*paths: Path) -> int:
    """Most memory of a process that reads the log at the first path, and splits it to the second if there is one."""
    command = [sys.executable, "-c", _READ, *paths]
    words = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    impressions, kib = map(int, words.stdout.split())
    assert impressions == InteractionLog.open(paths[0]).rows
    return kib


@needs_proc
def test_a_folder_of_shards_is_read_and_split_as_a_stream(logs, tmp_path):
    short, long = (peak_kib(log.path, tmp_path / log.name) for log in logs)
    assert len(list((logs[1].path / "interactions").iterdir())) == 36
    assert long - short < LIMIT_KIB


@needs_proc
def test_a_single_row_group_is_streamed_too(logs, tmp_path):
    """Others write one row group a file, however long."""
    peaks = []
    for log in logs:
        folder = tmp_path / log.name
        folder.mkdir()
        table = pq.read_table(log.path / "interactions")
        pq.write_table(table, folder / "all.parquet", row_group_size=len(table))
        shutil.copy(log.path / "items.parquet", folder)
        assert pq.ParquetFile(folder / "all.parquet").num_row_groups == 1
        peaks.append(peak_kib(folder))
    assert peaks[1] - peaks[0] < LIMIT_KIB


def test_loading_for_a_fit_takes_few_bytes_for_each_impression(logs):
    """9 for an impression and 40 for a session, which has 20 impressions here; NumPy tells tracemalloc of them."""
    peaks = []
    for log in logs:
        tracemalloc.start()
        sequences = load_sequences(log)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert len(sequences.items) == log.rows
    assert (peaks[1] - peaks[0]) / (LONG - SHORT) < 16
