import copy
import pickle

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from recsim_hrl.envs.session import RecSessionEnv
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.vector.session import RecSessionVectorEnv
from recsim_hrl.wrappers import GoalConditioned, GoalConditionedVector

EAST, NORTH, BETWEEN = [1.0, 0.0], [0.0, 1.0], np.array([0.6, 0.8], np.float32)


class Scripted:
    """A goal source that gives EAST and NORTH, longer by a tenth at every call, and notes what it saw."""

    def __init__(self):
        self.seen = []

    def __call__(self, observation, rng):
        self.seen.append({key: value.copy() for key, value in observation.items()})
        return 0.1 * len(self.seen) * np.array([EAST, NORTH])


@pytest.fixture(scope="module")
def simulator():
    return random_simulator(items=60, embedding_dim=4, users=8, seed=1)


def settings_of(simulator, **kwargs):
    return {"simulator": simulator, "session_length": 7, "candidates": 40, "history": 4} | kwargs


def test_goals_and_rewards_of_a_session_by_hand(shelf):
    source = Scripted()
    env = GoalConditioned(shelf((5,)), source, alpha=0.5, c=3, M=2)
    observation, _ = env.reset(seed=0)
    goals, rewards, parts = [observation["goal"]], [], []
    for _ in range(5):
        observation, reward, terminated, truncated, info = env.step(BETWEEN)  # shows item 4, which is (0.6, 0.8)
        goals.append(observation["goal"])
        rewards.append(reward)
        parts.append((info["external_reward"], info["internal_reward"]))
    # c = 3 with M = 2: one step for the first goal, one and the remainder for the second
    expected = [[0.1, 0], [0, 0.1], [0, 0.1], [0.2, 0], [0, 0.2], [0, 0.2]]
    np.testing.assert_allclose(goals, expected, atol=1e-7)
    np.testing.assert_allclose(parts, [(14, 0.6), (24, 0.8), (34, 0.8), (44, 0.6), (54, 0.8)], atol=1e-6)
    np.testing.assert_allclose(rewards, [14.3, 24.4, 34.4, 44.3, 54.4], atol=1e-6)
    assert truncated and not terminated
    np.testing.assert_allclose(env.reset()[0]["goal"], [0.3, 0])  # a new session, new goals, the first one active
    assert len(source.seen) == 3
    assert all(set(seen) == {"clicked", "ordered"} for seen in source.seen)


def test_goal_source_sees_the_high_level_observation_of_its_period(shelf):
    source = Scripted()
    env = GoalConditioned(shelf((4,)), source, c=2, M=1 + 1)
    env.reset(seed=0)
    env.step(np.array(NORTH, np.float32))  # item 1 is odd, so it counts as clicked
    env.step(BETWEEN)
    np.testing.assert_array_equal(source.seen[0]["clicked"], np.zeros((3, 2)))
    np.testing.assert_array_equal(source.seen[1]["clicked"], [[0, 0], [0, 0], NORTH])


def test_internal_reward_can_compare_the_virtual_action(shelf):
    virtual = np.array([0.5, 0.5], np.float32)  # shows item 4
    env = GoalConditioned(shelf(), Scripted(), compare="action")
    env.reset(seed=0)
    assert env.step(virtual)[4]["internal_reward"] == pytest.approx(np.sqrt(0.5))


def test_goals_from_outside_hold_for_whole_periods(shelf):
    env = GoalConditioned(shelf((9,)), "hold", c=2, M=2)
    observation, _ = env.reset(seed=0)
    np.testing.assert_array_equal(observation["goal"], [0, 0])
    env.step(BETWEEN)
    np.testing.assert_array_equal(env.set_goals([EAST, NORTH])["goal"], EAST)  # a new period from here on
    goals = [env.step(BETWEEN)[0]["goal"] for _ in range(4)]
    np.testing.assert_array_equal(goals, [NORTH, EAST, NORTH, EAST])
    np.testing.assert_array_equal(env.reset()[0]["goal"], [0, 0])


def test_random_goals_are_items_and_depend_on_seed_session_and_period_only(shelf):
    def goals(seed, length, sessions):
        env = GoalConditioned(shelf((length,)), c=2, M=2)
        met = []
        for session in range(sessions):
            observation, _ = env.reset(seed=seed if session == 0 else None)
            for _ in range(length):
                met.append((session, observation["goal"]))
                observation = env.step(BETWEEN)[0]
        return met

    long, short = goals(3, 6, 3), goals(3, 2, 3)
    table = shelf().item_embeddings
    assert all((goal == table).all(1).any() for _, goal in long)
    for session in range(3):
        first = [goal for owner, goal in long if owner == session][:2]
        np.testing.assert_array_equal(first, [goal for owner, goal in short if owner == session])
    assert not np.array_equal([g for _, g in long], [g for _, g in goals(4, 6, 3)])
    np.testing.assert_array_equal([g for _, g in long], [g for _, g in goals(3, 6, 3)])


