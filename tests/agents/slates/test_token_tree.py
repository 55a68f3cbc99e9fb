import torch
from recsim_hrl_agents.slates.token_tree import TokenTree

# Items 0 to 4; of depth 1 there are the prefixes 0, 2 and 3, of depth 2 then (0, 1), (0, 3), (2, 0), (3, 0), (3, 1).
CODES = torch.tensor([[3, 1], [0, 3], [2, 0], [0, 1], [3, 0]])


def test_nodes_are_numbered_in_the_order_of_their_tokens():
    tree = TokenTree(CODES, 4)
    assert [nodes.tolist() for nodes in tree.nodes] == [[0, 0, 0, 0, 0], [2, 0, 1, 0, 2], [4, 1, 2, 0, 3]]
    assert [parents.tolist() for parents in tree.parents] == [[0, 0, 0], [0, 0, 1, 2, 2]]
    assert [last.tolist() for last in tree.last] == [[0, 2, 3], [1, 3, 0, 0, 1]]
    assert tree.children[0].tolist() == [[0, 3, 1, 2]]  # 3: leads nowhere
    assert tree.children[1].tolist() == [[5, 0, 5, 1], [2, 5, 5, 5], [3, 4, 5, 5]]
    assert tree.items.tolist() == [3, 1, 2, 4, 0]


def test_tokens_that_lead_to_nothing_that_can_be_shown_are_not_allowed():
    tree = TokenTree(CODES, 4)
    available = torch.tensor([[True, True, False, False, False], [False, False, True, True, True]])
    open_nodes = tree.open_nodes(available)
    assert open_nodes[0].tolist() == [[True, False, True], [True, True, True]]
    assert open_nodes[1].tolist() == [[False, True, False, False, True], [True, False, True, True, False]]
    first = tree.allowed(open_nodes, 0, torch.zeros(2, 1, dtype=torch.long))
    assert first[:, 0].int().tolist() == [[1, 0, 0, 1], [1, 0, 1, 1]]
    after = tree.allowed(open_nodes, 1, torch.tensor([[0, 2], [2, 0]]))  # after 0 and 3, and the other way round
    assert after.int().tolist() == [[[0, 0, 0, 1], [0, 1, 0, 0]], [[1, 0, 0, 0], [0, 1, 0, 0]]]
