"""Tells at each step how much of what users meet the log has taught the simulator."""

from __future__ import annotations

import numpy as np

from recsim_hrl.simulator.core import SessionCore
from recsim_hrl.simulator.folder import SimulatorError
from recsim_hrl.simulator.support import CATEGORY_WINDOW, CLICK_WINDOW, ENOUGH, GOODNESS_WINDOW
from recsim_hrl.simulator.tables import SessionState
from recsim_hrl.types import CLICK


class SupportReport:
    """Counts, for ``size`` users, the impressions of the log that are of the sort of the last one of each.

    Args:
        core: The task's core; each of its simulators must hold the counts of its log.
        size: Number of users.

    Raises:
        SimulatorError: if a simulator holds no counts.
    """

    def __init__(self, core: SessionCore, size: int) -> None:
        for data in core.simulators:
            if data.support is None:
                raise SimulatorError(
                    f"report_support: got the simulator {data.name!r}, which does not hold what its log covers, "
                    "allowed one that does; add it with `recsim-hrl support FOLDER --log LOG`, or fit it again"
                )
        self.answers = np.zeros((size, core.config.session_length), np.int8)  # (B, T) responses, as `shown` has items

    def tell(self, core: SessionCore, state: SessionState, responses: np.ndarray) -> dict[str, np.ndarray]:
        """Note the ``responses`` (B,) of the step that led to ``state``; what the log holds of such impressions.

        Returns:
            ``support`` (B,) int64, impressions in the log of the session's simulator, and ``is_supported`` (B,) bool,
            whether they are enough to learn from.
        """
        rows, last = np.arange(len(responses)), state.step - 1
        self.answers[rows, last] = responses
        places = last[:, None] - np.arange(CLICK_WINDOW + 1)  # (B, W) the present impression, then those before
        inside, places = places >= 0, np.maximum(places, 0)
        items = core.candidates[np.take_along_axis(state.shown, places, 1)]  # (B, W)
        category, near = core.catalogue.categories[items[:, : CATEGORY_WINDOW + 1]], inside[:, 1 : CATEGORY_WINDOW + 1]
        same = ((category[:, 1:] == category[:, :1]) & near).sum(1)
        clicks = ((np.take_along_axis(self.answers, places, 1) >= CLICK) & inside)[:, 1:].sum(1)
        latest, counted = items[:, :GOODNESS_WINDOW], inside[:, :GOODNESS_WINDOW]
        found, member = np.empty(len(rows), np.int64), core.whose(state).get("simulator_index", np.zeros_like(rows))
        for place, data in enumerate(core.simulators):
            of = np.flatnonzero(member == place)
            # Items that came later are unknown to the log.
            known = np.append(data.support.goodness.astype(np.float64), np.nan)
            goodness = np.where(counted[of], known[np.minimum(latest[of], len(known) - 1)], 0.0).sum(1)
            goodness /= counted[of].sum(1)
            found[of] = data.support.counts[data.support.cells(same[of], clicks[of], goodness, last[of])]
        return {"support": found, "is_supported": found >= ENOUGH}
