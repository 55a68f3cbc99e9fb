"""The benchmark of long logs: what is watched from outside, which rows are kept, and the floor of a fit."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import fit_floor, long_logs
from benchmarks.aggregate import read_csv
from benchmarks.fit_floor import FitFloor, Product, measure_floor, products
from benchmarks.long_logs import STAGES, LongLogsConfig, measure_stages, write_shards
from benchmarks.long_logs_report import Costs, Row, floor_text, write_report
from benchmarks.watch import Watched, watch
from recsim_hrl.data.log import InteractionLog
from recsim_hrl.simulator.gradients import session_loss
from recsim_hrl.simulator.response import ResponseModel
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.simulator.weights import ResponseConfig

MIB = 2**20
_HOLD = "import time; held = bytearray({size}); held[::1024] = b'x' * len(held[::1024]); time.sleep({seconds})"
_WITH_A_CHILD = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {_HOLD.format(size=80 * MIB, seconds=1)!r}])
{_HOLD.format(size=50 * MIB, seconds=1)}
child.wait()
print("done")
"""


def test_the_memory_of_a_process_and_its_child_is_added():
    watched = watch([sys.executable, "-c", _WITH_A_CHILD])
    assert watched.output == "done\n"
    assert 130 < watched.rss_mib < 220
    assert watched.seconds >= 1.0 > watched.cpu_seconds


def test_a_command_that_fails_is_told_with_what_it_printed():
    with pytest.raises(ChildProcessError, match=r"(?s)ended with status 3.*no such log"):
        watch([sys.executable, "-c", "import sys; print('no such log'); sys.exit(3)"])


# Rows


def make_row(stage: str, size: int, seconds: float) -> Row:
    return Row(stage, size, size, seconds, seconds, 300.0)


def test_the_cost_of_an_impression_leaves_out_what_a_tiny_log_costs():
    costs = Costs([make_row("read", 1000, 2.0), make_row("read", 101_000, 2.5), make_row("read", 201_000, 4.0)])
    assert (costs.tiny, costs.sizes) == (1000, [101_000, 201_000])
    assert [costs.micro("read", size) for size in costs.sizes] == pytest.approx([5.0, 10.0])


def test_rows_survive_the_file_and_make_a_page_and_a_figure(tmp_path):
    rows = [make_row(stage.name, size, size / 1e5) for size in (1000, 100_000) for stage in STAGES]
    assert [Row.read(row.cells) for row in rows] == rows
    text = write_report(rows, tmp_path)
    assert "| fit | 0.0 | 1.0 |" in text and "| fit | 10.00 |" in text and "| fit | 300 | 300 |" in text
    with Image.open(tmp_path / "long_logs.png") as picture:
        assert picture.width > picture.height > 300


