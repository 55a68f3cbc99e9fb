"""What slates can show: each item once, a stretch of the stock that moves from session to session, tokens that stay."""

import itertools

import numpy as np
import pytest

from recsim_hrl.semantic_ids import SemanticIdConfig, fit_semantic_ids
from recsim_hrl.simulator.slate_config import SlateConfig
from recsim_hrl.simulator.slate_core import SlateCore
from recsim_hrl.simulator.store import random_simulator
from tests.simulator.test_slate_core import ACTIONS, actions_of, ids_of


def test_an_item_comes_once_in_a_session_and_only_if_it_is_on_offer():
    rng = np.random.default_rng(0)
    for action in ACTIONS:
        simulator = random_simulator(items=40)
        config = SlateConfig(5, 4, action=action, candidates=20, catalog_turnover=0.4, leave="never")
        core = SlateCore(simulator.data, config, ids_of(simulator))
        episodes = np.array([0, 3, 4, 5])  # 20 of 40 places from 0, 24, 32 and 0 on: all around the ring
        state, items = core.initial(np.arange(4), episodes), []
        for _ in range(4):
            before = core.is_open(state)
            outcome = core.step(state, actions_of(core, 4, rng)[[0, 0, 0, 0]])
            after = core.is_open(state)
            for row in range(4):
                shown = np.flatnonzero(before[row] & ~after[row])
                assert set(core.candidates[shown]) == set(outcome.item[row]) and not (after[row] & ~before[row]).any()
            items.append(outcome.item)
        stretches = [range(20), range(24, 44), range(32, 52), range(20)]
        for row, places in enumerate(stretches):
            offered = core.candidates[np.array(places) % 40]
            assert sorted(np.concatenate(items, 1)[row]) == sorted(offered)  # all 20 on offer, each once


def offers(core: SlateCore, sessions: int, seed: int = 0) -> list[set[int]]:
    """Catalogue indices on offer in the sessions of a seed."""
    found = []
    for episode in range(sessions):
        state = core.initial(np.array([seed]), np.array([episode]))
        found.append(set(core.candidates[np.flatnonzero(core.is_open(state)[0])].tolist()))
    return found


@pytest.mark.parametrize(
    ("turnover", "replaced"),
    [(0.1, [2] * 14), (0.05, [1] * 14), (0.075, [1, 2] * 7), (1.0, [20] * 14), (0.0, [0] * 14), (0.29, None)],
)
def test_so_many_are_replaced_from_session_to_session_the_oldest_first(turnover, replaced):
    data = random_simulator(items=50).data
    core = SlateCore(data, SlateConfig(2, 3, candidates=20, catalog_turnover=turnover))
    known = offers(core, 15)
    assert all(len(one) == 20 for one in known)
    ages = {item: 0 for item in known[0]}
    assert known[0] == set(data.recall_order[:20].tolist())
    counts = []
    for number, (before, now) in enumerate(itertools.pairwise(known)):
        gone, new = before - now, now - before
        assert len(gone) == len(new)
        counts.append(len(new))
        oldest = sorted(before, key=lambda item: (ages[item], list(core.candidates).index(item)))
        if number == 0:
            assert gone == set(oldest[: len(gone)])
        assert max((ages[item] for item in gone), default=0) <= min((ages[item] for item in before - gone), default=99)
        ages |= dict.fromkeys(new, number + 1)
    if replaced is None:  # 5.8 of 20: five or six, and 58 in ten sessions
        assert set(counts) == {5, 6} and sum(counts[:10]) == 58
    else:
        assert counts == replaced


def test_all_seeds_see_the_catalogue_of_a_time_and_it_may_start_later():
    data = random_simulator(items=50).data
    core, later = (
        SlateCore(data, SlateConfig(2, 3, candidates=20, catalog_turnover=0.15, catalog_start=begin))
        for begin in (0, 4)
    )
    assert offers(core, 9) == offers(core, 9, seed=77)
    assert offers(core, 13)[4:] == offers(later, 9)
    # Of 50 in the stock 3 come a session: after 50 of them the ring has turned three times.
    assert offers(core, 53)[50:] == offers(core, 3)
    assert offers(core, 12)[11] == set(core.candidates[np.r_[33:50, 0:3]].tolist())


def test_a_smaller_stock_is_the_first_of_the_recall_order():
    data = random_simulator(items=50).data
    core = SlateCore(data, SlateConfig(2, 3, candidates=20, stock=30, catalog_turnover=0.5))
    assert core.candidates.tolist() == data.recall_order[:30].tolist()
    assert [sorted(one) for one in offers(core, 3)] == [
        sorted(core.candidates[places].tolist()) for places in (np.r_[:20], np.r_[10:30], np.r_[20:30, :10])
    ]
    plain = SlateCore(data, SlateConfig(2, 3, candidates=20))
    assert plain.candidates.tolist() == data.recall_order[:20].tolist()
    whole = SlateCore(data, SlateConfig(2, 3, candidates=None))
    assert whole.candidates.tolist() == data.recall_order.tolist() and offers(whole, 1)[0] == set(range(50))


def test_tokens_stay_while_items_come_and_go():
    simulator = random_simulator(items=40)
    ids = ids_of(simulator)
    config = SlateConfig(2, 2, action="tokens", candidates=10, catalog_turnover=0.5, leave="never")
    core = SlateCore(simulator.data, config, ids)
    assert core.token_shape == (2, 16) == ids.codebooks.shape[:2]
    few = fit_semantic_ids(simulator.catalogue.embeddings.numpy(), SemanticIdConfig(levels=3, codes=60))
    assert SlateCore(simulator.data, config, few).token_shape == (3, 60)  # whether every token is used or not
    wanted = core.candidates[17]  # on offer from session 2 to session 3 (places 10 to 19, 15 to 24)
    logits = np.where(np.arange(16) == ids.codes[wanted][:, None], 9.0, -9.0).astype(np.float32)[None]
    for episode in range(5):
        state = core.initial(np.array([1]), np.array([episode]))
        first = core.step(state, logits).item[0, 0]
        assert (first == wanted) == (episode in (2, 3))
