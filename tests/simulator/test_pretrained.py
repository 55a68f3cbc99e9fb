"""The simulators in the package: where they come from, and that the committed report is theirs and good."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
import torch

from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.simulator.fit import FitConfig
from recsim_hrl.simulator.folder import SPLITS
from recsim_hrl.simulator.store import load_simulator

ROOT = Path(__file__).parents[2]
REPORTS = {split: ROOT / "benchmarks" / "results" / f"validity_{split}" / "validity.json" for split in SPLITS}


@pytest.mark.parametrize("split", SPLITS)
def test_the_default_simulators_come_from_the_default_world_and_fit(split):
    provenance = load_simulator("default", split).provenance
    assert provenance["log"]["metadata"]["world"] == dataclasses.asdict(WorldConfig())
    assert provenance["fit"] == dataclasses.asdict(FitConfig(passes=4, patience=2, batch=5000, kinds=24))
    assert provenance["log"]["impressions"] > 7_900_000


def test_both_splits_offer_the_items_of_the_world_in_one_order():
    train, test = (load_simulator("default", split) for split in SPLITS)
    torch.testing.assert_close(train.catalogue.embeddings, World().catalogue.embeddings)
    assert torch.equal(train.recall_order, test.recall_order)
    assert train.provenance["data_sha256"] != test.provenance["data_sha256"]


@pytest.mark.parametrize("split", SPLITS)
def test_the_committed_report_is_of_this_simulator_and_meets_every_target(split):
    report = json.loads(REPORTS[split].read_text(encoding="utf-8"))
    assert report["simulator"]["data_sha256"] == load_simulator("default", split).provenance["data_sha256"]
    assert len(report["targets"]) == 9 and all(target["is_met"] for target in report["targets"])
    assert not report["log"]["is_fitted_to"]


@pytest.mark.parametrize("split", SPLITS)
def test_the_readme_tells_the_policy_values_of_the_reports(split):
    summary = json.loads(REPORTS[split].read_text(encoding="utf-8"))["fidelity"]["summary"]
    short, long = summary["50"], summary["200"]
    errors = [short["mean_absolute_error"], long["mean_absolute_error"]]
    worst = max(short["worst_absolute_error"], long["worst_absolute_error"])
    taus = [short["kendall_tau"], long["kendall_tau"]]
    cells = [f"{error:.1%}" for error in errors] + [f"{worst:.0%}"] + [f"{tau:.2f}" for tau in taus]
    (row,) = re.findall(rf"^\| `{split}` .*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert [cell.strip() for cell in row.split("|")[2:-1]] == cells
