"""The response model: its two forms agree, its memory is what it says, its shape is checked."""

import pytest
import torch

from recsim_hrl.simulator.response import ItemCodes, ResponseConfig, ResponseModel
from recsim_hrl.types import NO_ITEM, R

BORDER, LENGTH, ITEMS, WIDTH = 5, 12, 30, 6


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
    codes = model.encode(embeddings)
    before = torch.where(present[:, :BORDER] > 0, items[:, :BORDER], NO_ITEM)
    memory = model.replay(codes, before, responses[:, :BORDER])
    for place in range(LENGTH):
        item = codes[items[:, BORDER + place]]
        alone = ItemCodes(item.kinds.unsqueeze(1), item.values.unsqueeze(1), item.features.unsqueeze(1))
        torch.testing.assert_close(model.logits(memory, alone)[:, 0], parallel[:, place], atol=1e-5, rtol=1e-5)
        memory = model.update(memory, item, responses[:, BORDER + place])


def test_the_parallel_form_never_looks_ahead(embeddings, sessions):
    model, (items, responses, present) = model_of(), sessions
    before = model.session_logits(embeddings[items], responses, present, BORDER)
    changed = responses.clone()
    changed[:, BORDER + 6] = (changed[:, BORDER + 6] + 1) % R
    after = model.session_logits(embeddings[items], changed, present, BORDER)
    torch.testing.assert_close(after[:, :7], before[:, :7], atol=0.0, rtol=0.0)  # its own logits among them
    assert bool((after[:, 7] != before[:, 7]).any(-1).all())


def test_both_orders_of_the_product_give_the_same_logits(embeddings):
    model = model_of()
    codes = model.encode(embeddings)
    memory = torch.rand(2, 4, model.config.time_scales * model.config.channels)
    many = model.logits(memory, codes)  # (2, ITEMS, R): more candidates than kinds
    few = model.logits(memory, codes[torch.tensor([3, 8])])  # (2, 2, R): fewer
    torch.testing.assert_close(few, many[:, [3, 8]], atol=1e-5, rtol=1e-5)


def test_candidates_may_differ_by_user(embeddings):
    model = model_of()
    codes = model.encode(embeddings)
    memory = torch.rand(2, 4, model.config.time_scales * model.config.channels)
    alike = model.logits(memory, codes)
    index = torch.tensor([[0, 1, 2, 3, 4, 5], [9, 8, 7, 6, 5, 4]])
    torch.testing.assert_close(
        model.logits(memory, codes[index]), alike.gather(1, index.unsqueeze(-1).expand(-1, -1, R)), atol=1e-5, rtol=1e-5
    )


def test_memory_by_hand():
    """One kind, one time scale that halves, one value: three decayed pairs of sums."""
    model = ResponseModel(ResponseConfig(embedding_dim=1, kinds=1, values=1, half_lives=(1.0,)))
    item = ItemCodes(torch.ones(1, 1), torch.tensor([[1.0, 0.5]]), torch.zeros(1, 16))
    with torch.no_grad():
        memory = model.update(model.initial(1), item, torch.tensor([1]))  # a click
        memory = model.update(memory, item, torch.tensor([2]))  # an order
        memory = model.update(memory, item, torch.tensor([2]))
    # skips: nothing; clicks: 0.25 of (1, 0.5); orders: 0.5 + 1 times (1, 0.5)
    torch.testing.assert_close(memory, torch.tensor([[[0.0, 0.0, 0.25, 0.125, 1.5, 0.75]]]))
    with torch.no_grad():
        model.carry_logits.fill_(0.0)
        torch.testing.assert_close(model.cross_border(memory), memory / 2)


def test_update_leaves_the_old_memory_alone(embeddings):
    model = model_of()
    memory = model.initial(2)
    model.update(memory, model.encode(embeddings[:2]), torch.tensor([0, 1]))
    assert float(memory.abs().sum()) == 0.0


def test_item_codes_are_a_share_of_kinds_and_values_that_start_with_one(embeddings):
    codes = model_of().encode(embeddings)
    torch.testing.assert_close(codes.kinds.sum(-1), torch.ones(ITEMS))
    assert codes.values.shape == (ITEMS, model_of().config.values + 1) and bool((codes.values[:, 0] == 1).all())
    assert float(codes.values.abs().max()) <= 1.0


def test_calibration_scales_then_shifts(embeddings):
    model = model_of()
    memory, codes = model.initial(1), model.encode(embeddings)
    calibrated = model.logits(memory, codes)
    model.logit_scale.fill_(1.0)
    model.logit_shift.zero_()
    expected = model.logits(memory, codes) * 1.3 + torch.tensor([0.2, -0.1, -0.4])
    torch.testing.assert_close(calibrated, expected)


@pytest.mark.parametrize("field", ["embedding_dim", "kinds", "hidden", "item_features"])
def test_sizes_below_one_are_refused(field):
    with pytest.raises(ValueError, match=f"response model {field}: got 0, allowed 1 or more"):
        ResponseConfig(**{field: 0})


@pytest.mark.parametrize("half_lives", [(), (3.0, 0.0), (-1.0,)])
def test_half_lives_must_be_positive(half_lives):
    with pytest.raises(ValueError, match="half_lives"):
        ResponseConfig(half_lives=half_lives)
