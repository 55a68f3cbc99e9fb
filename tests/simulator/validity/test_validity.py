"""Measures on a log: the predictions are the model's, the measures are those of a hand-made example."""

import math

import numpy as np
import pytest
import torch

from recsim_hrl.data.bayes import BayesFilter
from recsim_hrl.data.world import World, WorldConfig
from recsim_hrl.simulator.recurrence import Recurrence
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import Simulator, random_simulator
from recsim_hrl.simulator.validity.measures import POSITION_EDGES, Predictions, measure, predict_log, session_statistics


def sequences_of(items: int) -> Sequences:
    """Three sessions; the third is the first user's next visit."""
    generator = np.random.default_rng(0)
    lengths = np.array([4, 7, 5])
    return Sequences.build(
        generator.integers(0, items, 16),
        generator.integers(0, 3, 16),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.array([1, 2, 1]),
        np.array([0.0, 1.0, 2.0]),
    )


def in_log_order(predictions: Predictions, column: np.ndarray) -> np.ndarray:
    return column[np.lexsort((predictions.step, predictions.session))]


def test_predictions_are_those_of_the_recurrence():
    simulator, sequences = random_simulator(items=40), sequences_of(40)
    predictions = predict_log(simulator, sequences)
    expected = []
    for session in range(3):
        visits = sequences.visits(np.array([session]))
        users, codes = Recurrence(simulator.model.weights, steps=8), simulator.data.codes
        catalogue = users.items(codes)
        memory = users.replay(codes, visits.items.numpy(), visits.responses.numpy())
        for step, place in enumerate(range(*sequences.offsets[session : session + 2])):
            item, response = (np.array([int(part[place])]) for part in (sequences.items, sequences.responses))
            logits = torch.from_numpy(users.all_logits(memory, step, catalogue, item)[0, 0])
            expected.append(torch.softmax(logits, -1).numpy())
            users.update(memory, step, catalogue, item, response)
    np.testing.assert_allclose(in_log_order(predictions, predictions.probs), np.stack(expected), atol=1e-5)
    np.testing.assert_array_equal(in_log_order(predictions, predictions.item), sequences.items)
    np.testing.assert_array_equal(in_log_order(predictions, predictions.response), sequences.responses)
    assert in_log_order(predictions, predictions.step).tolist() == [*range(4), *range(7), *range(5)]
    assert predictions.bayes is None


def test_a_choice_of_sessions():
    simulator, sequences = random_simulator(items=40), sequences_of(40)
    everything = predict_log(simulator, sequences)
    chosen = predict_log(simulator, sequences, sessions=np.array([2]))
    assert chosen.session.tolist() == [2] * 5
    np.testing.assert_allclose(chosen.probs, everything.probs[everything.session == 2], atol=1e-6)


def test_bayes_predictions_are_the_filters():
    world, sequences = World(WorldConfig(items=40, categories=3, embedding_dim=8)), sequences_of(40)
    sample = random_simulator(items=40)
    simulator = Simulator(
        "s", world.catalogue, sample.model, sample.visits, sample.recall_order, sample.item_counts, {}
    )
    predictions = predict_log(simulator, sequences, world)
    bayes, expected = BayesFilter(world), []
    belief = bayes.initial(sequences.visits(np.array([2])))
    for place in range(11, 16):
        item = torch.tensor([int(sequences.items[place])])
        expected.append(bayes.predict(belief, item)[0].numpy())
        belief = bayes.update(belief, item, torch.tensor([int(sequences.responses[place])]))
    rows = predictions.session == 2
    np.testing.assert_allclose(predictions.bayes[rows][np.argsort(predictions.step[rows])], expected, atol=1e-6)


def example(bayes: np.ndarray | None = None) -> tuple[Predictions, np.ndarray]:
    """Four impressions of two items in two sessions, and counts of the log before."""
    probs = np.array([[0.8, 0.1, 0.1], [0.5, 0.25, 0.25], [0.6, 0.3, 0.1], [0.9, 0.05, 0.05]])
    predictions = Predictions(
        session=np.array([0, 0, 1, 1]),
        step=np.array([0, 1, 0, 1]),
        item=np.array([0, 1, 1, 0]),
        response=np.array([0, 2, 1, 0]),
        probs=probs,
        bayes=bayes,
    )
    return predictions, np.array([[90, 8, 2], [60, 30, 10]])