@pytest.fixture
def shop(tmp_path) -> InteractionLog:
    """A log of 10 rows."""
    columns = {name: np.arange(10) % 2 for name in ("step", "response")}
    columns |= {"session_id": np.arange(10) // 2, "user_id": np.arange(10) // 2, "item_index": np.arange(10)}
    return InteractionLog.from_arrays(columns, random_simulator(items=10).catalogue, tmp_path / "7" / "log")


def test_a_row_that_is_there_is_kept_and_short_stages_are_repeated(tmp_path, shop, monkeypatch):
    ran = []

    def fake(command: list[str]) -> Watched:
        ran.append(command)
        return Watched(float(len(ran)), 1.0, 100.0, "")

    monkeypatch.setattr(long_logs, "watch", fake)
    config = LongLogsConfig(tmp_path / "out", tmp_path, sizes=(7,), tiny=5)
    rows = [make_row("generate", 7, 9.0), make_row("fit", 7, 9.0)]
    (tmp_path / "7" / "fit").mkdir()
    measure_stages(config, 7, rows)
    assert [row.stage for row in rows[2:]] == ["read", "read shards", "report", "split", "evaluate"]
    assert [row.seconds for row in rows[2:]] == [1.0, 4.0, 7.0, 10.0, 13.0]  # the fastest of three, then one
    assert {row.impressions for row in rows[2:]} == {10}
    assert [Row.read(cells) for cells in read_csv(config.out / "long_logs.csv")] == rows
    measure_stages(config, 7, rows)
    assert len(ran) == 13


def test_what_a_later_stage_needs_is_made_again_and_its_row_kept(tmp_path, shop, monkeypatch):
    ran = []
    monkeypatch.setattr(long_logs, "watch", lambda command: ran.append(command) or Watched(1.0, 1, 1, ""))
    rows = [make_row(stage.name, 7, 9.0) for stage in STAGES[:-1]]
    measure_stages(LongLogsConfig(tmp_path / "out", tmp_path, sizes=(7,), tiny=5), 7, rows)
    assert ["fit" in ran[0], "evaluate" in ran[1], len(ran)] == [True, True, 2]
    assert [row.seconds for row in rows] == [9.0] * (len(STAGES) - 1) + [1.0]


def test_sizes_must_lie_above_the_tiny_one():
    with pytest.raises(ValueError, match="got tiny=10, sizes=.5, 20., allowed sizes above tiny"):
        LongLogsConfig(sizes=(5, 20), tiny=10)


def test_the_plain_folder_holds_the_same_rows(tmp_path, shop):
    write_shards(shop, tmp_path / "shards", rows=1)
    assert len(list((tmp_path / "shards").iterdir())) == 11
    plain = InteractionLog.open(tmp_path / "shards")
    assert plain.metadata == {}
    assert (plain.load().item_index == shop.load().item_index).all()


# The floor


def sessions(count: int, longest: int) -> Sequences:
    lengths = np.linspace(1, longest, count).astype(int)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    rows = np.arange(offsets[-1])
    return Sequences.build(rows % 40, rows % 3, offsets, np.arange(count) % 5, np.arange(count))


def test_a_product_and_its_gradients_by_hand():
    assert Product("a", count=5, m=2, k=3, n=4, gradients=0).flops == 5 * 2 * 2 * 3 * 4
    assert Product("a", count=5, m=2, k=3, n=4, gradients=2).flops == 3 * 5 * 2 * 2 * 3 * 4


@pytest.mark.parametrize(
    ("config", "longest"),
    [(ResponseConfig(), 63), (ResponseConfig(embedding_dim=7, kinds=3, hidden=10, item_features=5, values=2), 20)],
)
def test_the_products_are_those_that_pytorch_counts(config, longest):
    model = ResponseModel(config).train()
    embeddings, log = torch.rand(40, config.embedding_dim), sessions(6, longest)
    with FlopCounterMode(display=False) as counter:
        loss = session_loss(model, embeddings, log.batch(np.arange(6)))
        torch.autograd.grad(loss, list(model.parameters()))
    ours = [product for product in products(config, 6, longest) if not product.in_numpy]
    assert sum(product.flops for product in ours) == counter.get_total_flops()


def test_the_products_of_the_surprises_are_those_of_one_place_after_the_other():
    """Per place and session: 24 traces and 64 hidden values by 64, then 64 by 3 responses; forward only."""
    flops = sum(product.flops for product in products(ResponseConfig(), 10, 30) if product.in_numpy)
    assert flops == 2 * 10 * 30 * (24 * 64 + 64 * 64 + 64 * 3)


def test_the_floor_is_measured_and_told(monkeypatch):
    monkeypatch.setattr(fit_floor, "REPEATS", 1)
    monkeypatch.setattr(fit_floor, "BATCHES", 1)
    floor = measure_floor(sessions(20, 30), random_simulator(items=40).catalogue, batch=400)
    assert 0 < floor.at_best and 0 < floor.floor and 0 < floor.one_process and 0 < floor.two_processes
    assert floor.flops / 1e3 == pytest.approx(floor.floor * floor.own_gflops)
    assert sum(share for _, share in floor.shares) == pytest.approx(1.0)
    assert all(share > 0 for _, share in floor.shares)


def test_the_floor_as_a_table():
    floor = FitFloor(2e5, 50.0, 40.0, 4.0, 5.0, 25.0, 12.5, (("matrix products", 0.3), ("the rest", 0.7)))
    text = floor_text(floor)
    assert "200,000 floating-point operations" in text
    assert "| the fit, one process (processor time) | 25.00 | 40,000 | 5.0 |" in text
    assert "| the fit, two processes (time by the clock) | 12.50 | 80,000 | 5.0 |" in text
    assert "| matrix products | 30% |" in text
