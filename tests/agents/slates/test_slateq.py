"""SlateQ's choice model, values and slates, against values worked out by hand and against all slates there are."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import torch
from recsim_hrl_agents import make_agent, train
from recsim_hrl_agents.slates.base import best_available
from recsim_hrl_agents.slates.slateq import best_merits, choices, merits, slate_values


def value(weights, values, none):
    """Of one slate, as the paper writes it."""
    return (none + sum(w * q for w, q in zip(weights, values, strict=True))) / (1 + sum(weights))


def test_the_value_of_a_slate_by_hand():
    # Chances 1/7, 2/7 and 4/7 of none and of the items.
    found = slate_values(
        torch.tensor([[np.log(2.0), np.log(4.0)]]).float(), torch.tensor([[7.0, 14.0]]), torch.tensor([[3.5]])
    )
    assert found.item() == pytest.approx(0.5 + 2.0 + 8.0)


def test_one_of_several_clicked_items_is_the_chosen_one_and_none_without_a_click():
    found = choices(torch.tensor([[0, 1, 0, 2], [0, 0, 0, 0], [0, 0, 2, 0]]))
    assert found.tolist() == [[0, 0, 0.5, 0, 0.5], [1, 0, 0, 0, 0], [0, 0, 0, 1, 0]]


def test_slates_by_top_k_and_after_a_few_rounds_the_best_of_all_slates():
    draws = torch.Generator().manual_seed(0)
    logits, values = torch.randn(200, 7, generator=draws), 3 * torch.randn(200, 7, generator=draws)
    none = torch.randn(200, 1, generator=draws)
    can_be_shown = torch.rand(200, 7, generator=draws).argsort(1) < 5
    worth = {}
    for rounds in (0, 8):
        found = best_merits(logits, values, none, can_be_shown, 3, rounds)
        slates = best_available(found, can_be_shown, 3)
        worth[rounds] = slate_values(logits.gather(1, slates), values.gather(1, slates), none)
    best, top = [], []
    for row in range(200):
        weights, q, zero = logits[row].exp().tolist(), values[row].tolist(), none[row].item()
        places = [place for place in range(7) if can_be_shown[row, place]]
        every = [value([weights[p] for p in slate], [q[p] for p in slate], zero) for slate in combinations(places, 3)]
        best.append(max(every))
        first = sorted(places, key=lambda p: -weights[p] * (q[p] - zero))[:3]
        top.append(value([weights[p] for p in first], [q[p] for p in first], zero))
    np.testing.assert_allclose(worth[0], top, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(worth[8], best, rtol=1e-4, atol=1e-5)
    assert np.mean(np.array(best) > np.array(top) + 1e-3) > 0.1  # top-K is not the best, as the paper says


@pytest.mark.parametrize("rounds", [0, 4])
def test_the_loss_one_request_after_the_other(circle, rounds):
    env = circle(16, length=3, sees=2, leaves=True)
    agent = make_agent("slateq", env, seed=2, rounds=rounds, width=8, hidden=(8, 4), warmup_steps=10_000)
    train(agent, env, 16 * 9)
    with torch.no_grad():  # so that the two networks disagree
        for parameter in agent.target.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    batch = agent.memory.sample(40, torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, q, none = agent.network(batch.observations)
        online, slow = agent.network(batch.next_observations), agent.target(batch.next_observations)
    expected = []
    for row in range(40):
        target = float(batch.rewards[row])
        if not batch.terminated[row]:
            can = batch.next_available[row : row + 1]
            picked = best_available(best_merits(*(part[row : row + 1] for part in online), can, 3, rounds), can, 3)[0]
            target += 0.9 * value(
                slow[0][row, picked].exp().tolist(), slow[1][row, picked].tolist(), float(slow[2][row])
            )
        weights = logits[row, batch.items[row]].exp().tolist()[:2]  # of the two slots that were seen
        clicked = [slot for slot in range(2) if batch.responses[row, slot] > 0]
        if not clicked:
            expected.append((float(none[row]) - target) ** 2 - np.log(1 / (1 + sum(weights))))
            continue
        terms = [
            (float(q[row, batch.items[row, slot]]) - target) ** 2 - np.log(weights[slot] / (1 + sum(weights)))
            for slot in clicked
        ]
        expected.append(sum(terms) / len(terms))
    loss, metrics = agent._loss(batch)
    assert batch.terminated.any() and not batch.terminated.all() and 0 < metrics["none"] < 1
    assert loss.item() == pytest.approx(np.mean(expected), rel=1e-4)


def test_learns_which_item_is_chosen(circle):
    # One request: of the best slate all three are clicked, of a slate without them none.
    env = circle(32, sees=1)
    agent = make_agent(
        "slateq", env, seed=0, width=16, hidden=(32, 16), warmup_steps=256, learning_rate=5e-3, epsilon=1.0
    )
    train(agent, env, 20_000)
    observations, _ = env.reset(seed=0)
    with torch.no_grad():
        chances = agent.network(observations)[0].sigmoid()  # (B, P) of a slate with one slot that is seen
    is_clicked = torch.from_numpy(env.responses[observations["browsed"][:, -1] - 1] > 0)
    assert chances[is_clicked].mean() > 0.8 and chances[~is_clicked].mean() < 0.1


def test_scores_are_merits_over_the_value_of_none(circle):
    env = circle(4)
    agent = make_agent("slateq", env, seed=0)
    observations, _ = env.reset(seed=0)
    items = np.tile([2, 5, 7], (4, 1))
    with torch.no_grad():
        logits, values, none = agent.network(observations)
    expected = merits(logits[:, [2, 5, 7]], values[:, [2, 5, 7]], none)
    np.testing.assert_allclose(agent.score(observations, items), expected, rtol=1e-4, atol=1e-6)


def test_bad_settings(circle):
    agent = make_agent("slateq", circle(2))
    with pytest.raises(ValueError, match="SlateQConfig rounds"):
        replace(agent.config, rounds=-1)
