"""Torch's side of :mod:`recsim_hrl.simulator.backend`, apart from it so that environments need not import torch."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import silu


class Torch:
    """Tensors on the processor."""

    @staticmethod
    def place(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values)

    @staticmethod
    def take(values: Tensor, index: Tensor) -> Tensor:
        return values.index_select(0, index)

    @staticmethod
    def join(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat(tuple(parts), 1)

    @staticmethod
    def silu(values: Tensor) -> Tensor:
        return silu(values, inplace=True)

    @staticmethod
    def softmax(logits: Tensor) -> Tensor:
        return logits.softmax(0)
