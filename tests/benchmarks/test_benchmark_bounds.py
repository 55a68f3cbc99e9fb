"""Bounds: every policy of a simulator is also told what it earns in the true world, from the same users."""

import dataclasses

import pytest

from benchmarks import bounds
from benchmarks.bounds import BoundsConfig, gaps, measure, to_text
from benchmarks.bounds_table import read_bounds
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.simulator.store import random_simulator, save_simulator

WORLD = WorldConfig(items=60, categories=3, embedding_dim=8)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Two simulators over the items of a small world, as if fitted to its log."""
    folder = tmp_path_factory.mktemp("simulators") / "small"
    provenance = {"log": {"metadata": {"world": dataclasses.asdict(WORLD)}}}
    for split in ("train", "test"):
        simulator = random_simulator(items=60, embedding_dim=8)
        catalogue = World(WORLD).catalogue
        save_simulator(dataclasses.replace(simulator, catalogue=catalogue, provenance=provenance), folder / split)
    return BoundsConfig(str(folder), folder.parent / "bounds.csv", impressions=200, candidates=20, rounds=1, workers=1)


def test_a_policy_of_a_simulator_is_told_its_value_in_the_world(config):
    in_world, in_simulator = (measure(market, "short", 5, config) for market in ("world", "train"))
    assert [row["policy"] for row in in_simulator] == list(bounds.BOUNDS)
    assert {row["true_reward"] for row in in_world} == {""}
    # Random choice looks at nothing, so it shows the same items to the same users in both markets.
    assert in_simulator[0]["true_reward"] == in_world[0]["total_reward"]
    assert in_simulator[0]["true_reward_low"] == in_world[0]["total_reward_low"]
    greedy = in_simulator[bounds.BOUNDS.index("reward_greedy")]
    assert greedy["true_reward"] != in_world[bounds.BOUNDS.index("reward_greedy")]["total_reward"]


def test_the_table_is_written_for_people_and_for_the_benchmark(config, monkeypatch):
    monkeypatch.setattr(bounds, "TASKS", (("short", 4), ("long", 6)))
    bounds.main(config)
    assert [bound.policy for bound in read_bounds(config.out, "train")] == 2 * list(bounds.BOUNDS)
    text = config.out.with_suffix(".md").read_text(encoding="utf-8")
    assert "| in the true world |" in text and text.count("| planner |") == 6
    assert "world  long   patience gap: planner over reward-greedy" in text


def test_gaps_by_hand():
    rewards = {"random": (2.0, 0.5), "random_goal": (3.0, 2.0), "click_greedy": (4.0, 1.0), "reward_greedy": (5.0, 2.0)}
    rewards["planner"] = (8.0, 6.0)
    rows = [
        {"market": "world", "task": "short", "policy": policy, "total_reward": total, "order_reward": order}
        for policy, (total, order) in rewards.items()
    ]
    (line,) = gaps(rows)
    assert "over reward-greedy +60%, over click-greedy +100%" in line and "find 4.0x the orders" in line
    assert gaps(rows[:-1]) == []  # a table that is not finished


def test_what_is_unknown_is_a_dash():
    row = dict.fromkeys(("market", "task", "policy", "true_reward"), "") | {"sessions": 3}
    numbers = dict.fromkeys(
        ("total_reward", "total_reward_low", "total_reward_high", "click_reward", "order_reward"), "1.0"
    )
    assert to_text([row | numbers]).splitlines()[2].endswith("| – |")
