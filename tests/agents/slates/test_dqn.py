"""The targets of the Q-network over slots, against values worked out by hand."""

from dataclasses import replace

import pytest
import torch
from recsim_hrl_agents import make_agent, train
from recsim_hrl_agents.slates.dqn import slot_rewards
from recsim_hrl_agents.slates.replay import Requests


def requests(responses, is_seen, rewards):
    nothing = torch.zeros(0)
    return Requests(
        {},
        nothing,
        nothing,
        torch.tensor(responses),
        torch.tensor(is_seen),
        torch.tensor(rewards),
        {},
        nothing,
        None,
    )


def test_slots_are_paid_for_their_own_answers():
    found = slot_rewards(requests([[0, 1, 2], [1, 0, 0]], [[True] * 3, [True, False, False]], [6.0, 1.0]), (0, 1, 5))
    assert found.tolist() == [[0.0, 1.0, 5.0], [1.0, 0.0, 0.0]]


def test_slots_that_were_seen_share_what_their_answers_do_not_explain():
    # The request paid 4 in place of 6: each of the three slots takes two thirds less; with two seen, each one less.
    found = slot_rewards(requests([[0, 1, 2], [1, 2, 0]], [[True] * 3, [True, True, False]], [4.0, 4.0]), (0, 1, 5))
    torch.testing.assert_close(found, torch.tensor([[-2 / 3, 1 / 3, 13 / 3], [0.0, 4.0, 0.0]]))


def test_the_loss_is_that_of_the_slots_that_were_seen_one_by_one(circle):
    env = circle(16, length=3, sees=2, leaves=True)
    agent = make_agent("slate-dqn", env, seed=2, width=8, hidden=(8, 4), warmup_steps=10_000)
    train(agent, env, 16 * 9)
    with torch.no_grad():  # so that the two networks disagree
        for parameter in agent.target.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    batch = agent.memory.sample(40, torch.Generator().manual_seed(0))
    with torch.no_grad():
        q = agent.network(batch.observations)
        online, slow = agent.network(batch.next_observations), agent.target(batch.next_observations)
    errors = []
    for row in range(40):
        can = [place for place in range(12) if batch.next_available[row, place]]
        best = sorted(can, key=lambda place: -online[row, place])[:3] if len(can) >= 3 else []
        following = sum(float(slow[row, place]) for place in best) / 3
        for slot in range(2):
            target = (0.0, 1.0, 5.0)[batch.responses[row, slot]]
            target += 0.0 if batch.terminated[row] else 0.9 * following
            errors.append(float(q[row, batch.items[row, slot]] - target) ** 2)
    loss, _ = agent._loss(batch)
    assert batch.terminated.any() and not batch.terminated.all()
    assert loss.item() == pytest.approx(sum(errors) / len(errors), rel=1e-4)


def test_bad_settings(circle):
    agent = make_agent("slate-dqn", circle(2))
    with pytest.raises(ValueError, match="SlateDQNConfig slot_rewards"):
        replace(agent.config, slot_rewards=(0.0, 1.0))
