"""The results that README.md shows are those of the committed files."""

import csv
import re

import pytest

from tests.docs import pages

ROWS = {
    "random": ("random", "random"),
    "popularity": ("popularity", "popularity"),
    "best ranker, from the log: Wide&Deep, greedy": ("wide-deep", "greedy"),
    "best of stable-baselines3: DQN, PPO": ("sb3-dqn", "sb3-ppo"),
    "DEERS": ("deers", "deers"),
    "MaHRL, in the paper's form": ("mahrl", "mahrl"),
    "DDPG+": ("ddpg", "ddpg"),
    "**MaHRL, its low level starting from the goal**": ("mahrl-anchored", "mahrl-anchored"),
    "*reward-greedy oracle*": ("reward_greedy", "reward_greedy"),
    "**MaHRL with items as goals**": ("mahrl-items", "mahrl-items"),
    "**Q-learning over goals**": ("goal-q", "goal-q"),
    "*planner*": ("planner", "planner"),
}
"""What a row of the table calls the agents, or bounds, of its two columns."""
BEST_OF = {
    "best ranker, from the log: Wide&Deep, greedy": ("cf", "fm", "wide-deep", "gru", "greedy"),
    "best of stable-baselines3: DQN, PPO": ("sb3-dqn", "sb3-ppo", "sb3-td3", "sb3-sac"),
}


@pytest.fixture(scope="module")
def results():
    """(task, name) to (mean, low, high) of the full preset; of random and popularity the agents', not the bounds'."""
    with (pages.ROOT / "benchmarks/results/full/summary.csv").open(newline="", encoding="utf-8") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: row["kind"] == "agent")
    names = ("total_reward", "total_reward_low", "total_reward_high")
    return {(row["task"], row["agent"]): tuple(float(row[name]) for name in names) for row in rows}


def test_the_table_of_the_readme(results):
    text = (pages.ROOT / "README.md").read_text(encoding="utf-8").split("<!-- results -->")[1]
    told = re.findall(r"^\| (.*?) \| (\S+ \[.*?\]) \| (\S+ \[.*?\]) \|$", text, re.M)
    assert [row[0] for row in told] == list(ROWS)
    for label, *cells in told:
        for task, agent, cell in zip(("short", "long"), ROWS[label], cells, strict=True):
            mean, low, high = results[task, agent]
            assert cell == f"{mean:.2f} [{low:.2f}, {high:.2f}]", (label, task)
            if label in BEST_OF:
                assert max(BEST_OF[label], key=lambda one, task=task: results[task, one]) == agent
