import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from recsim_hrl.envs.session import RecSessionEnv
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.vector.session import RecSessionVectorEnv
from recsim_hrl.wrappers import HighLevel, HighLevelVector, follow_goal

GOALS = np.array([[1, 0], [0, 1]], np.float32)  # under follow_goal they show items 0 and 1


@pytest.fixture(scope="module")
def simulator():
    return random_simulator(items=60, embedding_dim=4, users=8, seed=1)


def test_a_period_by_hand(shelf):
    env = HighLevel(shelf((9,)), follow_goal, c=5, M=2, beta=0.5)
    observation, _ = env.reset(seed=0)
    assert set(observation) == {"clicked", "ordered"} and env.action_space.shape == (2, 2)
    observation, reward, terminated, truncated, info = env.step(GOALS)
    # items 0, 0, 1, 1, 1 (the remainder stays under the last goal) pay 10 * place + item
    assert info["external_rewards"].tolist() == [10, 20, 31, 41, 51]
    np.testing.assert_allclose(info["internal_rewards"], np.ones(5))
    assert reward == 153 and info["steps"] == 5 and not terminated and not truncated
    assert info["goal_rewards"].tolist() == [30, 123 + 15]
    assert info["goal_started"].tolist() == [True, True]
    np.testing.assert_array_equal(observation["clicked"], [[0, 1]] * 3)


@pytest.mark.parametrize("leaves", [False, True])
def test_a_session_that_ends_inside_a_period(shelf, leaves):
    env = HighLevel(shelf((6,), leaves=leaves), follow_goal, c=4, M=2, beta=1.0)
    env.reset(seed=0)
    env.step(GOALS)
    observation, reward, terminated, truncated, info = env.step(GOALS[::-1])  # items 1, 1, then the session is over
    assert (terminated, truncated) == (leaves, not leaves)
    assert reward == 51 + 61 and info["steps"] == 2
    assert info["external_rewards"].tolist() == [51, 61, 0, 0]
    assert info["goal_rewards"].tolist() == [112, 0] and info["goal_started"].tolist() == [True, False]
    assert info["session"] == {"length": 6}
    np.testing.assert_array_equal(env.reset()[0]["clicked"], np.zeros((3, 2)))
    assert env.step(GOALS)[4]["external_rewards"].tolist() == [10, 20, 31, 41]


def test_sessions_of_one_length_stop_the_period_together(shelves):
    env = HighLevelVector(shelves((6,), (6,)), follow_goal, c=4, M=2, beta=1.0)
    env.reset(seed=0)
    env.step(np.stack([GOALS, GOALS[::-1]]))
    observation, rewards, _, truncated, infos = env.step(np.stack([GOALS, GOALS[::-1]]))
    assert rewards.tolist() == [50 + 60, 51 + 61] and truncated.all()
    assert infos["steps"].tolist() == [2, 2]
    assert infos["user"].tolist() == [1, 1]  # the session after the first: none was skipped
    np.testing.assert_array_equal(observation["clicked"], np.zeros((2, 3, 2)))
    np.testing.assert_array_equal(infos["final_obs"][1]["clicked"], [[0, 1]] * 3)
    assert infos["final_info"]["goal_rewards"].tolist() == [[110, 0], [112, 0]]
    assert infos["final_info"]["session"]["length"].tolist() == [6, 6]


@pytest.mark.parametrize("leaves", [False, True])
def test_a_session_that_ends_before_the_others_leaks_nothing(shelves, leaves):
    env = HighLevelVector(shelves((6,), (2, 6), leaves=leaves), follow_goal, c=4, M=2, beta=1.0)
    env.reset(seed=0)
    observation, rewards, terminated, truncated, infos = env.step(np.stack([GOALS, GOALS]))
    assert rewards.tolist() == [10 + 20 + 31 + 41, 10 + 20]
    assert (terminated if leaves else truncated).tolist() == [False, True]
    assert not (truncated if leaves else terminated).any()
    assert infos["goal_rewards"].tolist() == [[30, 102], [30, 0]]
    assert infos["goal_started"].tolist() == [[True, True], [True, False]]
    assert infos["external_rewards"].tolist() == [[10, 20, 31, 41], [10, 20, 0, 0]]
    assert infos["steps"].tolist() == [4, 2]
    assert infos["_final_info"].tolist() == [False, True]
    assert infos["final_info"]["user"][1] == 0 and infos["final_info"]["session"]["length"][1] == 2
    assert infos["final_obs"][0] is None
    np.testing.assert_array_equal(infos["final_obs"][1]["clicked"], np.zeros((3, 2)))
    # Parked in its session 1, then restarted: the period begins with the first impression of session 2.
    assert infos["user"][1] == 2 and infos["_user"][1]
    assert infos["_item"].tolist() == infos["_external_reward"].tolist() == [True, False]
    np.testing.assert_array_equal(observation["clicked"][1], np.zeros((3, 2)))

    _, rewards, terminated, truncated, infos = env.step(np.stack([GOALS, GOALS]))
    assert rewards.tolist() == [50 + 60, 10 + 20]  # both end at the second step, so nobody is parked
    assert (terminated | truncated).all()
    assert infos["user"].tolist() == [1, 3]


