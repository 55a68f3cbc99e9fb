"""Settings of agents of slates: those that are tried, as many for each, and those that won.

``python -m benchmarks.tuning --family slates`` tries them; a test holds the winners to its committed table.
"""

from typing import Any

SLATE_TRIALS: dict[str, tuple[dict[str, Any], ...]] = {}
"""Settings that are tried, as many for each agent; every trial names all that any trial of its agent varies."""

SLATE_WINNERS: dict[str, int] = {}
"""Which trial of each agent won; one that is not here has its defaults."""


def slate_settings(agent: str) -> dict[str, Any]:
    """What differs from the defaults of ``agent`` in a benchmark of slates."""
    return SLATE_TRIALS[agent][SLATE_WINNERS[agent]] if agent in SLATE_WINNERS else {}
