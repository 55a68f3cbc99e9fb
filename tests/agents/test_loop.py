import numpy as np
import pytest
from recsim_hrl_agents import Agent, Market, evaluate, make_agent, train


class Scripted(Agent):
    """Shows items 0, 1, 2, ... and writes down what it is told."""

    name = "scripted"
    config_class = dict
    learns_from = "environment"

    def __init__(self, market):
        super().__init__(market, {})
        self.transitions, self.begun, self.seeds = [], [], []

    def begin(self, starting, seeds=None):
        self.begun.append(starting.tolist())
        self.seeds.append(None if seeds is None else seeds.tolist())

    def act(self, observations, *, explore=False):
        size = len(observations["browsed"])
        return self.market.item_actions(np.full(size, len(self.transitions) % len(self.market.candidates)))

    def update(self, transitions):
        self.transitions.append(transitions)
        return {"steps_seen": float(len(self.transitions))}

    def tensors(self):
        return {}

    def load_tensors(self, tensors):
        pass


@pytest.mark.parametrize("leaves", [False, True])
def test_transitions_hold_the_final_observation_of_their_own_session(circle, leaves):
    env = circle(2, length=2, history=3, leaves=leaves)
    agent = Scripted(Market.of(env))
    train(agent, env, 8, seed=4)
    first, second, third, _ = agent.transitions
    np.testing.assert_array_equal(first.next_observations["browsed"], second.observations["browsed"])
    contexts = first.observations["browsed"][:, -1]
    # Items 0 and 1 were shown after the context; the next session's window is another one.
    np.testing.assert_array_equal(second.next_observations["browsed"], [[context, 1, 2] for context in contexts])
    assert (third.observations["browsed"][:, :2] == 0).all()
    assert second.terminated.tolist() == [leaves, leaves]
    assert second.truncated.tolist() == [not leaves, not leaves]
    assert first.items.tolist() == [0, 0] and second.items.tolist() == [1, 1]
    assert agent.begun == [[True, True]] * 3


def test_learning_curve_counts_sessions_and_steps(one_item):
    env = one_item(4, length=3)
    agent = Scripted(Market.of(env))
    seen = []
    records = train(agent, env, 22, progress=seen.append, record_every=8)
    assert seen == records
    assert [record["env_steps"] for record in records] == [8, 16, 24]
    assert "total_reward" not in records[0]  # no session has ended after two steps
    assert records[1] == {
        "env_steps": 16.0,
        "total_reward": 3.0,
        "click_reward": 3.0,
        "order_reward": 0.0,
        "length": 3.0,
        "steps_seen": 3.5,
    }


def test_evaluation_does_not_depend_on_the_number_of_sub_environments(session_env):
    results = []
    for size in (1, 3, 5):
        env = session_env(size)
        results.append(evaluate(make_agent("random", env, seed=2), env, 7, seed=11))
    for other in results[1:]:
        for name in ("total_reward", "click_reward", "order_reward", "length"):
            np.testing.assert_array_equal(getattr(results[0], name), getattr(other, name))
    assert results[0].length.tolist() == [7] * 7
    np.testing.assert_array_equal(results[0].total_reward, results[0].click_reward + results[0].order_reward)
    assert len(set(results[0].total_reward)) > 1


def test_evaluation_agrees_with_single_environments_played_by_hand(simulator, session_env):
    from recsim_hrl.envs.session import RecSessionEnv

    env = session_env(2)
    agent = make_agent("ddpg", env, seed=0, hidden=4, critic_width=4)
    found = evaluate(agent, env, 3, seed=20)
    for session in range(3):
        single = RecSessionEnv(simulator=simulator, session_length=7, history=4)
        observation, _ = single.reset(seed=20 + session)
        total, ended = 0.0, False
        while not ended:
            action = agent.act({key: value[None] for key, value in observation.items()})[0]
            observation, reward, _, ended, _ = single.step(action)
            total += reward
        assert found.total_reward[session] == total


def test_evaluation_passes_the_seeds_of_sessions(one_item):
    env = one_item(2)
    agent = Scripted(Market.of(env))
    evaluate(agent, env, 3, seed=7)
    assert [seeds for seeds in agent.seeds if seeds] == [[7, 8], [9, 10]]


def test_sessions_of_different_length_are_counted_once(circle):
    env = circle(2, length=3)
    original = env.reset

    def reset(**kwargs):
        result = original(**kwargs)
        env._steps[:] = [0, 2]  # the second user's session ends after one step
        return result

    env.reset = reset
    found = evaluate(Scripted(Market.of(env)), env, 2)
    assert found.length.tolist() == [3, 1]


def test_errors(one_item, session_env):
    env = one_item(2)
    with pytest.raises(ValueError, match="steps: got 0"):
        train(Scripted(Market.of(env)), env, 0)
    with pytest.raises(ValueError, match="sessions: got 0"):
        evaluate(Scripted(Market.of(env)), env, 0)
    with pytest.raises(ValueError, match="random, which learns from nothing"):
        train(make_agent("random", env), env, 10)
    with pytest.raises(ValueError, match="record_every: got 0"):
        train(Scripted(Market.of(env)), env, 10, record_every=0)
    env.metadata = {}
    with pytest.raises(ValueError, match="SAME_STEP"):
        evaluate(Scripted(Market.of(env)), env, 1)
