"""Figures of slates: what one legend stands for looks alike in all panels."""

from matplotlib.figure import Figure

from benchmarks.slate_figures import Panel, _draw
from benchmarks.statistics import Interval

REWARD = {"hac": Interval(2.0, 1.0, 3.5), "hsrl": Interval(4.0, 3.0, 5.0)}


def drawn(panel):
    axes = Figure().subplots()
    _draw(axes, panel, ["hac", "hsrl"])
    return axes


def test_a_bound_has_one_style_wherever_it_lies():
    first = drawn(Panel("slates", "reward", {"agents": REWARD}, {"random": 1.0, "planner": 9.0}))
    second = drawn(Panel("temper", "reward", {"agents": REWARD}, {"planner": 1.0, "random": 9.0}))
    styles = [
        {line.get_label(): (line.get_linestyle(), line.get_xdata()[0]) for line in axes.lines}
        for axes in (first, second)
    ]
    for name in ("random", "planner"):
        assert styles[0][name][0] == styles[1][name][0] and styles[0][name][1] != styles[1][name][1]
    assert styles[0]["random"][0] != styles[0]["planner"][0]


def test_points_and_whiskers_by_hand():
    axes = drawn(Panel("slates", "reward", {"right": REWARD, "inverted": REWARD}))
    right, inverted = axes.containers
    assert right.lines[0].get_xdata().tolist() == [2.0, 4.0]
    whiskers = right.lines[2][0].get_segments()
    assert [(segment[0][0], segment[1][0]) for segment in whiskers] == [(1.0, 3.5), (3.0, 5.0)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["hac", "hsrl"]
    apart = inverted.lines[0].get_ydata() - right.lines[0].get_ydata()
    assert (abs(apart - 0.22) < 1e-9).all(), "series of a label stand one above the other"
