"""Fits a leave model to where the sessions of a log end: maximum likelihood, early stopping on held-out sessions.

Sessions are played some at a time, in a random order, and no pass keeps what it has seen, so memory does not grow with
the log.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from recsim_hrl.simulator.early_stopping import Best, is_stale, one_cycle, split_sessions
from recsim_hrl.simulator.leave_log import Moments, Player, end_losses, longest_of
from recsim_hrl.simulator.leaving import FURTHEST, LeaveModel
from recsim_hrl.simulator.sequences import Sequences
from recsim_hrl.simulator.weights import ResponseWeights
from recsim_hrl.types import Catalogue

_ROUNDING = 1e-6


@dataclass(frozen=True)
class LeaveConfig:
    """How a leave model is fitted."""

    passes: int = 4
    """Passes over the training sessions at the most."""
    patience: int = 2
    """Passes without improvement on held-out sessions after which the fit stops."""
    learning_rate: float = 1e-2
    """Peak of the one-cycle schedule."""
    batch: int = 20_000
    """Impressions in a batch."""
    impressions: int = 4_000_000
    """At most so many are learned from, of sessions drawn at random: more teach little and take as long again."""
    hidden: int = 0
    """Units of the hidden layer; 0 for a logistic regression, which foretells the world's log as well."""
    held_out: float = 0.05
    """Share of sessions held out for early stopping; with one seed, those that the response model's fit holds out."""
    longest: int | None = None
    """Sessions of so many impressions or more were cut by the log, so nobody left at their end; None finds out."""
    seed: int = 0
    """Draws the initial weights, the order of the sessions and the held-out ones."""

    def __post_init__(self) -> None:
        for name in ("passes", "patience", "batch", "impressions"):
            if getattr(self, name) < 1:
                raise ValueError(f"leaving {name}: got {getattr(self, name)}, allowed 1 or more")
        if self.hidden < 0:
            raise ValueError(f"leaving hidden: got {self.hidden}, allowed 0 or more")
        if not 0.0 < self.held_out < 1.0:
            raise ValueError(f"leaving held_out: got {self.held_out}, allowed between 0 and 1, both excluded")
        if self.learning_rate <= 0:
            raise ValueError(f"leaving learning_rate: got {self.learning_rate}, allowed above 0")
        if self.longest is not None and self.longest < 1:
            raise ValueError(f"leaving longest: got {self.longest}, allowed None or 1 or more")


class _Learner(nn.Module):
    """A :class:`LeaveModel` while it learns; it begins as the constant hazard."""

    def __init__(self, sample: Moments, rate: float, hidden: int) -> None:
        super().__init__()
        inputs = _inputs(sample)  # (n, X)
        centre, spread = inputs.mean(0), inputs.std(0)
        self.register_buffer("centre", centre)
        # An input that never changes spreads by rounding alone, which must not be blown up.
        self.register_buffer("scale", torch.where(spread > _ROUNDING * (1.0 + centre.abs()), spread, 1.0))
        size = inputs.shape[1]
        self.direct = nn.Parameter(torch.zeros(size))
        self.first = nn.Parameter(torch.randn(size, hidden) * size**-0.5)
        self.first_bias, self.last = nn.Parameter(torch.zeros(hidden)), nn.Parameter(torch.zeros(hidden))
        self.bias = nn.Parameter(torch.logit(torch.tensor([rate]), eps=_ROUNDING))

    def forward(self, inputs: Tensor) -> Tensor:
        """(n,) logits from ``inputs`` (n, X)."""
        scaled = ((inputs - self.centre) / self.scale).clamp(-FURTHEST, FURTHEST)
        layer = nn.functional.silu(scaled @ self.first + self.first_bias)  # (n, H)
        return self.bias + scaled @ self.direct + layer @ self.last

    def model(self) -> LeaveModel:
        """Its weights as they are now."""
        return LeaveModel(**{name: value.double().numpy() for name, value in self.state_dict().items()})


def _inputs(moments: Moments) -> Tensor:
    """(n, X) what a leave model reads."""
    steps = np.log1p(moments.steps).astype(np.float32)
    return torch.from_numpy(np.concatenate([moments.whole, steps[:, None], np.square(steps)[:, None]], 1))


def first_of(lengths: np.ndarray, impressions: int) -> int:
    """How many sessions with these ``lengths`` (S,), taken from the first on, hold so many ``impressions``, or all."""
    return min(len(lengths), 1 + int(np.searchsorted(np.cumsum(lengths), impressions)))


def fit_leaving(
    weights: ResponseWeights,
    catalogue: Catalogue,
    sequences: Sequences,
    config: LeaveConfig,
    log: Callable[[str], None] = print,
) -> tuple[LeaveModel | None, dict]:
    """Fit a leave model to the ends of ``sequences``; returns it with the history of the fit.

    Args:
        weights: Of the response model that keeps the users' memory.
        catalogue: The items.
        sequences: The sessions.
        config: How to fit.
        log: Receives one line per pass.

    Returns:
        The model, or None where no training session ends by itself, as all have the same length; and the history.
    """
    longest = config.longest or longest_of(sequences.lengths)
    history: dict = {"longest": longest, "passes": []}
    generator = np.random.default_rng((config.seed, 3))
    training, held = split_sessions(len(sequences), config)
    training = generator.permutation(training)
    training = training[: first_of(sequences.lengths[training], config.impressions)]
    ended = np.count_nonzero(sequences.lengths[training] < (longest or np.inf))
    if not ended:
        log("leaving: no session ends by itself, so there is no leave model")
        return None, history
    player, impressions = Player(weights, catalogue, sequences, longest), int(sequences.lengths[training].sum())
    sample = next(player.blocks(training))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        learner = _Learner(sample, ended / impressions, config.hidden)
    optimizer = torch.optim.Adam(learner.parameters(), lr=config.learning_rate)
    schedule = one_cycle(config.passes * math.ceil(impressions / config.batch))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    best = Best()
    for number in range(config.passes + 1):  # before the first, the hazard is constant
        if number:
            for inputs, ends in _batches(player, training, config.batch, generator):
                optimizer.zero_grad()
                binary_cross_entropy_with_logits(learner(inputs), ends).backward()
                optimizer.step()
                scheduler.step()
        loss = leave_loss(learner.model().hazards, player, held)
        best.offer(loss, learner)
        history["passes"].append({"pass": number, "held_out_log_loss": loss})
        log(f"leaving, pass {number}/{config.passes}: log-loss held out {loss:.6f}")
        if is_stale(history["passes"], config.patience):
            break
    learner.load_state_dict(best.weights)
    return learner.model(), history


def _batches(
    player: Player, sessions: np.ndarray, size: int, generator: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs (n, X) and ends (n,) of all impressions of ``sessions``, in a random order, about ``size`` at a time."""
    for moments in player.blocks(generator.permutation(sessions)):
        inputs, ends = _inputs(moments), torch.from_numpy(moments.ends.astype(np.float32))
        order = torch.from_numpy(generator.permutation(len(ends)))
        for rows in order.chunk(max(1, round(len(ends) / size))):
            yield inputs[rows], ends[rows]


def leave_loss(hazards: Callable[[np.ndarray, np.ndarray], np.ndarray], player: Player, sessions: np.ndarray) -> float:
    """Mean negative log-likelihood per impression of where ``sessions`` end, under ``hazards(whole, steps)``."""
    total, impressions = 0.0, 0
    for moments in player.blocks(sessions):
        chance = hazards(moments.whole, moments.steps)
        total += end_losses(chance, moments.ends).sum()
        impressions += len(chance)
    return float(total / impressions)
