"""The inverted terminal mask: both ways differ in nothing else, and differences by hand."""

import dataclasses

import pytest
from recsim_hrl_agents.registry import agent_config

from benchmarks.aggregate import About, read_csv
from benchmarks.slate_results import write_slate_results
from benchmarks.statistics import Bootstrap
from benchmarks.terminal_mask import SETTING, make_mask_tables, mask_preset, mask_rows

ABOUT = About("terminal-mask-tiny", "default", "python -m benchmarks.terminal_mask --preset tiny")


@pytest.fixture
def results(tmp_path, make_slate_record):
    agents = [
        make_slate_record([4, 6], [2, 3], "hac"),
        make_slate_record([6, 8], [4, 3], "hac", seed=1),
        make_slate_record([1, 3], [2, 3], "hac (inverted)"),
        make_slate_record([3, 5], [2, 1], "hac (inverted)", seed=1),
        make_slate_record([9, 9], [9, 9], "hsrl"),
    ]
    return write_slate_results(agents, [make_slate_record([2, 2], agent="random")], ABOUT, tmp_path)


def test_differences_by_hand(results):
    reward, depth = mask_rows(results, Bootstrap(resamples=100))
    assert (reward.agent, reward.measure, depth.measure) == ("hac", "total_reward", "depth")
    assert (reward.right.estimate, reward.inverted.estimate, reward.difference.estimate) == (6, 3, 3)
    assert (depth.right.estimate, depth.inverted.estimate, depth.difference.estimate) == (3, 2, 1)
    # Every user pays 2 more to one seed than to the other, and 2 more than the other user: seeds alone remain.
    assert reward.difference.low == 1 and reward.difference.high == 5


def test_the_page(results, tmp_path):
    text = make_mask_tables(tmp_path, Bootstrap(resamples=100))
    assert "Task slates: 2 training seeds, 2 common users" in text and "hsrl" not in text
    page = (tmp_path / "tables.md").read_text()
    assert "| +3.00 [+1.00, +5.00] |" in page and "| bound: random | 2.00 |" in page
    assert page.endswith(f"\n\nMade by `{ABOUT.command}`.\n")
    assert {tuple(row[:3]) for row in read_csv(tmp_path / "mask.csv")} == {
        ("slates", "hac", "total_reward"),
        ("slates", "hac", "depth"),
    }
    assert (tmp_path / "mask.png").exists()


@pytest.mark.parametrize("name", ["quick", "full"])
def test_both_ways_differ_in_the_mask_alone(name):
    preset = mask_preset(name)
    assert len(preset.entries) % 2 == 0
    for right, inverted in zip(preset.entries[::2], preset.entries[1::2], strict=True):
        assert right.steps == inverted.steps and right.agent == inverted.agent
        configs = [dataclasses.asdict(agent_config(entry.agent, **dict(entry.settings))) for entry in (right, inverted)]
        assert [config.pop(SETTING) for config in configs] == [False, True]
        assert configs[0] == configs[1]
