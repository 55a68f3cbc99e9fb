"""Writes the world's log: visits of users to the shop under its behaviour policy, in bounded memory.

Visits are numbered in order of time. Visit ``v`` belongs to a user drawn by a counter-based key, so users come back,
and any visit can be generated again without the others.
"""

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recsim_hrl import random
from recsim_hrl.data.behaviour import Behaviour, BehaviourConfig
from recsim_hrl.data.world import World
from recsim_hrl.data.writer import LogWriter

_USER, _PATIENCE, _ITEM = range(50, 53)  # random streams of a visit, and of the item redraws
_TACTIC, _SWITCH, _CATEGORY, _RESPONSE, _LEAVE = range(5)  # random streams of a step
_STREAMS = 5
MEAN_LENGTH = 46.5
VISITS_PER_USER = 2.2
START_TIME = 1_533_686_400  # 8 August 2018, the first day of the paper's log
DAYS = 5


@dataclass(frozen=True)
class Impressions:
    """Impressions in log order, one row each."""

    session: Tensor
    step: Tensor
    user: Tensor
    item: Tensor
    response: Tensor
    propensity: Tensor
    tactic: Tensor


def simulate_visits(
    world: World, config: BehaviourConfig, sessions: Tensor, user_pool: int, seed: int = 0
) -> Impressions:
    """All impressions of the visits numbered ``sessions`` (S,), whose users come from ``user_pool`` users."""
    behaviour = Behaviour(world, config)
    key = _visit_key(sessions, seed)  # (S,)
    users = random.integers(random.mix(key, _USER), user_pool)  # (S,)
    patience = patience_of(config, sessions, seed)  # (S,)
    alive = torch.arange(len(sessions))
    state = world.initial(world.users(users))
    clicks = torch.zeros(len(sessions), world.config.categories)
    left = torch.bincount(world.category).expand(len(sessions), -1)  # (S, K)
    last = torch.full((len(sessions),), -1)
    tactic = torch.zeros(len(sessions), dtype=torch.int64)
    shown = torch.full((len(sessions), config.max_length), -1, dtype=torch.int32)
    rows: list[tuple[Tensor, ...]] = []
    for step in range(min(config.max_length, world.config.items)):
        step_key = random.mix(key[alive], 100 + step)  # (B,)
        draws = random.uniform(random.mix(step_key.unsqueeze(1), torch.arange(_STREAMS)))  # (B, streams)
        switch = draws[:, _SWITCH] < (1.0 if step == 0 else 1.0 / config.stretch)
        tactic = torch.where(switch, behaviour.tactic(draws[:, _TACTIC]), tactic)
        category_probs = behaviour.category_probs(tactic, clicks, last, left, state)  # (B, K)
        last = random.sample(category_probs, draws[:, _CATEGORY])
        item, within = behaviour.items(tactic, last, shown[:, :step], random.mix(step_key, _ITEM))
        propensity = (category_probs.gather(1, last.unsqueeze(1)).squeeze(1) * within).clamp_max(1.0)  # rounding
        response = random.sample(world.probs(state, item.unsqueeze(1))[:, 0], draws[:, _RESPONSE])
        rows.append((alive, torch.full_like(alive, step), item, response, propensity, tactic))
        state = world.update(state, item, response)
        clicks = behaviour.remember(clicks, item, response)
        left = left - torch.nn.functional.one_hot(last, left.shape[1])
        shown[:, step] = item.to(torch.int32)
        stays = draws[:, _LEAVE] >= leave_chance(config, patience[alive], state.trust_shift)
        alive, clicks, left, last, tactic, shown = (x[stays] for x in (alive, clicks, left, last, tactic, shown))
        state = state.take(stays)
        if len(alive) == 0:
            break
    place, steps, item, response, propensity, tactic = (torch.cat(column) for column in zip(*rows, strict=True))
    order = torch.argsort(place * config.max_length + steps)
    place = place[order]
    return Impressions(
        sessions[place], steps[order], users[place], item[order], response[order], propensity[order], tactic[order]
    )


def _visit_key(sessions: Tensor, seed: int) -> Tensor:
    """(S,) what all draws of each visit come from."""
    return random.mix(random.mix(torch.tensor(seed), 11), sessions)


def patience_of(config: BehaviourConfig, sessions: Tensor, seed: int) -> Tensor:
    """(S,) how patient the user is in each of the visits numbered ``sessions``, which no log records."""
    return torch.exp(config.patience_spread * random.normal(random.mix(_visit_key(sessions, seed), _PATIENCE)))


def leave_chance(config: BehaviourConfig, patience: Tensor, trust_shift: Tensor) -> Tensor:
    """Chance of leaving after an impression, for ``patience`` and ``trust_shift`` that broadcast.

    It depends on how trust moved, which the log tells, so who stays says nothing about hidden taste.
    """
    return (config.leave_rate / patience).clamp_max(1.0) * torch.exp(-config.trust_leaving * trust_shift)


def write_log(
    world: World,
    path: str | Path,
    impressions: int = 4_000_000,
    seed: int = 0,
    config: BehaviourConfig | None = None,
    batch: int = 8192,
) -> Path:
    """Write a log of about ``impressions`` rows to the folder ``path``; whole visits, so a little more.

    Memory stays within that of one batch of visits, whatever the length of the log.
    """
    config = config or BehaviourConfig()
    visits = impressions / MEAN_LENGTH
    user_pool = max(1, round(visits / VISITS_PER_USER))
    configs = {"world": asdict(world.config), "behaviour": asdict(config)}
    about = {"source": "recsim_hrl.data.world", **configs, "seed": seed}
    written, first = 0, 0
    with (
        LogWriter(path, world.catalogue, metadata=about) as writer,
        tqdm(total=impressions, desc="impressions", unit_scale=True, disable=None) as bar,
    ):
        while written < impressions:
            want = max(16, min(batch, math.ceil((impressions - written) / MEAN_LENGTH)))
            part = simulate_visits(world, config, torch.arange(first, first + want), user_pool, seed)
            writer.append(_columns(part, impressions, config))
            written, first = written + len(part.step), first + want
            bar.update(len(part.step))
    return Path(path)


def _columns(part: Impressions, impressions: int, config: BehaviourConfig) -> dict[str, np.ndarray]:
    start = START_TIME + part.session.double() * (DAYS * 86_400 * MEAN_LENGTH / impressions)
    return {
        "session_id": part.session.numpy(),
        "step": part.step.numpy(),
        "user_id": part.user.numpy(),
        "item_index": part.item.numpy(),
        "response": part.response.numpy(),
        "timestamp": (start + 3.0 * part.step).long().numpy(),
        "propensity": part.propensity.numpy(),
        "context_tactic": part.tactic.numpy(),
    }
