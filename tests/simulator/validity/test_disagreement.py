"""Where policies go: rollouts as a log, disagreement by hand, and a simulator that does not know some items."""

import dataclasses

import numpy as np
import pytest
import torch

from recsim_hrl.simulator.market import Values
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.store import Simulator, random_simulator
from recsim_hrl.simulator.validity.disagreement import PlayConfig, after_visits, disagreement
from recsim_hrl.simulator.validity.evaluate import log_coverage
from recsim_hrl.simulator.validity.log_sample import sample_of
from recsim_hrl.simulator.validity.measures import predict_log
from recsim_hrl.types import NO_ITEM, Visits

PLAY = PlayConfig(length=6, users=12, candidates=30)


def test_rollouts_as_a_log():
    """Two users: one of whom two impressions are known, and a new one."""
    visits = Visits(
        torch.tensor([5, 5]),
        torch.tensor([[NO_ITEM, 7, 8], [NO_ITEM] * 3]),
        torch.tensor([[0, 1, 2], [0, 0, 0]]),
    )
    values = Values(np.array([[1, 2], [3, 4]]), np.array([[0, 1], [2, 0]]), np.zeros(2))
    found = after_visits(visits, values)
    assert found.items.tolist() == [7, 8, 1, 2, 3, 4] and found.responses.tolist() == [1, 2, 0, 1, 2, 0]
    assert found.offsets.tolist() == [0, 2, 4, 6] and found.previous.tolist() == [-1, 0, -1]
    again = found.visits(np.array([1, 2]))
    assert again.items[:, -2:].tolist() == [[7, 8], [NO_ITEM, NO_ITEM]]


def log_of(simulator: Simulator):
    """A log of forty sessions of the first ten items, and what it covers."""
    generator = np.random.default_rng(0)
    items, users = generator.integers(0, 10, 400), np.arange(40)
    sequences = Sequences.build(items, generator.integers(0, 2, 400), np.arange(41) * 10, users, users)

    class Bare:
        """A log without times and propensities."""

        columns = ()

    return sample_of(predict_log(simulator, sequences), sequences, Bare()), log_coverage(simulator, sequences)


def test_a_simulator_agrees_with_itself():
    simulator = random_simulator(items=30)
    found = disagreement([simulator, simulator], *log_of(simulator), PLAY)
    assert found.log.disagreement == 0.0 and all(one.disagreement == 0.0 for one in found.policies)
    assert all(one.promised[0] == one.promised[1] and one.spread == 0.0 for one in found.policies)
    assert all(0.0 <= one.coverage <= 1.0 and one.reward > 0.0 for one in found.policies)


def test_disagreement_is_the_distance_of_the_probabilities():
    one, other = random_simulator(items=30), random_simulator(items=30, seed=3)
    other = dataclasses.replace(other, catalogue=one.catalogue)
    sample, coverage = log_of(one)
    found = disagreement([one, other], sample, coverage, PLAY).log
    theirs = predict_log(other, sample.sequences)
    probs = theirs.probs[np.lexsort((theirs.step, theirs.session))]
    assert found.disagreement == pytest.approx(np.abs(sample.probs - probs).sum(1).mean() / 2, rel=1e-5)
    rewards = np.array([0.0, 1.0, 5.0])
    assert found.promised == pytest.approx([(sample.probs @ rewards).mean(), (probs @ rewards).mean()], rel=1e-5)
    assert found.far == pytest.approx(0.05, abs=0.01)


def test_a_policy_that_leaves_the_log_is_seen():
    """The other simulator takes the items that the log does not show for other ones than they are."""
    one = random_simulator(items=30)
    embeddings = one.catalogue.embeddings.clone()
    embeddings[10:] = -2.0 * embeddings[10:]
    other = dataclasses.replace(one, catalogue=dataclasses.replace(one.catalogue, embeddings=embeddings))
    found = disagreement([one, other], *log_of(one), PLAY)
    assert found.log.disagreement < 1e-6
    assert min(policy.disagreement for policy in found.policies) > 1e-3
    assert all(policy.far > 0.3 for policy in found.policies)


def test_a_simulator_alone_has_nobody_to_disagree_with():
    simulator = random_simulator(items=30)
    found = disagreement([simulator], *log_of(simulator), PLAY)
    assert np.isnan([found.log.disagreement, *(one.disagreement for one in found.policies)]).all()
    assert len(found.log.promised) == 1


@pytest.mark.parametrize(("field", "value"), [("length", 0), ("users", 1), ("candidates", 0)])
def test_plays_that_cannot_be(field, value):
    with pytest.raises(ValueError, match=f"play {field}: got {value}"):
        PlayConfig(**{field: value})
