"""What a log tells of a simulator beyond the measures of :mod:`.measures`, true world or not."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from recsim_hrl.simulator.coverage import Coverage
from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.validity.disagreement import Disagreement, PlayConfig, disagreement
from recsim_hrl.simulator.validity.log_sample import LogSample
from recsim_hrl.simulator.validity.measures import item_rates
from recsim_hrl.simulator.validity.off_policy import OffPolicyValue, off_policy_values
from recsim_hrl.simulator.validity.replay import free_run
from recsim_hrl.simulator.validity.segments import Segmentation, segmentations
from recsim_hrl.simulator.validity.session_features import past_features
from recsim_hrl.simulator.validity.trajectories import Trajectories, trajectories
from recsim_hrl.simulator.validity.two_samples import Discrimination, one_step, whole_sessions

CLOSER = 5000
"""Sessions, at the most, that classifiers learn from and that are played again."""


@dataclass(frozen=True)
class Evidence:
    """The sections of a report that need no true world."""

    segments: tuple[Segmentation, ...]
    trajectories: Trajectories
    one_step: Discrimination
    one_step_of_items: Discrimination
    """The same test of a predictor that knows the items' rates and nothing of the user, to compare with."""
    whole: Discrimination
    off_policy: tuple[OffPolicyValue, ...]
    """Empty for a log without propensities."""
    disagreement: Disagreement
    rows: int
    """Impressions of the whole log."""

    def to_json(self) -> dict[str, Any]:
        """All fields; sections by name."""
        content = asdict(self)
        names = ("one_step", "one_step_of_items", "whole")
        return {"two_samples": {name: content.pop(name) for name in names}} | content


def gather(
    simulator: Simulator,
    sample: LogSample,
    coverage: Coverage,
    others: Sequence[Simulator] = (),
    play: PlayConfig | None = None,
    seed: int = 0,
    report: Callable[[str], None] = print,
) -> Evidence:
    """Look at everything.

    Args:
        simulator: Is judged.
        sample: Of a log, with its predictions.
        coverage: What the log covers.
        others: Simulators of the same catalogue that were fitted to other sessions.
        play: How policies play in the simulator.
        seed: Of all draws.
        report: Receives one line per section, with the time that it took.
    """
    categories, counts = simulator.catalogue.categories.numpy(), simulator.item_counts.numpy()

    def timed(name: str, section: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        found = section()
        report(f"{name}: {time.perf_counter() - start:.1f} s")
        return found

    closer = sample.thinned(CLOSER)
    segments = timed("segments", lambda: segmentations(sample, counts.sum(1), seed))
    free = timed("sessions played again", lambda: free_run(simulator, sample.sequences, closer.sessions, seed))
    curves = timed("trajectories", lambda: trajectories(closer, free, categories, seed))
    past = past_features(closer, simulator.catalogue.embeddings.numpy(), categories, counts)
    rates = item_rates(counts)[closer.item]  # (n, R)
    told, told_items = timed(
        "classifier, one step", lambda: [one_step(closer, past, probs, seed) for probs in (closer.probs, rates)]
    )
    whole = timed("classifier, whole sessions", lambda: whole_sessions(closer, free, categories, seed))
    values = ()
    if sample.propensity is not None:
        values = timed("off-policy values", lambda: off_policy_values(simulator, sample, seed))
    apart = timed("disagreement", lambda: disagreement([simulator, *others], closer, coverage, play))
    rows = len(sample.sequences.items)
    return Evidence(segments, curves, told, told_items, whole, values, apart, rows)