@pytest.mark.parametrize("observe", ["low", "all"])
@pytest.mark.parametrize("hindsight", [False, True])
def test_observation_space(shelf, observe, hindsight):
    env = GoalConditioned(shelf(), observe=observe, hindsight=hindsight)
    keys = {"browsed", "clicked"} | ({"ordered"} if observe == "all" else set())
    assert set(env.observation_space) == keys | ({"achieved_goal", "desired_goal"} if hindsight else {"goal"})
    check_env(env, skip_render_check=True)


def test_hindsight_rewards_are_those_of_the_step_under_another_goal(shelf):
    env = GoalConditioned(shelf(), Scripted(), alpha=2.0, hindsight=True)
    before, _ = env.reset(seed=0)
    np.testing.assert_array_equal(before["achieved_goal"], [0, 0])
    after, reward, _, _, info = env.step(BETWEEN)
    np.testing.assert_array_equal(after["achieved_goal"], BETWEEN)
    assert env.compute_reward(after["achieved_goal"], before["desired_goal"], info) == reward
    others = np.array([NORTH, [-0.6, -0.8], [0, 0]])
    got = env.compute_reward(np.stack([BETWEEN] * 3), others, [info] * 3)
    np.testing.assert_allclose(got, [14 + 1.6, 14 - 2, 14], atol=1e-6)
    with pytest.raises(ValueError, match="copy_info_dict"):
        env.compute_reward(BETWEEN, BETWEEN, {})


def test_vector_form_equals_the_single_one_across_sessions_of_any_length(shelf, shelves):
    lengths = [(4, 2), (3,), (5, 1)]
    vector = GoalConditionedVector(shelves(*lengths), c=3, M=2, hindsight=True)
    singles = [GoalConditioned(shelf(one), c=3, M=2, hindsight=True) for one in lengths]
    seen, _ = vector.reset(seed=5)
    for i, env in enumerate(singles):
        assert_same(seen, i, env.reset(seed=5 + i)[0])
    rng = np.random.default_rng(0)
    for _ in range(14):
        actions = rng.uniform(-1, 1, (3, 2)).astype(np.float32)
        seen, rewards, terminated, truncated, infos = vector.step(actions)
        assert vector.observation_space.contains(seen)
        for i, env in enumerate(singles):
            observation, reward, _, over, info = env.step(actions[i])
            assert (rewards[i], truncated[i]) == (reward, over)
            for key in ("external_reward", "internal_reward"):
                assert infos[key][i] == info[key] and infos[f"_{key}"][i]
                assert not over or infos["final_info"][key][i] == info[key]
            if over:
                assert_same_one(infos["final_obs"][i], observation)
                observation, _ = env.reset()
            assert_same(seen, i, observation)
        assert not truncated.any() or infos["_final_obs"].tolist() == truncated.tolist()


def assert_same(batch, row, one):
    assert_same_one({key: value[row] for key, value in batch.items()}, one)


def assert_same_one(one, other):
    assert set(one) == set(other)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key])


def test_wrapping_before_and_after_vectorising_is_the_same(shelves, shelf):
    outside = GoalConditionedVector(shelves((4,), (3,)), c=2)
    makers = [lambda one=one: GoalConditioned(shelf(one), c=2) for one in [(4,), (3,)]]
    inside = SyncVectorEnv(makers, autoreset_mode=AutoresetMode.SAME_STEP)
    assert outside.single_observation_space == inside.single_observation_space
    for got, expected in zip(outside.reset(seed=1)[0].items(), inside.reset(seed=1)[0].items(), strict=True):
        np.testing.assert_array_equal(got[1], expected[1])
    for _ in range(7):
        actions = np.stack([BETWEEN, EAST]).astype(np.float32)
        one, other = outside.step(actions), inside.step(actions)
        np.testing.assert_array_equal(one[1], other[1])
        np.testing.assert_array_equal(one[0]["goal"], other[0]["goal"])


def test_reset_mask_restarts_only_its_sub_environments(shelves):
    env = GoalConditionedVector(shelves((9,), (9,)), c=2, M=2)
    env.reset(seed=0)
    running = env.step(np.stack([BETWEEN] * 2))[0]
    seen, _ = env.reset(options={"reset_mask": np.array([True, False])})
    np.testing.assert_array_equal(seen["goal"][1], running["goal"][1])
    np.testing.assert_array_equal(seen["browsed"][0], np.zeros((3, 2)))
    alone = GoalConditioned(shelves((9,)).envs[0], c=2, M=2)
    alone.reset(seed=0)
    np.testing.assert_array_equal(seen["goal"][0], alone.reset()[0]["goal"])  # session 1 of seed 0


