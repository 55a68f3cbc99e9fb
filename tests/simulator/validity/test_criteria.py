"""Verdicts: met, not met, or no verdict, and never on the ground that a log is too small to show anything."""

import math

import pytest

from recsim_hrl.simulator.validity.criteria import MET, MISSED, UNKNOWN, Criterion, shown_error


def verdict(errors):
    return shown_error("name", "section", errors, 0.1, "meaning")


@pytest.mark.parametrize(
    ("errors", "expected"),
    [
        ([(0.0, 0.05), (0.08, 0.02)], MET),
        ([(0.0, 0.05), (0.11, 0.02)], MISSED),
        ([(0.0, 0.3), (0.05, 0.2)], UNKNOWN),  # no interval is as narrow as the limit
        ([(0.2, 0.3)], MISSED),  # wide, and yet shown
        ([(0.0, 0.3), (0.0, 0.05)], MET),  # one is narrow enough
        ([], UNKNOWN),
    ],
)
def test_errors_that_are_shown(errors, expected):
    assert verdict(errors).verdict == expected


def test_the_value_is_the_largest_error():
    assert verdict([(0.02, 0.01), (0.07, 0.01)]).value == 0.07
    assert math.isnan(verdict([]).value)


def test_why_there_is_no_verdict():
    assert "± 20%" in verdict([(0.0, 0.3), (0.0, 0.2)]).reason and "too few" in verdict([]).reason


def test_lines_and_json():
    floor = Criterion("coverage", "where", 0.8, 0.7, True, "covered")
    assert str(floor) == "met               coverage: 80% (≥ 70%)"
    assert floor.to_json()["verdict"] == "met"
    ratio = Criterion("ratio", "where", 2.5, 2.0, False, "agrees", is_share=False)
    assert str(ratio) == "not met           ratio: 2.5 (≤ 2)"
    assert str(Criterion("x", "where", math.nan, 1.0, False, "m", "no log")) == "cannot be judged  x: no log"
