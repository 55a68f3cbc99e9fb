"""The comparison of ways to find an item, on a small catalogue."""

import csv

import numpy as np
import pytest

from benchmarks import catalogues
from benchmarks.catalogues import CatalogueConfig
from recsim_hrl.simulator.core import SessionConfig, SessionCore


def test_ways_are_compared_on_the_actions_of_a_trained_actor(tmp_path):
    pytest.importorskip("faiss")
    config = CatalogueConfig(tmp_path, 3000, train_steps=128, users=4, every=25, probes=(1, 16), own=(60, 3000))
    catalogues.main(config)
    rows = {row["way"]: row for row in csv.DictReader((tmp_path / "catalogues.csv").open())}
    assert list(rows) == ["exact", "index, 1 cells", "index, 16 cells", "60 of a user's own", "3,000 of a user's own"]
    found = {way: float(row["recall_at_1"]) for way, row in rows.items()}
    assert found["exact"] == 1.0 and found["index, 16 cells"] == 1.0 and found["3,000 of a user's own"] == 1.0
    for row in rows.values():
        assert (float(row["cosine_lost"]) > 0) == (float(row["recall_at_1"]) < 1) and float(row["us_per_query"]) > 0
    assert "8 actions of DDPG+ after 128 steps, over 3,000 items" in (tmp_path / "catalogues.md").read_text()


def test_quality_by_hand():
    data = catalogues.enlarged(1000)
    core = SessionCore(data, SessionConfig(candidates=None))
    directions = core.vectors.directions
    asked = catalogues.Asked(2 * directions[[3, 5]], np.array([3, 5]))
    recall, lost = catalogues._quality(core, asked, np.array([3, 9]))
    assert recall == 0.5 and lost == pytest.approx((1 - directions[5] @ directions[9]) / 2, abs=1e-5)
