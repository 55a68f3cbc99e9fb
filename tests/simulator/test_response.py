"""The response model: its two forms agree, its memory is what it says, its shape is checked."""

import numpy as np
import pytest
import torch

from recsim_hrl.simulator import kernels
from recsim_hrl.simulator.recurrence import Recurrence
from recsim_hrl.simulator.response import ResponseModel
from recsim_hrl.simulator.weights import PROBABILITY_GRID, ItemCodes, ResponseConfig
from recsim_hrl.types import CLICK, NO_ITEM, ORDER, R

BORDER, LENGTH, ITEMS, WIDTH = 5, 17, 30, 6  # the session ends in the middle of its fourth chunk


def model_of(seed=0, **fields):
    torch.manual_seed(seed)
    model = ResponseModel(ResponseConfig(embedding_dim=WIDTH, kinds=4, hidden=8, item_features=3, **fields))
    with torch.no_grad():
        for parameter in model.parameters():  # far from the initial weights, where the logits would hardly differ
            parameter.add_(0.3 * torch.randn_like(parameter))
        model.logit_scale.fill_(1.3)
        model.logit_shift.copy_(torch.tensor([0.2, -0.1, -0.4]))
    return model.eval().requires_grad_(False)


@pytest.fixture
def embeddings():
    return torch.randn(ITEMS, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def sessions():
    """Items, responses and presence of three users: a full visit before, a short one, none."""
    generator = torch.Generator().manual_seed(2)
    items = torch.randint(0, ITEMS, (3, BORDER + LENGTH), generator=generator)
    responses = torch.randint(0, R, (3, BORDER + LENGTH), generator=generator)
    present = torch.ones(3, BORDER + LENGTH)
    present[1, :3] = 0.0
    present[2, :BORDER] = 0.0
    return items, responses, present


def test_the_parallel_form_equals_the_recurrent_one(embeddings, sessions):
    model, (items, responses, present) = model_of(), sessions
    parallel = model.session_logits(embeddings[items], responses, present, BORDER)  # (3, LENGTH, R)
    users = Recurrence(model.weights, steps=LENGTH)
    codes = model.weights.encode(embeddings.numpy())
    catalogue = users.items(codes)
    before = torch.where(present[:, :BORDER] > 0, items[:, :BORDER], NO_ITEM)
    memory = users.replay(codes, before.numpy(), responses[:, :BORDER].numpy())
    for place in range(LENGTH):
        item, response = items[:, BORDER + place].numpy(), responses[:, BORDER + place].numpy()
        among_all = users.all_logits(memory, place, catalogue, np.arange(ITEMS))[range(3), item]
        np.testing.assert_allclose(among_all, parallel[:, place], atol=1e-5, rtol=1e-5)
        users.update(memory, place, catalogue, item, response)


def test_the_parallel_form_never_looks_ahead(embeddings, sessions):
    model, (items, responses, present) = model_of(), sessions
    before = model.session_logits(embeddings[items], responses, present, BORDER)
    changed = responses.clone()
    changed[:, BORDER + 6] = (changed[:, BORDER + 6] + 1) % R
    after = model.session_logits(embeddings[items], changed, present, BORDER)
    torch.testing.assert_close(after[:, :7], before[:, :7], atol=0.0, rtol=0.0)  # its own logits among them
    assert bool((after[:, 7] != before[:, 7]).any(-1).all())


def nothing_seen(users, codes, size):
    """Memory of ``size`` users without a visit before."""
    return users.replay(codes, np.full((size, 1), NO_ITEM), np.zeros((size, 1), np.int64))


def memory_of(model, embeddings):
    """Users of ``model`` after three impressions."""
    users = Recurrence(model.weights, steps=4)
    codes = model.weights.encode(embeddings.numpy())
    catalogue = users.items(codes)
    memory = nothing_seen(users, codes, 2)
    for step, shown in enumerate(([0, 1], [2, 0], [4, 7])):
        users.update(memory, step, catalogue, np.array(shown), np.array([step, 2 - step]))
    return users, catalogue, memory


def test_weights_encode_items_as_the_model_does(embeddings):
    model = model_of()
    codes, learning = model.weights.encode(embeddings.numpy()), model.encode(embeddings)
    assert codes.kinds.tolist() == learning.kinds.argmax(-1).tolist()
    np.testing.assert_allclose(codes.values, learning.values.numpy(), atol=1e-6)
    np.testing.assert_allclose(codes.features, learning.features.numpy(), atol=1e-5)


def test_the_shapes_of_a_configuration_are_those_of_its_model():
    model = model_of()
    assert model.config.shapes == {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.weights.check()


def test_candidates_may_differ_by_user(embeddings):
    users, catalogue, memory = memory_of(model_of(), embeddings)
    alike = users.all_logits(memory, 3, catalogue, np.arange(ITEMS))
    index = np.array([[0, 1, 2, 3, 4, 5], [9, 8, 7, 6, 5, 4]])
    np.testing.assert_allclose(
        users.all_logits(memory, 3, catalogue, index), alike[[[0], [1]], index], atol=1e-5, rtol=1e-5
    )


def test_memory_by_hand():
    """One time scale that halves, one value, two kinds, two traces: (clicks, value of orders) of each kind, and the
    reverse of all kinds. A quarter of clicks and a quarter of orders are expected, always."""
    model = ResponseModel(ResponseConfig(embedding_dim=1, kinds=2, values=1, half_lives=(1.0,), traces=2))
    model.requires_grad_(False).head.weight.zero_()
    model.head.bias.copy_(torch.tensor([0.5, 0.25, 0.25]).log())
    clicks, value_of_orders = torch.eye(R * 2)[[2 * CLICK, 2 * ORDER + 1]]  # marks: (1, value) of each response
    model.write_own.weight.copy_(torch.stack([clicks, value_of_orders]))
    model.write_all.weight.copy_(torch.stack([value_of_orders, clicks]))
    users = Recurrence(model.weights, steps=4)
    codes = ItemCodes(np.arange(2), np.array([[1.0, 0.5], [1.0, -0.5]]), np.zeros((2, 16)))
    items = users.items(codes)
    memory = nothing_seen(users, codes, 1)
    for step, (item, response) in enumerate([(0, CLICK), (0, ORDER), (1, ORDER)]):
        users.update(memory, step, items, np.array([item]), np.array([response]))
    # A click surprises by (0.75, -0.25), an order by (-0.25, 0.75). Kind 0 is as it was after its last impression, at
    # step 2; kind 1 has seen the order of item 1. Of all kinds: a quarter of the click, half of the first order.
    kind_0, kind_1 = [0.5, 0.5, 0.125, 0.625], [0.0, -0.5, -0.25, 0.75]
    np.testing.assert_allclose(memory.whole, [[0.25 - 0.5, 0.25, -0.1875, 1.0625]], atol=1e-6)
    np.testing.assert_allclose(memory.kinds, [[kind_0, kind_1]], atol=1e-6)
    assert memory.written.tolist() == [[2, 3]]
    # Read at step 4, two impressions after kind 0 was last written.
    seen = np.empty((1, 2 * 4 + 16), np.float32)
    kernels.look(users.model, items, memory, np.array([0]), np.array([4]), 0, 1, seen)
    np.testing.assert_allclose(seen[0, :8], np.concatenate([np.array(kind_0) / 4, memory.whole[0]]), atol=1e-6)


def test_a_model_is_not_surprised_on_average_by_sessions_of_its_own_making(embeddings):
    """Whatever is shown: here each user sees, of all items, the one that the model thinks most likely to be clicked."""
    model = model_of()
    users, size, length = Recurrence(model.weights, steps=40), 4000, 40
    codes = model.weights.encode(embeddings.numpy())
    catalogue = users.items(codes)
    memory = nothing_seen(users, codes, size)
    generator = torch.Generator().manual_seed(4)
    total = torch.zeros(size, R)
    for step in range(length):
        logits = torch.from_numpy(users.all_logits(memory, step, catalogue, np.arange(ITEMS)))  # (size, ITEMS, R)
        probs = logits.softmax(-1)
        best = probs[..., CLICK].argmax(1)
        probs = probs[range(size), best]
        responses = torch.multinomial(probs, 1, generator=generator).squeeze(1)
        expected = (probs * PROBABILITY_GRID).round() / PROBABILITY_GRID
        total += torch.nn.functional.one_hot(responses, R) - expected
        users.update(memory, step, catalogue, best.numpy(), responses.numpy())
    standard_error = total.std(0) / size**0.5
    assert bool((total.mean(0).abs() < 3 * standard_error).all()) and float(standard_error.max()) < 0.1


def test_the_border_between_visits_leaves_a_share(embeddings):
    model = model_of(half_lives=(1.0, 8.0))
    shown, responses = np.array([[3, 5]]), np.array([[CLICK, ORDER]])
    codes, kept = model.weights.encode(embeddings.numpy()), []
    for logit in (20.0, 0.0):  # all is kept, half is kept
        model.carry_logits.fill_(logit)
        users = Recurrence(model.weights, steps=1)
        kept.append(users.replay(codes, shown, responses).kinds)
    assert np.abs(kept[0]).sum() > 0
    np.testing.assert_allclose(kept[1], kept[0] / 2, rtol=1e-6)


def test_item_codes_are_a_share_of_kinds_and_values_that_start_with_one(embeddings):
    codes = model_of().encode(embeddings)
    torch.testing.assert_close(codes.kinds.sum(-1), torch.ones(ITEMS))
    assert codes.values.shape == (ITEMS, model_of().config.values + 1) and bool((codes.values[:, 0] == 1).all())
    assert float(codes.values.abs().max()) <= 1.0


def test_an_item_is_of_its_most_likely_kind_and_learns_as_if_it_were_of_all(embeddings):
    model = model_of()
    likely = torch.softmax(model.to_kinds(embeddings), -1)
    fixed = torch.nn.functional.one_hot(likely.argmax(-1), 4).float()
    assert torch.equal(model.encode(embeddings).kinds, fixed)
    model.train().requires_grad_(True)
    learning = model.encode(embeddings).kinds
    torch.testing.assert_close(learning, fixed)
    towards = torch.randn(ITEMS, 4, generator=torch.Generator().manual_seed(3))
    found = torch.autograd.grad((learning * towards).sum(), model.to_kinds.weight)
    expected = torch.autograd.grad(
        (torch.softmax(model.to_kinds(embeddings), -1) * towards).sum(), model.to_kinds.weight
    )
    torch.testing.assert_close(found, expected)


def test_kinds_begin_where_the_mean_of_a_category_is_nearest():
    embeddings = torch.tensor([[0.0, 0.0], [2.0, 0.0], [10.0, 1.0], [10.0, 3.0], [5.5, 1.0]])
    model = ResponseModel(ResponseConfig(embedding_dim=2, kinds=3))
    model.begin_with_categories(embeddings, torch.tensor([4, 4, 9, 9, 9]))  # means (1, 0) and (8.5, 5 / 3)
    assert model.encode(embeddings).kinds.argmax(-1).tolist() == [0, 0, 1, 1, 1]
    assert model.encode(torch.tensor([[4.4, 0.0]])).kinds.argmax(-1).item() == 0
    for categories in ([1, 1, 1, 1, 1], [0, 1, 2, 3, 3]):  # one category, or more than kinds: nothing happens
        before = model.to_kinds.weight.clone()
        model.begin_with_categories(embeddings, torch.tensor(categories))
        assert torch.equal(model.to_kinds.weight, before)


def test_calibration_scales_then_shifts(embeddings):
    model = model_of()
    _, catalogue, memory = memory_of(model, embeddings)
    everything = np.arange(ITEMS)
    calibrated = Recurrence(model.weights, steps=4).all_logits(memory, 3, catalogue, everything)
    model.logit_scale.fill_(1.0)
    model.logit_shift.zero_()
    raw = Recurrence(model.weights, steps=4).all_logits(memory, 3, catalogue, everything)
    np.testing.assert_allclose(calibrated, raw * 1.3 + np.array([0.2, -0.1, -0.4]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("field", ["embedding_dim", "kinds", "traces", "hidden", "item_features"])
def test_sizes_below_one_are_refused(field):
    with pytest.raises(ValueError, match=f"response model {field}: got 0, allowed 1 or more"):
        ResponseConfig(**{field: 0})


@pytest.mark.parametrize("half_lives", [(), (3.0, 0.0), (-1.0,)])
def test_half_lives_must_be_positive(half_lives):
    with pytest.raises(ValueError, match="half_lives"):
        ResponseConfig(half_lives=half_lives)