def test_vector_goal_source_is_asked_for_the_rows_that_need_goals(shelves):
    asked = []

    def source(observation, rngs):
        asked.append((len(rngs), observation["clicked"].shape))
        return np.tile(np.array([EAST, NORTH]), (len(rngs), 1, 1))

    env = GoalConditionedVector(shelves((2,), (9,), (9,)), source, c=3, M=2)
    env.reset(seed=0)
    env.step(np.stack([BETWEEN] * 3))
    env.step(np.stack([BETWEEN] * 3))  # the first session ends
    env.step(np.stack([BETWEEN] * 3))  # the others reach the end of their period
    assert asked == [(3, (3, 3, 2)), (1, (1, 3, 2)), (2, (2, 3, 2))]


def test_goal_after_the_end_comes_from_the_session_that_ended(shelf, shelves):
    def last_click(observation, rng):
        return np.repeat(observation["clicked"][..., -1:, :], 2, -2)

    north = np.array(NORTH, np.float32)  # shows item 1, which is clicked
    single = GoalConditioned(shelf((2,)), last_click, c=2)
    vector = GoalConditionedVector(shelves((2,), (3,)), last_click, c=2)
    single.reset(seed=0), vector.reset(seed=0)
    for _ in range(2):
        last = single.step(north)[0]
        seen, *_, infos = vector.step(np.stack([north, north]))
    np.testing.assert_array_equal(last["goal"], NORTH)
    np.testing.assert_array_equal(infos["final_obs"][0]["goal"], NORTH)
    np.testing.assert_array_equal(seen["goal"], [[0, 0], NORTH])  # the new session has seen no click yet


@pytest.mark.parametrize("action", ["embedding", "item"])
@pytest.mark.parametrize("observation", ["embeddings", "item_ids"])
def test_real_environment_single_and_vector(simulator, action, observation):
    settings = settings_of(simulator, action=action, observation=observation)
    single = GoalConditioned(RecSessionEnv(**settings), c=3, M=2)
    check_env(single, skip_render_check=True)
    vector = GoalConditionedVector(RecSessionVectorEnv(num_envs=3, **settings), c=3, M=2)
    vector.action_space.seed(0)
    for row in range(3):
        seen, _ = vector.reset(seed=11)
        assert_same(seen, row, single.reset(seed=11 + row)[0])
        for _ in range(7):
            actions = vector.action_space.sample()
            seen, rewards, _, _, infos = vector.step(actions)
            last, reward, _, over, info = single.step(actions[row])
            table = single.unwrapped.item_embeddings
            assert info["internal_reward"] == infos["internal_reward"][row]
            assert rewards[row] == reward == info["external_reward"] + 0.5 * info["internal_reward"]
        assert over
        assert_same_one(infos["final_obs"][row], last)
        np.testing.assert_array_equal(table[info["item"]], table[infos["final_info"]["item"][row]])


def test_copies_and_pickles_go_on_alike(simulator):
    env = GoalConditioned(RecSessionEnv(**settings_of(simulator)), c=3, M=2)
    env.reset(seed=2)
    env.action_space.seed(0)
    env.step(env.action_space.sample())
    twins = [copy.deepcopy(env), pickle.loads(pickle.dumps(env))]
    for _ in range(6):
        action = env.action_space.sample()
        observation, reward, *_ = env.step(action)
        for twin in twins:
            other, other_reward, *_ = twin.step(action)
            assert_same_one(observation, other)
            assert reward == other_reward


def test_flattening_goes_around_the_wrapper(simulator):
    env = gym.wrappers.FlattenObservation(GoalConditioned(RecSessionEnv(**settings_of(simulator))))
    assert env.observation_space.shape == (2 * 4 * 4 + 4,)
    assert env.reset(seed=0)[0].shape == (36,)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"alpha": -1.0}, "alpha: got -1.0, allowed 0 or more"),
        ({"c": 2, "M": 3}, "got M=3 with period c=2"),
        ({"compare": "embedding"}, "compare: got 'embedding', allowed"),
        ({"observe": "high"}, "observe: got 'high', allowed"),
        ({"goal_source": 3}, "policy: got int"),
    ],
)
def test_bad_settings_are_refused(shelf, kwargs, message):
    with pytest.raises(ValueError, match=message):
        GoalConditioned(shelf(), **kwargs)


def test_bad_goals_and_environments_are_refused(shelf, simulator):
    env = GoalConditioned(shelf(), "hold")
    with pytest.raises(gym.error.ResetNeeded):
        env.set_goals([EAST, NORTH])
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"got shape \(1, 1, 2\), expected \(1, 2, 2\)"):
        env.set_goals([EAST])
    with pytest.raises(ValueError, match="FlattenObservation around"):
        GoalConditioned(RecSessionEnv(**settings_of(simulator, flat=True)))
    with pytest.raises(ValueError, match="compare='action': .* allowed with embeddings only"):
        GoalConditioned(shelf(action="item"), compare="action")
    del (bare := shelf()).item_embeddings
    with pytest.raises(ValueError, match="has no `item_embeddings`"):
        GoalConditioned(bare)


def test_other_autoreset_modes_are_refused(shelf):
    with pytest.raises(ValueError, match="allowed AutoresetMode.SAME_STEP"):
        GoalConditionedVector(SyncVectorEnv([shelf]))