def test_a_parked_session_that_ends_again_is_still_ignored(shelves):
    env = HighLevelVector(shelves((8,), (2, 1, 5)), follow_goal, c=6, M=2, beta=0.0)
    env.reset(seed=0)
    _, rewards, _, truncated, infos = env.step(np.stack([GOALS, GOALS]))
    assert rewards.tolist() == [10 + 20 + 30 + 41 + 51 + 61, 30] and truncated.tolist() == [False, True]
    assert infos["final_info"]["user"][1] == 0 and infos["final_info"]["steps"][1] == 2
    assert infos["user"][1] == 3  # sessions 1 and 2 went by while it was parked
    _, rewards, *_ = env.step(np.stack([GOALS, GOALS]))
    assert rewards.tolist() == [70 + 80, 30]


def low_level(observation):
    """Shows what lies between the goal and the last clicked item, so that it uses both keys."""
    return 0.5 * observation["goal"] + 0.5 * observation["clicked"][..., -1, :]


@pytest.mark.parametrize("c", [2, 3, 7, 10])
def test_vector_form_equals_the_single_one_on_the_real_environment(simulator, c):
    settings = {"simulator": simulator, "session_length": 7, "candidates": 40}
    vector = HighLevelVector(RecSessionVectorEnv(num_envs=3, **settings), low_level, c=c, M=2, beta=0.5)
    singles = [HighLevel(RecSessionEnv(**settings), low_level, c=c, M=2, beta=0.5) for _ in range(3)]
    vector.action_space.seed(4)
    seen, _ = vector.reset(seed=20)
    for i, env in enumerate(singles):
        np.testing.assert_array_equal(seen["clicked"][i], env.reset(seed=20 + i)[0]["clicked"])
    ends = 0
    for _ in range(9):
        goals = vector.action_space.sample()
        seen, rewards, _, truncated, infos = vector.step(goals)
        for i, env in enumerate(singles):
            observation, reward, _, over, info = env.step(goals[i])
            assert (rewards[i], truncated[i]) == (reward, over)
            for key in ("goal_rewards", "goal_started", "external_rewards", "internal_rewards"):
                np.testing.assert_array_equal(infos[key][i], info[key])
            if over:
                ends += 1
                total = {key: value[i] for key, value in infos["final_info"]["session"].items() if key[0] != "_"}
                assert total == info["session"]
                np.testing.assert_array_equal(infos["final_obs"][i]["ordered"], observation["ordered"])
                observation, _ = env.reset()
            for key in ("clicked", "ordered"):
                np.testing.assert_array_equal(seen[key][i], observation[key])
    assert ends >= 3


def test_rewards_of_the_periods_add_up_to_the_session(simulator):
    env = HighLevel(RecSessionEnv(simulator=simulator, session_length=23), low_level, c=5, M=2)
    env.action_space.seed(0)
    check_env(env, skip_render_check=True)
    env.reset(seed=1)
    total, truncated = 0.0, False
    while not truncated:
        _, reward, _, truncated, info = env.step(env.action_space.sample())
        total += reward
    assert total == info["session"]["total_reward"] and info["steps"] == 3


def test_item_actions_are_led_by_embeddings(shelf):
    def nearest(observation):
        return int(np.argmax(shelf().item_embeddings @ observation["goal"]))

    env = HighLevel(shelf((4,), action="item"), nearest, c=4, M=2)
    env.reset(seed=0)
    assert env.action_space.shape == (2, 2)
    assert env.step(GOALS)[4]["external_rewards"].tolist() == [10, 20, 31, 41]


def test_low_level_sees_the_keys_it_was_trained_with(shelf):
    seen = []

    def note(observation):
        seen.append(set(observation))
        return follow_goal(observation)

    for kwargs in ({}, {"observe": "all"}, {"hindsight": True}):
        env = HighLevel(shelf(), note, c=1, M=1, **kwargs)
        env.reset(seed=0)
        env.step(GOALS[:1])
    assert seen == [
        {"browsed", "clicked", "goal"},
        {"browsed", "clicked", "ordered", "goal"},
        {"browsed", "clicked", "achieved_goal", "desired_goal"},
    ]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [({"beta": 2.0}, "beta: got 2.0"), ({"c": 1}, "got M=2 with period c=1"), ({"low_level": None}, "got NoneType")],
)
def test_bad_settings_are_refused(shelf, kwargs, message):
    with pytest.raises(ValueError, match=message):
        HighLevel(shelf(), **({"low_level": follow_goal} | kwargs))


def test_goals_outside_the_action_space_are_refused(shelf):
    env = HighLevel(shelf(), follow_goal)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="got an entry of size 2, allowed up to 1; use np.clip"):
        env.step(2 * GOALS)
