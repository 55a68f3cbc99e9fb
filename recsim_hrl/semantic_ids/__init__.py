"""Semantic ids: a few tokens, coarse to fine, that name one item each; ``docs/semantic_ids.md`` shows them at work."""

from recsim_hrl.semantic_ids.fit import SemanticIdConfig, fit_semantic_ids
from recsim_hrl.semantic_ids.ids import SemanticIdError, SemanticIds
from recsim_hrl.semantic_ids.metrics import IdMetrics, measure_ids
from recsim_hrl.semantic_ids.store import load_semantic_ids, save_semantic_ids

__all__ = [
    "IdMetrics",
    "SemanticIdConfig",
    "SemanticIdError",
    "SemanticIds",
    "fit_semantic_ids",
    "load_semantic_ids",
    "measure_ids",
    "save_semantic_ids",
]