def test_log_losses_by_hand():
    predictions, counts = example()
    validity = measure(predictions, counts)
    base = np.array([150, 38, 12]) / 200
    rates = [[(n + 60 * b) / 160 for n, b in zip(row, base, strict=True)] for row in counts.tolist()]
    assert validity.log_loss_base_rate == pytest.approx(-np.log(base[[0, 2, 1, 0]]).mean(), abs=1e-6)
    item_loss = -(math.log(rates[0][0]) + math.log(rates[1][2]) + math.log(rates[1][1]) + math.log(rates[0][0])) / 4
    assert validity.log_loss_item_rate == pytest.approx(item_loss, abs=1e-6)
    own = -(math.log(0.8) + math.log(0.25) + math.log(0.3) + math.log(0.9)) / 4
    assert validity.log_loss_simulator == pytest.approx(own)
    assert validity.log_loss_bayes is None and validity.gap_closed is None
    assert (validity.impressions, validity.sessions) == (4, 2)


def test_the_gap_is_measured_from_the_per_item_rate_to_bayes():
    predictions, counts = example()
    best = np.array([[0.95, 0.03, 0.02], [0.1, 0.1, 0.8], [0.1, 0.8, 0.1], [0.95, 0.03, 0.02]])
    validity = measure(Predictions(**{**vars(predictions), "bayes": best}), counts)
    item, own = validity.log_loss_item_rate, validity.log_loss_simulator
    bayes = -(2 * math.log(0.95) + 2 * math.log(0.8)) / 4
    assert validity.gap_closed == pytest.approx((item - own) / (item - bayes))
    perfect = measure(Predictions(**{**vars(predictions), "bayes": predictions.probs}), counts)
    assert perfect.gap_closed == pytest.approx(1.0)


def test_clicks_include_orders():
    predictions, counts = example()
    validity = measure(predictions, counts)
    assert validity.click.rate == 0.5 and validity.order.rate == 0.25
    # 1 - skip: 0.2, 0.5 (order), 0.4 (click), 0.1: both that happened rank first
    assert validity.click.auc == 1.0 and validity.click.pr_auc == 1.0
    # order: 0.1, 0.25 (order), 0.1, 0.05
    assert validity.order.auc == 1.0
    assert validity.click.calibration_error == pytest.approx((0.2 + 0.5 + 0.6 + 0.1) / 4)


def test_statistics_of_real_sessions_by_hand():
    predictions, _ = example()
    real = session_statistics(predictions)["real"]
    assert real["clicks"]["mean"] == 1.0 and real["clicks"]["sd"] == 0.0  # one each, the order among them
    assert real["orders"]["mean"] == 0.5 and real["orders"]["sd"] == 0.5
    assert real["clicks"]["shares"][:3] == [0.0, 1.0, 0.0] and real["orders"]["shares"][:3] == [0.5, 0.5, 0.0]
    assert real["clicks_by_position"][:3] == [0.5, 0.5, None]
    assert real["orders_by_position"][:2] == [0.0, 0.5]
    assert len(real["clicks_by_position"]) == len(POSITION_EDGES) - 1
    # Only the last impression follows a click.
    assert real["clicks_by_recent_clicks"][:3] == [pytest.approx(2 / 3), 0.0, None]


def test_recent_clicks_look_back_ten_responses_within_the_session():
    """A click, then eleven skips, then a click: the first has left the window when the last comes."""
    response = np.array([1] + [0] * 11 + [1] + [1])
    count = len(response)
    predictions = Predictions(
        np.array([0] * (count - 1) + [1]),
        np.array([*range(count - 1), 0]),
        np.zeros(count, dtype=np.int64),
        response,
        np.tile([0.5, 0.25, 0.25], (count, 1)),
        None,
    )
    rates = session_statistics(predictions)["real"]["clicks_by_recent_clicks"]
    # No recent click: the first (clicked), places 11 and 12 (the last one clicked), and the other session's (clicked).
    assert rates[0] == pytest.approx(3 / 4)
    assert rates[1] == 0.0  # places 1 to 10


def test_simulated_statistics_follow_the_predictions():
    count = 30_000
    predictions = Predictions(
        np.arange(count),
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=np.int64),  # nobody really clicked
        np.tile([0.7, 0.2, 0.1], (count, 1)),
        None,
    )
    drawn = session_statistics(predictions)["simulated"]
    assert drawn["clicks_by_position"][0] == pytest.approx(0.3, abs=0.01)
    assert drawn["orders_by_position"][0] == pytest.approx(0.1, abs=0.008)
    assert session_statistics(predictions) == session_statistics(predictions)
    assert session_statistics(predictions, seed=1)["simulated"] != drawn


def test_the_text_has_the_numbers():
    predictions, counts = example()
    text = str(measure(Predictions(**{**vars(predictions), "bayes": predictions.probs}), counts))
    assert "4 impressions in 2 sessions" in text and "gap closed          100.0%" in text
