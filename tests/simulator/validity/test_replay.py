"""Sessions played again: the predictions are those of whole sessions, and free runs follow the simulator."""

import numpy as np

from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.simulator.validity.measures import predict_log
from recsim_hrl.simulator.validity.replay import Player, free_run, still_on
from tests.simulator.validity.test_validity import in_log_order, sequences_of


def test_the_player_predicts_what_whole_sessions_do():
    simulator, sequences = random_simulator(items=40), sequences_of(40)
    expected = predict_log(simulator, sequences)
    probs = in_log_order(expected, expected.probs)
    player, sessions = Player(simulator, sequences), np.arange(3)
    (group,) = player.groups(sessions)
    assert group.tolist() == [1, 2, 0]  # the longest first
    memory = player.memory(sessions[group])
    seen = []
    for step, rows in player.steps(sessions[group]):
        memory, items = still_on(memory, len(rows)), sequences.items[rows].astype(np.int64)
        np.testing.assert_allclose(player.probs(memory, step, items[:, None])[:, 0], probs[rows], atol=1e-5)
        player.update(memory, step, items, sequences.responses[rows].astype(np.int64))
        seen += rows.tolist()
    assert sorted(seen) == list(range(16))


def test_a_free_run_answers_after_its_own_responses():
    """The log of the free responses is predicted with the probabilities that they were drawn from."""
    simulator, sequences = random_simulator(items=40), sequences_of(40)
    free = np.stack([free_run(simulator, sequences, np.arange(2), seed) for seed in range(300)])
    assert free.shape == (300, 11)
    offsets, users = np.arange(301) * 4, np.arange(300)
    items = np.tile(sequences.items[:4], 300)
    again = Sequences.build(items, free[:, :4].ravel(), offsets, users, users.astype(float))
    found = predict_log(simulator, again)
    probs = in_log_order(found, found.probs).reshape(300, 4, 3)
    happened = np.eye(3)[free[:, :4].astype(int)]
    assert np.abs(happened.mean(0) - probs.mean(0)).max() < 0.09  # three standard errors
    assert (free[0] == free_run(simulator, sequences, np.arange(2), 0)).all()


def test_a_free_session_does_not_depend_on_the_others():
    simulator, sequences = random_simulator(items=40), sequences_of(40)
    together, alone = (free_run(simulator, sequences, np.array(chosen), 5) for chosen in ([0, 1, 2], [1]))
    assert together[4:11].tolist() == alone.tolist()
