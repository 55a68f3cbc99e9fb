"""What SB3's own training loop needs from us: it feeds a learning curve, and leaves the global generators alone."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback

from recsim_hrl_agents.loop import Curve, SessionTotals

SETTINGS_IN_LOG = ("n_updates", "learning_rate", "clip_range")
"""What SB3 logs beside its metrics."""


class CurveCallback(BaseCallback):
    """Feeds a learning curve from SB3's loop."""

    def __init__(self, curve: Curve) -> None:
        super().__init__()
        self._curve = curve
        self._totals: SessionTotals | None = None

    def _on_step(self) -> bool:
        infos, ended = self.locals["infos"], self.locals["dones"]
        if self._totals is None:
            self._totals = SessionTotals(len(infos))
        values = {key: np.array([info[key] for info in infos]) for key in ("click_reward", "order_reward")}
        # SB3's infos are those of the step itself, so they serve as the final ones too.
        sessions = self._totals.add(self.locals["rewards"], values | {"final_info": values}, ended)
        metrics = {
            key.removeprefix("train/"): float(value)
            for key, value in self.logger.name_to_value.items()
            if key.startswith("train/") and key.removeprefix("train/") not in SETTINGS_IN_LOG
        }
        self._curve.add(self.num_timesteps, sessions, metrics)
        return True

    def _on_training_end(self) -> None:
        self._curve.finish(self.num_timesteps)


@contextmanager
def global_generators_kept() -> Iterator[None]:
    """SB3 seeds and draws from the global generators: give them back as they were."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
