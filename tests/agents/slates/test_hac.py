import numpy as np
import pytest
import torch
from recsim_hrl_agents import make_agent, train
from recsim_hrl_agents.slates.replay import Requests

from recsim_hrl.types import CLICK, SKIP

SMALL = {"kernel": 2, "hidden": 64, "batch_size": 64, "warmup_steps": 500, "steps_per_update": 32}


def plain(env, **settings):
    """HAC whose features of items are their own directions."""
    agent = make_agent("hac", env, seed=1, **SMALL | settings)
    with torch.no_grad():
        agent.actor.kernel.weight.copy_(torch.eye(2))
        agent.actor.kernel.bias.zero_()
    return agent


def requests(items, responses, is_seen, terminated=False):
    items = torch.tensor(items)
    size, history = len(items), 6
    windows = {key: torch.zeros((size, history), dtype=torch.int64) for key in ("browsed", "clicked", "ordered")}
    observations = windows | {"request": torch.zeros(size, 1)}
    return Requests(
        observations,
        torch.zeros(size, 2),
        items,
        torch.tensor(responses),
        torch.tensor(is_seen),
        torch.ones(size),
        observations,
        torch.full((size,), terminated),
        None,
    )


def test_a_slate_is_pooled_to_the_mean_direction_of_its_items(circle):
    pooled = plain(circle(2)).pooled(torch.tensor([[0, 3], [3, 3], [1, 11]]))  # at 0, 90 and 90, 30 and -30 degrees
    expected = [[0.5**0.5, 0.5**0.5], [0.0, 1.0], [1.0, 0.0]]
    np.testing.assert_allclose(pooled.detach().numpy(), expected, atol=1e-6)


@pytest.mark.parametrize(("emitted", "expected"), [(0.0, [1, 1]), (0.5, [0, 1]), (1.0, [0, 0])])
def test_the_critic_learns_from_pooled_slates_and_from_emitted_hyper_actions(circle, emitted, expected):
    agent = plain(circle(2), emitted=emitted)
    batch = requests([[0, 0, 0]] * 2, [[CLICK] * 3] * 2, [[True] * 3] * 2)  # pooled (1, 0), emitted (0, 0)
    np.testing.assert_allclose(agent._valued(batch)[:, 0].numpy(), expected, atol=1e-6)


def test_the_slate_is_what_is_nearest_and_can_be_shown(circle):
    env = circle(2, never=(4,))
    agent = plain(env)
    agent.actor.forward = lambda observations: torch.tensor([[np.cos(2.0), np.sin(2.0)]] * 2).float()  # 114.6 degrees
    observations, _ = env.reset(seed=0)
    assert agent.act(observations).tolist() == [[3, 5, 2]] * 2  # 90, 150, 60; 120 cannot be shown
    # The score itself knows no availability: items 4 and 3 are 5.4 and 24.6 degrees away.
    scores = agent.score(observations, np.tile([4, 3], (2, 1)))
    np.testing.assert_allclose(scores, [np.cos(np.radians([5.408, 24.592]))] * 2, atol=1e-4)


def test_clicks_are_predicted_on_the_items_that_users_saw(circle):
    agent = plain(circle(2))
    with torch.no_grad():
        agent.actor.scale.fill_(2.0)
        agent.actor.constant.fill_(-1.0)
    batch = requests([[0, 3, 6]], [[CLICK, SKIP, CLICK]], [[True, True, False]])
    loss = agent._click_loss(batch, torch.tensor([[1.0, 0.0]]))
    # Cosines 1 and 0, logits 1 and -1, so that both log-losses are log(1 + exp(-1)).
    assert abs(loss.item() - np.log1p(np.exp(-1.0))) < 1e-6


def test_alignment_is_the_squared_distance_to_the_slate_that_is_selected(circle):
    agent = plain(circle(2), alignment=2.0, supervision=0.0)
    hyper = torch.tensor(
        [[np.cos(0.1), np.sin(0.1)]]
    ).float()  # its slate, 0 and 30 and -30 degrees, pools to 0 degrees
    batch = requests([[4, 5, 6]], [[SKIP] * 3], [[True] * 3])
    loss, metrics = agent._also_learned(batch, hyper)
    assert abs(metrics["alignment"].item() - (2 - 2 * np.cos(0.1))) < 1e-6
    assert abs(loss.item() - 2.0 * (2 - 2 * np.cos(0.1))) < 1e-6


@pytest.mark.parametrize(("inverted", "terminated", "follows"), [(False, False, 1), (False, True, 0), (True, True, 1)])
def test_target_takes_the_target_networks_hyper_action(circle, inverted, terminated, follows):
    agent = plain(circle(2), gamma=0.5, inverted_mask=inverted)
    batch = requests([[0, 1, 2]], [[CLICK] * 3], [[True] * 3], terminated)
    with torch.no_grad():
        value = agent.target_critic(batch.next_observations, agent.target_actor(batch.next_observations))
    np.testing.assert_allclose(agent._target(batch).numpy(), 1.0 + 0.5 * follows * value.numpy(), rtol=1e-6)


@pytest.mark.parametrize(("leaves", "expected"), [(False, [4.0, 4.0]), (True, [3.0, 2.0])])
def test_values_of_sessions_that_are_cut_and_that_users_leave(all_clicked, leaves, expected):
    # Two requests that pay 2 each, gamma 0.5. Users who leave: 2 + 0.5 * 2 and 2. Sessions that are cut go on for ever:
    # 2 / (1 - 0.5), as their states do not tell the end. Not to bootstrap there would give 3 and 2, too.
    env = all_clicked(32, length=2, leaves=leaves, alike=not leaves)
    agent = make_agent("hac", env, gamma=0.5, tau=0.1, critic_learning_rate=3e-3, **SMALL)
    train(agent, env, 12_000)
    observations, _ = env.reset(seed=0)
    for value in expected:
        slates = agent.act(observations)
        with torch.no_grad():
            q = agent.critic(observations, agent.pooled(torch.from_numpy(slates)))
        assert abs(float(q.mean()) - value) < 0.15
        observations = env.step(slates)[0]


def test_exploring_turns_the_hyper_action_by_noise_of_a_given_length(circle):
    agent = plain(circle(2), noise=0.3, warmup_steps=0)
    hyper = torch.tensor([[1.0, 0.0]]).expand(4000, 2)
    tried = agent._try_out(hyper)
    np.testing.assert_allclose(tried.norm(dim=-1).numpy(), 1.0, atol=1e-5)
    # Noise of length 0.3 over two entries has a deviation of 0.212 across: the tangent of the angle for most.
    assert abs(float((tried[:, 1] / tried[:, 0]).median())) < 0.02
    assert abs(float((tried[:, 1] / tried[:, 0]).abs().median()) - 0.6745 * 0.3 / 2**0.5) < 0.02
