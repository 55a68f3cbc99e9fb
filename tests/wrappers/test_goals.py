import numpy as np
import pytest

from recsim_hrl.wrappers import active_goal, assign_rewards, internal_reward
from recsim_hrl.wrappers.goals import check_goals


@pytest.mark.parametrize(
    ("c", "M", "expected"),
    [
        (10, 3, [0, 0, 0, 1, 1, 1, 2, 2, 2, 2]),  # one step is left over and stays under the last goal
        (11, 3, [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2]),
        (10, 2, [0, 0, 0, 0, 0, 1, 1, 1, 1, 1]),
        (3, 3, [0, 1, 2]),
        (4, 1, [0, 0, 0, 0]),
        (5, 3, [0, 1, 2, 2, 2]),
    ],
)
def test_active_goal_of_every_step(c, M, expected):
    assert active_goal(np.arange(2 * c), c, M).tolist() == expected * 2
    assert active_goal(0, c, M) == 0 and active_goal(c, c, M) == 0 and active_goal(c - 1, c, M) == M - 1


def test_active_goal_is_equation_11_counted_from_one():
    for c, M in [(10, 2), (10, 3), (7, 4), (12, 5)]:
        for t in range(1, c // M * M + 1):
            goals = [i for i in range(1, M + 1) if c // M * (i - 1) < t <= c // M * i]
            assert [active_goal(t - 1, c, M) + 1] == goals


@pytest.mark.parametrize(("c", "M"), [(2, 3), (5, 0), (0, 1)])
def test_a_period_too_short_for_its_goals_is_refused(c, M):
    with pytest.raises(ValueError, match=f"got M={M} with period c={c}, allowed 1 <= M <= c"):
        active_goal(0, c, M)


def test_internal_reward_is_the_cosine():
    assert internal_reward([3.0, 4.0], [8.0, 6.0]) == pytest.approx(48 / 50)
    assert internal_reward([2.0, 0.0], [-5.0, 0.0]) == -1.0
    assert internal_reward([1.0, 1.0], [1.0, -1.0]) == 0.0


def test_internal_reward_of_a_zero_vector_is_zero():
    assert internal_reward([0.0, 0.0], [1.0, 2.0]) == 0.0
    assert internal_reward([1.0, 2.0], [0.0, 0.0]) == 0.0


def test_internal_reward_broadcasts_and_never_leaves_its_range():
    goals = np.array([[[1.0, 0.0]], [[0.0, 2.0]]])  # (2, 1, D)
    actions = np.array([[3.0, 4.0], [0.0, -1.0], [0.0, 0.0]])  # (3, D)
    np.testing.assert_allclose(internal_reward(goals, actions), [[0.6, 0.0, 0.0], [0.8, -1.0, 0.0]])
    same = np.random.default_rng(0).normal(size=(1000, 7)).astype(np.float32)
    assert internal_reward(same, same).max() <= 1.0


@pytest.mark.parametrize(
    ("beta", "expected"),
    [(0.0, [3.0, 12.0, 30.0]), (0.5, [3.0, 13.5, 36.75]), (1.0, [3.0, 15.0, 45.0])],
)
def test_rewards_of_a_whole_period_with_a_remainder(beta, expected):
    rewards, started = assign_rewards(np.arange(10.0), 3, beta)  # sub-periods 0+1+2, 3+4+5, 6+7+8+9
    np.testing.assert_allclose(rewards, expected)
    assert started.tolist() == [True, True, True]


@pytest.mark.parametrize(
    ("steps", "beta", "expected", "expected_started"),
    [
        (0, 1.0, [0, 0, 0], [False, False, False]),
        (1, 1.0, [1, 0, 0], [True, False, False]),
        (3, 1.0, [1 + 2 + 4, 0, 0], [True, False, False]),  # ends at the border: the second goal never began
        (4, 0.0, [7, 8, 0], [True, True, False]),
        (4, 0.5, [7, 8 + 3.5, 0], [True, True, False]),
        (4, 1.0, [7, 15, 0], [True, True, False]),
        (7, 0.5, [7, 56 + 3.5, 64 + 28 + 1.75], [True, True, True]),
    ],
)
def test_rewards_of_a_period_that_the_session_cut_short(steps, beta, expected, expected_started):
    rewards = np.where(np.arange(10) < steps, 2.0 ** np.arange(10), np.nan)
    got, started = assign_rewards(rewards, 3, beta, steps)
    np.testing.assert_allclose(got, expected)
    assert started.tolist() == expected_started


def test_rewards_of_many_periods_equal_the_sums_of_equations_12_and_13():
    rng = np.random.default_rng(3)
    for c, M, beta in [(10, 3, 0.7), (8, 4, 0.0), (7, 7, 1.0), (9, 2, 0.25)]:
        rewards, width = rng.normal(size=(5, c)), c // M
        expected = np.zeros((5, M))
        for row in range(5):
            phi = [rewards[row, width * i : width * (i + 1)].sum() for i in range(M)]
            phi[-1] += rewards[row, width * M :].sum()
            for i in range(M):
                expected[row, i] = sum(beta ** (i - k) * phi[k] for k in range(i + 1))
        np.testing.assert_allclose(assign_rewards(rewards, M, beta)[0], expected, atol=1e-12)


@pytest.mark.parametrize("beta", [-0.1, 1.1, float("nan")])
def test_beta_outside_its_range_is_refused(beta):
    with pytest.raises(ValueError, match="beta: got .* allowed 0 to 1"):
        assign_rewards(np.zeros(4), 2, beta)


def test_more_steps_than_the_period_has_are_refused():
    with pytest.raises(ValueError, match="got 5, allowed 0 to 4"):
        assign_rewards(np.zeros(4), 2, 1.0, steps=5)


@pytest.mark.parametrize(
    ("goals", "message"),
    [
        (np.zeros((2, 3)), r"got shape \(2, 3\), expected \(2, 2\)"),
        ([[0, np.nan], [0, 0]], "got NaN or infinity"),
        ([[0, 1.5], [0, 0]], "got an entry of size 1.5, allowed up to 1"),
    ],
)
def test_bad_goals_are_refused(goals, message):
    with pytest.raises(ValueError, match=message):
        check_goals(goals, (2, 2), 1.0)
