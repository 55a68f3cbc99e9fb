"""What each slot of a slate has brought: the request's reward, shared out by the answers."""

import torch
from torch import Tensor

from recsim_hrl.types import R as ANSWERS

_RIDGE = 1e-3


class SlotRewards:
    """Learns what an answer pays by least squares, from the rewards of requests and how often each answer was given.

    Where rewards add up over the answers, as most rules have it, this is exact after a few requests. What an estimate
    misses is shared equally by the slots, so that the slots' rewards always sum to the request's. A slot that was not
    seen is an answer of its own.
    """

    def __init__(self) -> None:
        self._products = _RIDGE * torch.eye(ANSWERS + 1, dtype=torch.double)  # X^T X of the counts X
        self._rewards = torch.zeros(ANSWERS + 1, dtype=torch.double)  # X^T r

    def add(self, responses: Tensor, is_seen: Tensor, rewards: Tensor) -> None:
        """Learn from requests: answers (S, K), whether slots were seen (S, K), and rewards (S,)."""
        counts = _answers(responses, is_seen).sum(1)  # (S, A + 1)
        self._products += counts.T @ counts
        self._rewards += counts.T @ rewards.double()

    @property
    def paid(self) -> Tensor:
        """(A + 1,) what a skip, a click, an order and an unseen slot pay."""
        return torch.linalg.solve(self._products, self._rewards).float()

    def share(self, responses: Tensor, is_seen: Tensor, rewards: Tensor) -> Tensor:
        """(S, K) the slots' parts of the rewards (S,)."""
        own = _answers(responses, is_seen).float() @ self.paid  # (S, K)
        return own + (rewards - own.sum(1)).unsqueeze(1) / own.shape[1]

    def gains(self, responses: Tensor, is_seen: Tensor) -> Tensor:
        """(S, K) by how much each answer pays more than a skip; 0 where it does not, and where nobody looked."""
        paid = self.paid
        more = (paid[:ANSWERS] - paid[0]).clamp_min(0.0)[responses]  # (S, K)
        return more * is_seen


def _answers(responses: Tensor, is_seen: Tensor) -> Tensor:
    """(S, K, A + 1) float64: 1 for the answer of each slot, the last of which is not to have been seen."""
    kinds = torch.where(is_seen, responses, ANSWERS)  # (S, K)
    return torch.nn.functional.one_hot(kinds, ANSWERS + 1).double()
