"""Fits on logs of other worlds: their table by hand, and one world in small."""

import csv
import json

import pytest

from benchmarks import other_worlds
from benchmarks.other_worlds import SCALES, WORLDS, OtherWorldsConfig, Row, Setting, judge, write_tables
from recsim_hrl.data.behaviour import BehaviourConfig
from recsim_hrl.data.world import WorldConfig
from recsim_hrl.simulator.fit import FitConfig


def value(policy: str, world: float, simulator: float) -> dict:
    """An entry of a report, whose standard errors make one of a fifth of a ``world`` of 10."""
    errors = {"world_error": 1.2, "simulator_error": 1.6, "relative_error": simulator / world - 1}
    orders = {"world_orders": 1.0, "simulator_orders": 1.0, "coverage": None}
    return {"policy": policy, "length": 50, "world": world, "simulator": simulator} | errors | orders


FOUND = {
    "validity": {
        "impressions": 900,
        "sessions": 40,
        "log_loss_base_rate": 0.36,
        "log_loss_item_rate": 0.35,
        "log_loss_simulator": 0.31,
        "log_loss_bayes": 0.30,
        "gap_closed": 0.8,
        "click": {"rate": 0.1, "calibration_error": 0.002},
        "order": {"rate": 0.005, "calibration_error": 0.0004},
    },
    "fidelity": {
        "summary": {"50": {"kendall_tau": 1.0, "mean_absolute_error": 0.1, "worst_absolute_error": 0.15}},
        "values": [value("a", 10.0, 11.5), value("b", 20.0, 21.0)],
    },
}


def test_the_table_by_hand(tmp_path):
    worlds = ("small shop", "no trust")
    config = OtherWorldsConfig("full", worlds, (100_000, 400_000), tmp_path, FitConfig(kinds=9))
    text = write_tables([Row("small shop", 100_000, FOUND), Row("no trust", 400_000, FOUND)], config)
    lines = [" ".join(line.split()) for line in text.splitlines()[4:]]
    # Noise: the errors of 1.2 and 1.6 are 2.0 together, a fifth of 10 and a tenth of 20.
    numbers = "22.5 10.0% 0.50% 0.3600 0.3100 0.3000 80.0% 0.0020 0.0004 10.0% 15.0% 15.0% 1.00"
    assert lines == [f"small shop 100,000 {numbers}", f"no trust 400,000 {numbers}"]
    page = (tmp_path / "other_worlds.md").read_text()
    command = 'python -m benchmarks.other_worlds --preset full --worlds "small shop" "no trust"'
    assert page.endswith(f"Made by `{command} --impressions 100000 400000 --fit.kinds 9`.\n")
    assert "10 policies, in sessions of 50 items with 400 candidates, 400 users each" in page
    assert "| no trust | `seed=15`, `click_trust=0.0`, `order_trust=0.0`, `trust_leaving=0.0` |" in page
    with (tmp_path / "values.csv").open(newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows[1] == ("small shop", "100000", "b", "20", "1.2", "21", "1.6", "0.05")
    with (tmp_path / "other_worlds.csv").open(newline="") as file:
        assert [row["gap_closed"] for row in csv.DictReader(file)] == ["0.8", "0.8"]


def test_what_is_told_of_a_world():
    assert str(Setting(WorldConfig())) == "as usual"
    told = str(Setting(WorldConfig(items=50, categories=3), BehaviourConfig(leave_rate=0.1)))
    assert told == "`items=50`, `categories=3`, `leave_rate=0.1`"
    assert len({json.dumps(str(setting)) for setting in WORLDS.values()}) == len(WORLDS)


def test_a_world_in_small(tmp_path, monkeypatch):
    small = Setting(WorldConfig(items=60, categories=3, embedding_dim=6, click_cap=0.9, click_bias=2.0))
    monkeypatch.setitem(other_worlds.WORLDS, "default", small)
    config = OtherWorldsConfig(worlds=("default",), out=tmp_path / "worlds", fit=FitConfig(kinds=3), workers=1)
    assert "2,000" in other_worlds.other_worlds(config)
    with (tmp_path / "worlds" / "other_worlds.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    found = json.loads(judge(SCALES["quick"], config.fit, small, 2000))  # where it runs does not matter
    assert float(row["log_loss_simulator"]) == pytest.approx(found["validity"]["log_loss_simulator"], rel=1e-5)
    assert float(row["click_rate"]) > 0.5 and found["log"]["is_fitted_to"] is False
    assert not (tmp_path / "worlds.parts").exists()


def test_impossible_requests():
    with pytest.raises(ValueError, match=r"worlds: got \['mars'\], allowed \['default', 'small shop'"):
        OtherWorldsConfig(worlds=("mars",))
