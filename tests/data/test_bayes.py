"""The exact filter, against an enumeration of every hypothesis about a user."""

import itertools

import numpy as np
import pytest
import torch

from recsim_hrl.data.bayes import BayesFilter
from recsim_hrl.data.world import LEVEL_WEIGHTS, TASTE_LEVELS, TRUST_LEVELS, Users, World, WorldConfig
from recsim_hrl.types import NO_ITEM, Visits

K = 3
HYPOTHESES = list(itertools.product(range(5), repeat=K + 1))
"""Level of the taste for each category, then of trust: 625."""

VISIT_ITEMS = [[NO_ITEM, 3, 14], [NO_ITEM, NO_ITEM, NO_ITEM]]
VISIT_RESPONSES = [[0, 2, 1], [0, 0, 0]]
ITEMS = [[0, 1, 2, 14, 0, 7], [14, 13, 3, 3, 5, 0]]
RESPONSES = [[1, 1, 0, 2, 0, 1], [0, 1, 2, 1, 0, 0]]


@pytest.fixture(scope="module")
def world():
    # Hidden traits matter far more than by default, so that a wrong posterior could not pass.
    config = WorldConfig(items=15, categories=K, embedding_dim=4, click_trust=2.0, order_trust=2.0, order_bias=-1.0)
    return World(config)


def everyone() -> Users:
    """One user for each hypothesis."""
    levels = torch.tensor(HYPOTHESES)
    taste = torch.tensor(TASTE_LEVELS)[levels[:, :K]]
    return Users(torch.zeros(len(levels), dtype=torch.int64), taste, torch.tensor(TRUST_LEVELS)[levels[:, K]])


def enumerate_predictions(world: World, user: int) -> np.ndarray:
    """(T, R) predictions for one user, by summing over all hypotheses in double precision."""
    posterior = np.array([np.prod([LEVEL_WEIGHTS[level] for level in hypothesis]) for hypothesis in HYPOTHESES])
    users, predictions = everyone(), []
    for visit in (zip(VISIT_ITEMS[user], VISIT_RESPONSES[user], strict=True), None):
        state = world.initial(users)  # each visit starts fresh
        for item, response in visit or zip(ITEMS[user], RESPONSES[user], strict=True):
            if item == NO_ITEM:
                continue
            probs = world.probs(state, torch.tensor([item]))[:, 0].double().numpy()  # (625, R)
            if visit is None:
                predictions.append(posterior @ probs / posterior.sum())
            posterior = posterior * probs[:, response]
            count = len(HYPOTHESES)
            state = world.update(state, torch.full((count,), item), torch.full((count,), response))
    return np.stack(predictions)


def filter_predictions(world: World) -> np.ndarray:
    """(users, T, R) predictions of the filter."""
    bayes, probs = BayesFilter(world), []
    belief = bayes.initial(Visits(torch.tensor([5, 6]), torch.tensor(VISIT_ITEMS), torch.tensor(VISIT_RESPONSES)))
    for place in range(len(ITEMS[0])):
        items = torch.tensor([row[place] for row in ITEMS])
        probs.append(bayes.predict(belief, items))
        belief = bayes.update(belief, items, torch.tensor([row[place] for row in RESPONSES]))
    return torch.stack(probs, 1).numpy()


@pytest.mark.parametrize("user", [0, 1], ids=["with a visit before", "new"])
def test_the_filter_equals_the_sum_over_all_hypotheses(world, user):
    expected = enumerate_predictions(world, user)
    np.testing.assert_allclose(filter_predictions(world)[user], expected, atol=1e-5)
    prior = enumerate_predictions(world, user)[0] if user == 1 else None
    if prior is not None:  # and what was learned shows
        assert np.abs(expected[3] - prior).max() > 0.01


def test_the_visit_before_counts_and_its_moods_do_not(world):
    bayes = BayesFilter(world)
    known = bayes.initial(Visits(torch.tensor([5]), torch.tensor(VISIT_ITEMS[:1]), torch.tensor(VISIT_RESPONSES[:1])))
    new = bayes.initial(Visits.blank(1, 3))
    assert float(known.state.presence.sum()) == 0.0 and float(known.state.trust_shift.abs().sum()) == 0.0
    assert float(new.evidence.abs().sum()) == 0.0 and float(known.evidence.abs().sum()) > 0.0
    item = torch.tensor([3])
    assert float((bayes.predict(known, item) - bayes.predict(new, item)).abs().max()) > 0.01


def test_the_filter_never_reads_the_hidden_truth(world):
    """Beliefs are built on a placeholder user; another one must not change them."""
    bayes = BayesFilter(world)
    belief = bayes.initial(Visits.blank(2, 3))
    state = belief.state
    other = Users(state.users.user_ids, state.users.taste + 3.0, state.users.trust - 2.0)
    swapped = type(belief)(type(state)(other, *list(vars(state).values())[1:]), belief.evidence)
    torch.testing.assert_close(
        bayes.predict(swapped, torch.tensor([2, 9])), bayes.predict(belief, torch.tensor([2, 9]))
    )


def test_predictions_are_calibrated_on_the_worlds_own_users(world):
    """Averaged over users drawn from the prior, the first prediction is the true mean probability."""
    users = world.users(torch.arange(20_000))
    truth = world.probs(world.initial(users), torch.tensor([4]))[:, 0].mean(0)
    bayes = BayesFilter(world)
    predicted = bayes.predict(bayes.initial(Visits.blank(1, 3)), torch.tensor([4]))[0]
    torch.testing.assert_close(predicted, truth, atol=0.005, rtol=0.0)
