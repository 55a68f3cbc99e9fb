"""Width against validity and speed, on a small log."""

import csv

import pytest

from benchmarks import tradeoff
from benchmarks.floors import count
from benchmarks.tradeoff import TradeoffConfig
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.data.world_log import write_log
from recsim_hrl.simulator.validity.evaluate import EvaluationConfig
from recsim_hrl.simulator.validity.fidelity import FidelityConfig


@pytest.fixture
def config(tmp_path):
    world = World(WorldConfig(items=60, categories=3, embedding_dim=6))
    for name in ("train", "test"):
        write_log(world, tmp_path / name, impressions=3000, seed=len(name))
    small = {
        "evaluation": EvaluationConfig(sessions=5),
        "policies": FidelityConfig((3, 4), 24, candidates=12, workers=1),
    }
    timing = {"users": 8, "turns": 3, "seconds": 0.001}
    return TradeoffConfig(
        tmp_path / "train", tmp_path / "test", tmp_path / "out", widths=(4, 8), processes=1, **timing, **small
    )


def test_widths_are_judged_once_and_timed_together(config, monkeypatch):
    tradeoff.main(config)
    rows = list(csv.DictReader((config.out / "tradeoff.csv").open()))
    assert [row["width"] for row in rows] == ["4", "8"]
    for row in rows:
        width = int(row["width"])
        assert int(row["operations"]) == count(tradeoff._core(config, width)).operations
        assert float(row["ns_low"]) <= float(row["ns_per_user_step"]) <= float(row["ns_high"])
        assert 0 <= int(row["met"]) < int(row["targets"])  # nothing is valid after 3,000 impressions
    assert int(rows[0]["operations"]) < int(rows[1]["operations"])
    assert (config.out / "tradeoff.png").stat().st_size > 5000
    text = (config.out / "tradeoff.md").read_text()
    assert "| 4 | " in text and "Fitted to 3," in text and "benchmarks.tradeoff" in text

    monkeypatch.setattr(tradeoff, "evaluate_simulator", None)  # nothing is judged again
    tradeoff.main(config)
    again = list(csv.DictReader((config.out / "tradeoff.csv").open()))
    assert [row["worst"] for row in again] == [row["worst"] for row in rows]
