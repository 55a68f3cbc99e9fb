"""A two-sample classifier test: how well can a model tell simulated responses from real ones?

The classifier is given pairs, of which one is real and one simulated, and picks the real one. Half of its picks are
right by chance alone; that share is the area under its ROC curve over matched pairs. It is trained on some users and
judged on others.

*One step*: the two of a pair share the real session so far and the item; one has the real response, the other one that
is drawn from the prediction. A perfect simulator gives 50%, whatever policy wrote the log. Most pairs are equal, so the
share has a plain meaning: twice what it exceeds 50% by is the least share of responses that would have to be other
ones for nobody to see a difference.

*Whole sessions*: one has the real responses, the other those of the simulator running free on the same items. See
:mod:`recsim_hrl.simulator.validity.trajectories` for why a perfect simulator may be told apart here.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from recsim_hrl import random
from recsim_hrl.simulator.validity.intervals import Interval, UserBootstrap
from recsim_hrl.simulator.validity.log_sample import LogSample
from recsim_hrl.simulator.validity.session_features import response_features, standardised, whole_features

_HIDDEN, _BATCH, _ROUNDS, _PATIENCE = 32, 1024, 40, 4
_STREAM = 43


@dataclass(frozen=True)
class Discrimination:
    """How often a classifier picked the real one of a pair."""

    pairs: int
    differing: float
    """Share of the pairs whose two are not the same."""
    picked: Interval
    """Share of the pairs of which the real one was picked; ties count half. 0.5: cannot tell."""

    @property
    def told(self) -> Interval:
        """Twice what ``picked`` exceeds one half by: 0 cannot tell, 1 always can."""
        return Interval(*(2.0 * (value - 0.5) for value in (self.picked.value, self.picked.low, self.picked.high)))


def drawn(probs: np.ndarray, seed: int) -> np.ndarray:
    """(n,) responses drawn from ``probs`` (n, R)."""
    key = random.mix(random.mix(np.array([seed]), _STREAM), np.arange(len(probs)))
    return random.sample(probs, random.uniform(key))


def one_step(sample: LogSample, past: np.ndarray, probs: np.ndarray, seed: int = 0) -> Discrimination:
    """Real responses against responses drawn from ``probs``, after the same past.

    Args:
        sample: Of a log.
        past: (n, F) of :func:`recsim_hrl.simulator.validity.session_features.past_features`.
        probs: (n, R) predictions to be told from real users; the simulator's, or others to compare with.
        seed: Draws responses; divides users.
    """
    simulated = drawn(probs, seed)
    rows = np.flatnonzero(simulated != sample.response)
    pair = (response_features(past[rows], answers[rows]) for answers in (sample.response, simulated))
    return discriminate(*pair, rows, sample.users[sample.session], seed)


def whole_sessions(sample: LogSample, free: np.ndarray, categories: np.ndarray, seed: int = 0) -> Discrimination:
    """Real sessions against the ``free`` (n,) ones of the simulator on the same items.

    Args:
        sample: Of a log.
        free: (n,) responses of :func:`recsim_hrl.simulator.validity.replay.free_run`.
        categories: (I,) of the items.
        seed: Divides the users.
    """
    both = np.concatenate([whole_features(sample, answers, categories) for answers in (sample.response, free)])
    real, simulated = np.split(standardised(both), 2)
    rows = np.flatnonzero((real != simulated).any(1))
    return discriminate(real[rows], simulated[rows], rows, sample.users, seed)


def discriminate(
    real: np.ndarray, simulated: np.ndarray, rows: np.ndarray, user: np.ndarray, seed: int = 0
) -> Discrimination:
    """Train a classifier to tell the two of a pair apart; each half of the users is judged by one trained on the other.

    Args:
        real: (m, F) float32 features, of about unit size, of the pairs whose two differ.
        simulated: (m, F) of the other one of these pairs.
        rows: (m,) which of all pairs these are.
        user: (n,) whose pair each of all is, numbered from 0.
        seed: Divides the users, starts the networks and draws the users of the interval.
    """
    generator = np.random.default_rng(seed)
    users = int(user.max()) + 1
    fold = generator.permutation(users)[user[rows]] % 2  # (m,)
    margin = np.zeros(len(rows))
    for held_out in (0, 1):
        judged = fold == held_out
        scorer = _trained(real[~judged], simulated[~judged], user[rows[~judged]], seed + held_out)
        with torch.no_grad():
            margin[judged] = _margins(scorer, real[judged], simulated[judged]).numpy()
    picked = np.full(len(user), 0.5)  # of two that are the same, half are picked
    picked[rows] = 0.5 + np.sign(margin) / 2.0
    return Discrimination(len(user), len(rows) / len(user), UserBootstrap(user, seed).mean(picked))


class _Scorer(nn.Module):
    """A score for one of a pair; it starts at zero for all, so that one that learns nothing cannot tell."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.straight = nn.Linear(features, 1, bias=False)
        self.bent = nn.Sequential(nn.Linear(features, _HIDDEN), nn.Tanh(), nn.Linear(_HIDDEN, 1, bias=False))
        nn.init.zeros_(self.straight.weight)
        nn.init.zeros_(self.bent[2].weight)

    def forward(self, features: Tensor) -> Tensor:
        return (self.straight(features) + self.bent(features)).squeeze(-1)  # (b,)


def _margins(scorer: _Scorer, real: np.ndarray, simulated: np.ndarray) -> Tensor:
    return scorer(torch.from_numpy(real)) - scorer(torch.from_numpy(simulated))  # (b,)


def _trained(real: np.ndarray, simulated: np.ndarray, user: np.ndarray, seed: int) -> _Scorer:
    """The scorer that did best on a fifth of the users, which it was not trained on; ``user`` (m,) of each pair."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scorer = _Scorer(real.shape[1])
    generator = np.random.default_rng(seed)
    who = np.unique(user, return_inverse=True)[1]
    is_kept = generator.permutation(int(who.max(initial=0)) + 1)[who] % 5 == 0  # (m,)
    kept, learned = np.flatnonzero(is_kept), np.flatnonzero(~is_kept)
    if len(kept) == 0 or len(learned) == 0:
        return scorer
    optimiser = torch.optim.AdamW(scorer.parameters(), lr=3e-3, weight_decay=0.1)
    best, state, waited = _loss(scorer, real, simulated, kept), _copy(scorer), 0
    for _ in range(_ROUNDS):
        for batch in np.array_split(generator.permutation(learned), max(1, len(learned) // _BATCH)):
            loss = nn.functional.softplus(-_margins(scorer, real[batch], simulated[batch])).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        loss = _loss(scorer, real, simulated, kept)
        if loss < best:
            best, state, waited = loss, _copy(scorer), 0
        elif (waited := waited + 1) == _PATIENCE:
            break
    scorer.load_state_dict(state)
    return scorer


def _copy(scorer: _Scorer) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in scorer.state_dict().items()}


@torch.no_grad()
def _loss(scorer: _Scorer, real: np.ndarray, simulated: np.ndarray, rows: np.ndarray) -> float:
    return float(nn.functional.softplus(-_margins(scorer, real[rows], simulated[rows])).mean())
