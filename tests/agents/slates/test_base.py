import numpy as np
import torch
from recsim_hrl_agents import evaluate, make_agent


def test_drawn_slates_follow_plackett_and_luce(circle):
    # Three items can be shown, with weights 1, 2 and 3: the first is item 2 with chance 3 / 6, and item 1 is second
    # after it with chance 2 / 3.
    users = 20_000
    agent = make_agent("slate-random", circle(4), seed=3)
    agent.slate_size = 2
    scores = torch.zeros(users, 12)
    scores[:, 1], scores[:, 2], scores[:, 3:] = 0.5 * np.log(2), 0.5 * np.log(3), 9.0
    available = np.zeros((users, 12), np.int8)
    available[:, :3] = 1
    slates = agent.drawn_slate(scores, 0.5, {"available": available})
    first, second = slates.T
    assert set(slates.flatten()) == {0, 1, 2} and (first != second).all()
    assert abs((first == 2).mean() - 1 / 2) < 0.015
    assert abs((second[first == 2] == 1).mean() - 2 / 3) < 0.015


def test_random_slates_earn_what_chance_does(circle):
    env = circle(64, never=(0,))
    result = evaluate(make_agent("slate-random", env), env, 1024, seed=0)
    # 7 / 11 per slot where none of the paying items is missing (9 of 12 contexts); one of 1, 5, 1 is missing else.
    expected = 3 * (9 * 7 + 6 + 2 + 6) / 12 / 11
    assert abs(result.total_reward.mean() - expected) < 0.25
