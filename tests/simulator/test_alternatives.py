"""Window models against slow twins that walk through the session, and their market against the fit's own form."""

import numpy as np
import pytest
import torch
from torch.nn.functional import silu

from recsim_hrl.simulator.alternatives.attention import AttentionModel
from recsim_hrl.simulator.alternatives.factorisation import COUNTS, FactorisationMachine
from recsim_hrl.simulator.alternatives.window import WindowMarket
from recsim_hrl.simulator.fit import FitConfig, fit_response_model, log_loss
from recsim_hrl.simulator.gradients import Gradients
from recsim_hrl.simulator.market import run_policy
from recsim_hrl.simulator.policies import greedy_policy
from recsim_hrl.simulator.store import random_simulator
from recsim_hrl.types import NO_ITEM
from tests.simulator.test_fit import DISLIKED, LIKED, SMALL, catalogue_of, entropy, quiet, toy

MODELS = {
    "attention": lambda width, config: AttentionModel(width, config.hidden, window=3, width=4),
    "factorisation": lambda width, config: FactorisationMachine(width, kinds=5, factors=3),
}
BORDER, SESSION = 6, 30


@pytest.fixture
def simulator():
    return random_simulator(items=40, users=12, visit_width=BORDER)


@pytest.fixture(params=MODELS)
def model(request, simulator):
    """With random weights everywhere, also where a fit would begin with zeros, and a calibration of its own."""
    torch.manual_seed(0)
    made = MODELS[request.param](8, FitConfig(hidden=5, kinds=24))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    made.begin_with_categories(simulator.catalogue.embeddings, simulator.catalogue.categories)
    made.logit_scale.fill_(1.5)
    made.logit_shift.copy_(torch.tensor([0.1, -0.2, 0.3]))
    return made.eval().requires_grad_(False)


def sessions(simulator, seed=0):
    """Items, responses and presence (B, L) of the pool's users: the visit before, then a session of random length."""
    generator = torch.Generator().manual_seed(seed)
    visits = simulator.visits
    shape = (len(visits), SESSION)
    items, responses = torch.randint(0, 40, shape, generator=generator), torch.randint(0, 3, shape, generator=generator)
    present = (torch.arange(SESSION) < torch.randint(1, SESSION + 1, shape[:1], generator=generator)[:, None]).float()
    return (
        torch.cat([visits.items.clamp_min(0), items], 1),
        torch.cat([visits.responses, responses], 1),
        torch.cat([(visits.items != NO_ITEM).float(), present], 1),
    )


def attention_twin(model, embeddings, past, item):
    """Logits of ``item`` after ``past``, a list of (item, response, whether in this session)."""
    answers = []
    for which in range(3):
        window = [one for one, response, _ in past if response >= which][::-1][: model.window]
        part = slice(which * model.width, (which + 1) * model.width)
        query = model.to_query(embeddings[item])[part] / model.width**0.5
        likeness = [query @ model.to_key(embeddings[one])[part] + model.age[which, n] for n, one in enumerate(window)]
        weights = torch.stack([*likeness, model.nothing[which]]).softmax(0)
        answer = sum(
            (
                weight * (model.to_value(embeddings[one])[part] + model.age_value[which, n])
                for n, (weight, one) in enumerate(zip(weights, window, strict=False))
            ),
            torch.zeros(model.width),
        )
        answers += [answer, weights[-1:]]
    hidden = silu(model.read_past(torch.cat(answers)) + model.read_item(embeddings[item]))
    return model.head(silu(model.middle(hidden)) + hidden)


