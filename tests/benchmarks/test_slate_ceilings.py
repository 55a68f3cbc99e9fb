"""The ceilings of the temper rule, against the published numbers and against every session there can be."""

import functools

import pytest

from benchmarks.slate_ceilings import session_of, temper_ceiling


def test_ceilings_by_hand():
    # Everything clicked: each request pays 1 and costs 1 of 20 temper; 19 of them leave 1, which is not below 1.
    assert temper_ceiling(9, 20) == (pytest.approx(20.0), 20)
    assert temper_ceiling(10, 20) == (pytest.approx(20.0), 20)
    assert temper_ceiling(9, 12) == (pytest.approx(12.0), 12)
    # RL4RS: 8 of 9 clicks pay (8 - 0.1) / 9, which is 0.0222 from 0.9, and cost 0.2 + 1; 15 leave 2, 16 leave 0.8.
    reward, depth = temper_ceiling(9, 20, rl4rs=True)
    assert (reward, depth) == (pytest.approx(16 * (1 - (0.9 - 7.9 / 9))), 16)
    assert f"{reward:.2f}" == "15.64"


def test_sessions_by_hand():
    # Nothing clicked: -0.1 a request, which costs 1.1 x 9 + 1 = 10.9; the second leaves less than nothing.
    assert session_of(0, 9, 20) == (pytest.approx(-0.2), 2)
    # 4 of 9: (4 - 0.5) / 9 each, at 6.5; 3 requests leave 0.5.
    assert session_of(4, 9, 20) == (pytest.approx(3 * 3.5 / 9), 3)


@pytest.mark.parametrize("rl4rs", [False, True])
@pytest.mark.parametrize("size", [2, 3])
def test_no_mixture_of_requests_is_above_the_ceiling(size, rl4rs):
    """Every session there can be, in whole tenths of temper and of slots times reward."""
    tenths = [10 * clicks - (size - clicks) for clicks in range(size + 1)]
    paid = [10 * size - abs(reward - 9 * size) if rl4rs else reward for reward in tenths]

    @functools.cache
    def best(temper, requests):
        if temper < 10 or requests == 6:
            return 0, requests
        return max(
            (reward + later, depth)
            for reward in paid
            for later, depth in [best(temper - (10 * size - reward + 10), requests + 1)]
        )

    reward, depth = best(200, 0)
    assert temper_ceiling(size, 6, rl4rs) == (pytest.approx(reward / (10 * size)), depth)
