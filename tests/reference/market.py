"""A market of five items and three users in which every response can be told in advance."""

import torch

from recsim_hrl.simulator.response import ResponseModel
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.weights import ResponseConfig
from recsim_hrl.types import CLICK, NO_ITEM, ORDER, SKIP, Catalogue, Visits

EMBEDDINGS = [[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.8, 0.6], [0.0, -1.0]]
RESPONSE_TO = [CLICK, ORDER, SKIP, CLICK, SKIP]
"""What every user does with items 0 to 4, whatever came before (but for a chance of 1e-9)."""

VISITS = [[NO_ITEM, NO_ITEM, NO_ITEM], [NO_ITEM, 2, 1], [0, 4, 3]]
VISIT_RESPONSES = [[0, 0, 0], [0, SKIP, ORDER], [CLICK, SKIP, CLICK]]


def market(recall_order: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Simulator:
    """Logits are 50 for a skip, 100 x for a click and 100 y for an order of an item at (x, y), where positive."""
    model = ResponseModel(
        ResponseConfig(embedding_dim=2, kinds=2, values=1, half_lives=(2.0,), hidden=3, item_features=3)
    )
    with torch.no_grad():
        for layer in (model.read_own, model.read_all, model.middle):
            layer.weight.zero_()
        for layer in (model.middle, model.read_item, model.to_features):
            layer.bias.zero_()
        model.to_features.weight.copy_(torch.tensor([[0.0, 0.0], [100.0, 0.0], [0.0, 100.0]]))
        model.read_item.weight.copy_(torch.eye(3))
        model.head.weight.copy_(torch.eye(3))
        model.head.bias.copy_(torch.tensor([50.0, 0.0, 0.0]))
    catalogue = Catalogue(
        item_ids=torch.tensor([100, 101, 102, 103, 104]),
        embeddings=torch.tensor(EMBEDDINGS),
        categories=torch.tensor([0, 1, 2, 0, 1]),
        prices=torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]),
    )
    visits = Visits(torch.tensor([7, 8, 9]), torch.tensor(VISITS), torch.tensor(VISIT_RESPONSES))
    model.eval().requires_grad_(False)
    return Simulator(
        "market", catalogue, model, visits, torch.tensor(recall_order), torch.zeros(5, 3, dtype=torch.int32), {}
    )