def factorisation_twin(model, embeddings, past, item):
    """The sum over all pairs of features, one by one."""
    kind = [int(model.to_kinds(one).argmax()) for one in embeddings]
    features = [(float(x), row) for x, row in zip(embeddings[item], model.of_embedding, strict=True)]
    features.append((1.0, model.of_kind[kind[item]]))
    for whole in (False, True):
        mine = [[one, response, now] for one, response, now in past if one is not None]
        mine = [(kind[one] == kind[item] or whole, response, now) for one, response, now in mine]
        spans = [
            [one for one in mine if one[2]],
            [one for one in mine if not one[2]],
            mine[-10:],
            mine[-20:],
        ]
        for place, (span, least) in enumerate((span, least) for span in spans for least in range(3)):
            count = sum(counts and response >= least for counts, response, _ in span)
            bin = sum(count >= edge for edge in (1, 2, 3, 5, 8, 13, 21, 34))
            features.append((1.0, model.of_count[whole * COUNTS + place, bin]))
    logits = []
    for response in range(3):
        part = slice(response * (1 + model.factors), (response + 1) * (1 + model.factors))
        rows = [(x, row[part]) for x, row in features]
        total = sum(x * row[0] for x, row in rows)
        for i, (x, row) in enumerate(rows):
            total = total + sum(x * y * (row[1:] @ other[1:]) for y, other in rows[:i])
        logits.append(total)
    return torch.stack(logits)


def test_logits_are_those_of_a_walk_through_the_session(model, simulator):
    items, responses, present = sessions(simulator)
    embeddings = simulator.catalogue.embeddings
    twin = attention_twin if isinstance(model, AttentionModel) else factorisation_twin
    found = model.session_logits(embeddings[items], responses, present, BORDER)
    for row in (0, 5, 11):
        past = [
            (int(items[row, place]), int(responses[row, place]), False)
            for place in range(BORDER)
            if present[row, place] > 0
        ]
        for place in range(BORDER, BORDER + int(present[row, BORDER:].sum())):
            expected = twin(model, embeddings, past, int(items[row, place])) * 1.5 + torch.tensor([0.1, -0.2, 0.3])
            torch.testing.assert_close(found[row, place - BORDER], expected, rtol=1e-4, atol=1e-4)
            past.append((int(items[row, place]), int(responses[row, place]), True))


def test_the_market_answers_as_the_fit_foretells(model, simulator):
    market = WindowMarket(model, simulator.catalogue, simulator.visits)
    items, responses, present = sessions(simulator)
    present[:, BORDER:] = 1.0
    expected = model.session_logits(simulator.catalogue.embeddings[items], responses, present, BORDER).softmax(-1)
    state = market.initial(torch.arange(12))
    for place in range(SESSION):
        now, answer = items[:, BORDER + place], responses[:, BORDER + place]
        own = market.probs(state, now.unsqueeze(1))[:, 0]
        everything = market.probs(state, torch.arange(40))
        torch.testing.assert_close(own, expected[:, place], rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(everything[torch.arange(12), now], own, rtol=1e-4, atol=1e-5)
        state = market.update(state, now, answer)
    policy = greedy_policy("greedy", market)
    values = run_policy(market, policy, torch.arange(12), torch.arange(20), 5)
    assert values.items.shape == (12, 5) and all(len(set(row)) == 5 for row in values.items.tolist())


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_finds_out_what_each_user_likes(name):
    sequences, embeddings = toy(600)
    catalogue = catalogue_of(embeddings, (embeddings[:, 0] > 0).long())
    fitted, about = fit_response_model(sequences, catalogue, SMALL, log=quiet, make=MODELS[name])
    fresh, _ = toy(200, seed=1)
    base, known = entropy((LIKED + DISLIKED) / 2), (entropy(LIKED) + entropy(DISLIKED)) / 2
    loss = log_loss(fitted, embeddings, fresh, np.arange(200))
    assert known < loss < base - 0.6 * (base - known)
    assert about["held_out_log_loss"] == pytest.approx(loss, abs=0.05)
    assert not any(parameter.requires_grad for parameter in fitted.parameters())


def test_two_processes_are_for_the_default_form(simulator):
    with pytest.raises(ValueError, match="got 2 for a FactorisationMachine, allowed 1"):
        Gradients(FactorisationMachine(8), simulator.catalogue.embeddings, None, processes=2)
