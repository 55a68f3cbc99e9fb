"""The tree of semantic ids: which tokens may follow which, given what can be shown."""

import numpy as np
import torch
from torch import Tensor


class TokenTree:
    """Codes of P items, all different, as a tree whose leaves are the items.

    A *node* of depth l is a prefix of l tokens that some item has; the only node of depth 0 is the empty prefix. Nodes
    of a depth are numbered in the order of their tokens.

    Args:
        codes: (P, L) tokens of each item.
        tokens: V, tokens to choose from at each level.

    Shapes: ``n_l`` nodes of depth l, n_0 = 1 and n_L = P.
    """

    def __init__(self, codes: Tensor, tokens: int) -> None:
        codes = codes.numpy()
        self.tokens, self.levels = tokens, codes.shape[1]
        self.nodes = [torch.zeros(len(codes), dtype=torch.long)]
        """Node of each item (P,) at depths 0 to L."""
        self.parents: list[Tensor] = []
        """Node of depth l (n_{l + 1},) above each of depth l + 1."""
        self.last: list[Tensor] = []
        """Token (n_{l + 1},) that ends each prefix of length l + 1."""
        self.children: list[Tensor] = []
        """Node of depth l + 1 (n_l, V) that each token leads to; n_{l + 1} where it leads nowhere."""
        for level in range(self.levels):
            prefixes, nodes = np.unique(codes[:, : level + 1], axis=0, return_inverse=True)
            parents = np.empty(len(prefixes), np.int64)
            parents[nodes.ravel()] = self.nodes[level].numpy()
            children = np.full((int(parents.max()) + 1, tokens), len(prefixes))
            children[parents, prefixes[:, -1]] = np.arange(len(prefixes))
            self.nodes.append(torch.from_numpy(nodes.ravel().astype(np.int64)))
            self.parents.append(torch.from_numpy(parents))
            self.last.append(torch.from_numpy(np.ascontiguousarray(prefixes[:, -1])))
            self.children.append(torch.from_numpy(children))
        self.items = torch.argsort(self.nodes[-1])
        """Item (P,) of each leaf."""

    def open_nodes(self, available: Tensor) -> list[Tensor]:
        """For depths 1 to L, (B, n_l) bool: whether an item that is ``available`` (B, P) has the prefix."""
        found = [available[:, self.items]]  # (B, P)
        for parents in self.parents[:0:-1]:
            counts = torch.zeros(len(available), int(parents[-1]) + 1)
            found.append(counts.index_add_(1, parents, found[-1].float()) > 0)  # (B, n_l)
        return found[::-1]

    def allowed(self, open_nodes: list[Tensor], level: int, nodes: Tensor) -> Tensor:
        """(B, n, V) bool, which tokens may follow the prefixes ``nodes`` (B, n) of depth ``level``."""
        is_open = open_nodes[level]  # (B, n_{l + 1})
        is_open = torch.cat([is_open, torch.zeros_like(is_open[:, :1])], 1)  # the last stands for "leads nowhere"
        children = self.children[level][nodes]  # (B, n, V)
        return is_open.gather(1, children.flatten(1)).view(children.shape)
