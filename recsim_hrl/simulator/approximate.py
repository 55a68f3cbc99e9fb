"""The nearest candidate by an approximate index (faiss), for those who accept a wrong one now and then.

Items lie in cells, and only the ``PROBES`` cells nearest to an action are searched. An actor's actions are far from all
items, where the right cell is often another: `docs/catalogues.md` says how often, and how fast it is.
"""

import numpy as np

from recsim_hrl.simulator.nearest import Candidates

PROBES = 64
ITEMS_OF_A_CELL = 256
TRAINED_ON = 100_000
"""Items that the cells are found from, at the most."""


class ApproximateSearch:
    """An index of the candidates that can be shown.

    Args:
        candidates: What is searched.
        probes: Cells that are searched; more find the nearest more often.

    Raises:
        ValueError: if faiss is not installed.
    """

    def __init__(self, candidates: Candidates, probes: int = PROBES) -> None:
        try:
            import faiss
        except ImportError as error:
            raise ValueError(
                'search="approximate": needs faiss, which is not installed; `pip install recsim-hrl[ann]`, or leave '
                'search="exact"'
            ) from error
        self.places = np.flatnonzero(candidates.open)  # (n,)
        directions = np.ascontiguousarray(candidates.directions[self.places])  # (n, D)
        cells = max(1, len(directions) // ITEMS_OF_A_CELL)
        quantizer = faiss.IndexFlatIP(directions.shape[1])
        self._index = faiss.IndexIVFFlat(quantizer, directions.shape[1], cells, faiss.METRIC_INNER_PRODUCT)
        self._index.nprobe = min(probes, cells)
        sample = np.random.default_rng(0).permutation(len(directions))[:TRAINED_ON]
        self._index.train(directions[np.sort(sample)])
        self._index.add(directions)

    def find(self, vectors: np.ndarray, shown: np.ndarray, step: np.ndarray) -> np.ndarray:
        """(B,) the best candidate found for ``vectors`` (B, D) of those not among the first ``step`` (B,) ``shown``
        (B, T); -1 where none was found."""
        wanted = min(int(step.max(initial=0)) + 1, len(self.places))
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        _, found = self._index.search(vectors / np.maximum(lengths, 1e-30), wanted)  # (B, wanted), -1 where too few
        found = np.where(found < 0, -1, self.places[found])
        seen = np.where(np.arange(shown.shape[1]) < step[:, None], shown, -2)  # (B, T)
        usable = (found[:, :, None] != seen[:, None]).all(2) & (found >= 0)  # (B, wanted)
        return np.where(usable.any(1), found[np.arange(len(found)), usable.argmax(1)], -1)
