import torch
from recsim_hrl_agents.slates.targets import td_target

REWARDS, VALUES = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 20.0, 30.0])
TERMINATED = torch.tensor([False, True, False])


def test_what_follows_counts_unless_the_user_left():
    torch.testing.assert_close(td_target(REWARDS, VALUES, TERMINATED, 0.9), torch.tensor([10.0, 2.0, 30.0]))


def test_the_published_mistake_counts_it_only_where_the_user_left():
    found = td_target(REWARDS, VALUES, TERMINATED, 0.9, inverted_mask=True)
    torch.testing.assert_close(found, torch.tensor([1.0, 20.0, 3.0]))


def test_values_of_many_slots_are_taken_as_they_are():
    found = td_target(REWARDS[:, None], VALUES[:, None].expand(3, 2), TERMINATED[:, None], 0.5)
    torch.testing.assert_close(found, torch.tensor([[6.0, 6.0], [2.0, 2.0], [18.0, 18.0]]))
