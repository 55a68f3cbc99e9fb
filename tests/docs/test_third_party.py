"""Code of others runs in the environments as docs/third_party.md prints it, and does there what the page says."""

import numpy as np
import pytest
from stable_baselines3 import PPO, TD3

MOST = 50 * 5.0  # an order at every step of a session


@pytest.fixture
def names(ran):
    return ran("docs/third_party.md").names


def test_a_plain_loop_plays_whole_sessions(names):
    assert [session["length"] for session in names["sessions"]] == [50] * 20
    for session in names["sessions"]:
        assert session["total_reward"] == session["clicks"] + 5 * session["orders"]
    assert names["truncated"] and not names["terminated"]
    assert ((names["rewards_of_sessions"] >= 0) & (names["rewards_of_sessions"] <= MOST)).all()


def test_an_sb3_agent_learns_on_the_embedding_action(names):
    model, many = names["model"], names["many"]
    assert type(model) is PPO and type(many) is PPO
    assert (model.num_timesteps, many.num_timesteps) == (256, 256)
    assert [episode["l"] for episode in model.ep_info_buffer] == [50] * 5
    assert 0 <= names["mean_reward"] <= MOST
    action, _ = model.predict(names["judge"].reset(seed=1)[0])
    assert names["judge"].action_space.contains(action)


def test_an_sb3_agent_is_the_low_level_under_a_scripted_high_level(names):
    low_level, low_env = names["low_level"], names["low_env"]
    assert type(low_level) is TD3 and low_level.num_timesteps == 256
    assert set(low_level.observation_space.spaces) == {"browsed", "clicked", "goal"}
    assert (
        names["total"]
        == names["info"]["session"]["total_reward"]
        == pytest.approx(names["info"]["session"]["clicks"] + 5 * names["info"]["session"]["orders"])
    )
    observation, _ = low_env.reset(seed=3)
    action, _ = low_level.predict(observation, deterministic=True)
    _, reward, _, _, info = low_env.step(action)
    shown, goal = names["item_embeddings"][info["item"]], observation["goal"]
    cosine = shown @ goal / np.linalg.norm(shown) / np.linalg.norm(goal)
    assert reward == pytest.approx(info["external_reward"] + 0.5 * cosine, abs=1e-6)


def test_the_scripted_high_level_asks_for_the_last_click(names):
    script, width = names["more_of_the_last_click"], names["item_embeddings"].shape[1]
    clicked = np.zeros((10, width), np.float32)
    clicked[-1, 0] = 1.0
    assert script({"clicked": clicked}, np.random.default_rng(0)).tolist() == [clicked[-1].tolist()]
    drawn = script({"clicked": np.zeros((10, width), np.float32)}, np.random.default_rng(0))[0]
    assert (names["item_embeddings"] == drawn).all(1).any()
