"""What fitting and judging ask of a response model, whatever its form."""

import torch
from torch import Tensor, nn

from recsim_hrl.types import R


class SessionModel(nn.Module):
    """Logits of every impression of whole sessions, with a scale and a shift that the calibration sets.

    A subclass writes :meth:`session_logits` and passes what it finds through :meth:`calibrated`.
    """

    def __init__(self) -> None:
        super().__init__()
        # Calibration on held-out sessions: logits are multiplied by the scale, then shifted (see fit.calibrate).
        self.register_buffer("logit_scale", torch.ones(1))
        self.register_buffer("logit_shift", torch.zeros(R))

    def calibrated(self, logits: Tensor) -> Tensor:
        """(..., R) ``logits`` (..., R) after the calibration."""
        return logits * self.logit_scale + self.logit_shift

    def begin_with_categories(self, embeddings: Tensor, categories: Tensor) -> None:
        """Take over what the catalogue knows of the items before the fit begins; nothing by default.

        Args:
            embeddings: (I, D) of the catalogue.
            categories: (I,) of the catalogue.
        """

    def session_logits(self, embeddings: Tensor, responses: Tensor, present: Tensor, border: int) -> Tensor:
        """Logits of every impression of whole sessions, each given those before it.

        Args:
            embeddings: (B, L, D) items of the previous visit (the first ``border`` places), then of the session.
            responses: (B, L) what the user did.
            present: (B, L) float, 0 where there is no impression.
            border: Places that belong to the previous visit, right-aligned; 1 or more.

        Returns:
            (B, L - border, R) logits of the session's impressions.
        """
        raise NotImplementedError


@torch.no_grad()
def let_kinds_be_categories(to_kinds: nn.Linear, embeddings: Tensor, categories: Tensor) -> None:
    """Let ``to_kinds`` say that an item is of kind k where its embedding is nearest to the mean of category k.

    Kinds beyond the last category are left without items. With a single category, or with more of them than kinds, all
    kinds keep their random weights.

    Args:
        to_kinds: From D numbers to K kinds.
        embeddings: (I, D) of the catalogue.
        categories: (I,) of the catalogue.
    """
    present, category = categories.unique(return_inverse=True)
    size = len(present)
    if not 1 < size <= to_kinds.out_features:
        return
    means = torch.zeros(size, embeddings.shape[1]).index_add_(0, category, embeddings)
    means = means / torch.bincount(category).unsqueeze(1)
    spread = (embeddings - means[category]).square().mean().clamp_min(1e-6)  # of an entry, within a category
    to_kinds.weight.zero_()
    to_kinds.bias.fill_(_NEVER)
    to_kinds.weight[:size] = means / spread
    to_kinds.bias[:size] = -0.5 * means.square().sum(1) / spread


_NEVER = -1e4  # logit of a kind without items
