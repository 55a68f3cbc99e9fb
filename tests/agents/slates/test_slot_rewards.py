import pytest
import torch
from recsim_hrl_agents.slates.slot_rewards import SlotRewards

from recsim_hrl.types import CLICK, ORDER, SKIP


def requests(size, slots, seed=0):
    draws = torch.Generator().manual_seed(seed)
    responses = torch.randint(0, 3, (size, slots), generator=draws)
    looks = torch.randint(1, slots + 1, (size, 1), generator=draws)
    is_seen = torch.arange(slots) < looks
    return responses.where(is_seen, torch.tensor(SKIP)), is_seen


def test_what_answers_pay_is_found():
    responses, is_seen = requests(50, 4)
    learned = SlotRewards()
    learned.add(responses, is_seen, (torch.tensor([0.0, 1.0, 5.0])[responses] * is_seen).sum(1))
    torch.testing.assert_close(learned.paid, torch.tensor([0.0, 1.0, 5.0, 0.0]), atol=1e-3, rtol=0)
    assert learned.gains(torch.tensor([[SKIP, CLICK, ORDER, SKIP]]), torch.tensor([[True, True, True, False]]))[
        0
    ].tolist() == pytest.approx([0.0, 1.0, 5.0, 0.0], abs=2e-3)


def test_the_published_mean_of_clicks_is_found_as_well():
    responses, is_seen = requests(60, 4)
    learned = SlotRewards()
    learned.add(responses, is_seen, torch.where(responses == SKIP, -0.1, 1.0).mean(1))
    torch.testing.assert_close(learned.paid, torch.tensor([-0.025, 0.25, 0.25, -0.025]), atol=1e-3, rtol=0)
    gains = learned.gains(torch.tensor([[SKIP, CLICK]]), torch.ones(1, 2, dtype=torch.bool))
    assert gains[0].tolist() == pytest.approx([0.0, 0.275], abs=1e-3)


def test_parts_sum_to_the_reward_whatever_was_learned():
    responses, is_seen = requests(20, 3)
    learned = SlotRewards()
    rewards = torch.linspace(-1, 3, 20)  # nothing to do with the answers
    torch.testing.assert_close(learned.share(responses, is_seen, rewards), (rewards / 3).unsqueeze(1).expand(20, 3))
    learned.add(responses, is_seen, rewards)
    torch.testing.assert_close(learned.share(responses, is_seen, rewards).sum(1), rewards)


def test_an_answer_that_pays_less_than_a_skip_gains_nothing():
    responses, is_seen = requests(50, 4)
    learned = SlotRewards()
    learned.add(responses, is_seen, (torch.tensor([0.5, 0.0, 2.0])[responses] * is_seen).sum(1))
    gains = learned.gains(torch.tensor([[SKIP, CLICK, ORDER]]), torch.ones(1, 3, dtype=torch.bool))
    assert gains[0].tolist() == pytest.approx([0.0, 0.0, 1.5], abs=2e-3)
