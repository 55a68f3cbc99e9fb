import numpy as np
import pytest

from recsim_hrl.semantic_ids import SemanticIds

TERNARY = np.array([[[-9], [0], [9]], [[-3], [0], [3]], [[-1], [0], [1]]], np.float32)
"""Three levels of three tokens on a line: each whole number from -13 to 13 is the sum of exactly one code."""


@pytest.fixture
def ternary():
    """Ids of the numbers -13, -12, ..., 13 in this order: all 27 codes, the first (0, 0, 0), the last (2, 2, 2)."""
    codes = np.stack(np.unravel_index(np.arange(27), (3, 3, 3)), -1).astype(np.int32)
    return SemanticIds(TERNARY, codes)
