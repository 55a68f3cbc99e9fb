"""Rendering against literals: text by line, pictures by the colour at known places, the window by its calls."""

import copy
import pickle
import sys
import types

import numpy as np
import pytest

from recsim_hrl.envs.session import RecSessionEnv
from recsim_hrl.render import (
    CLICK_COLOUR,
    EMPTY,
    MARGIN,
    ORDER_COLOUR,
    Impression,
    SessionTrace,
    Window,
    category_colour,
    picture,
)
from recsim_hrl.simulator.store import random_simulator

SKIPPED, CLICKED, ORDERED = (
    Impression(7, 2, 9.5, 0, 0.0),
    Impression(12, 0, 120.0, 1, 1.0),
    Impression(3, 1, 5.0, 2, 5.0),
)
TILE = (960 - 2 * MARGIN) / 25
TILES_TOP = 98


def trace(*impressions, length=50):
    return SessionTrace(4, length, list(impressions))


def corner(frame, slot):
    """The colour near the corner of a tile, inside its border and beside its mark."""
    x, y = MARGIN + (slot % 25 + 0.2) * TILE, TILES_TOP + (slot // 25 + 0.8) * TILE
    return tuple(int(part) for part in frame[int(y), int(x)])


def test_text():
    assert str(trace(SKIPPED, CLICKED, ORDERED)).splitlines() == [
        "RecSession  user 4  step 3 of 50",
        " step        item  category      price  response   reward     total",
        "    1           7         2       9.50  skip            0         0",
        "    2          12         0     120.00  click           1         1",
        "    3           3         1       5.00  order           5         6",
    ]


def test_tiles_have_the_colours_of_categories_and_skips_are_faded():
    frame = picture(trace(SKIPPED, CLICKED, ORDERED))
    faded = tuple(round(part + (255 - part) * 0.6) for part in category_colour(2))
    assert corner(frame, 0) == faded
    assert corner(frame, 1) == category_colour(0)
    assert corner(frame, 2) == category_colour(1)
    assert corner(frame, 3) == corner(frame, 49) == EMPTY


def test_clicks_and_orders_are_marked():
    frame = picture(trace(SKIPPED, CLICKED, ORDERED))
    middle = int(TILES_TOP + TILE / 2)
    for slot, colour in ((1, CLICK_COLOUR), (2, ORDER_COLOUR)):
        beside_the_letter = frame[middle, int(MARGIN + (slot + 0.5) * TILE) - 7]
        assert np.abs(beside_the_letter.astype(int) - colour).max() < 15  # edges are smoothed


def test_neighbouring_categories_differ():
    colours = [category_colour(category) for category in range(24)]
    assert len(set(colours)) == 24
    distances = [
        sum(abs(a - b) for a, b in zip(*pair, strict=True)) for pair in zip(colours, colours[1:], strict=False)
    ]
    assert min(distances) > 100


@pytest.mark.parametrize("length", [1, 50, 200, 1000])
def test_the_size_depends_on_the_length_only(length):
    frames = [picture(trace(*[CLICKED] * steps, length=length)) for steps in (0, length // 2, length)]
    assert {frame.shape for frame in frames} == {frames[0].shape}
    assert frames[0].shape[1:] == (960, 3) and frames[0].dtype == np.uint8
    assert frames[0].shape[0] <= 860
    assert (frames[0] != frames[2]).any()


def test_of_a_very_long_session_the_latest_part_is_shown():
    impressions = [CLICKED] * 300 + [ORDERED] * 250
    assert corner(picture(trace(*impressions, length=1000)), 0) == category_colour(1)


def slates(*impressions, size, requests=4):
    return SessionTrace(4, size * requests, list(impressions), size)


def tile(frame, column, row):
    """As ``corner``, by the place in pixels of the tile's left edge and its row."""
    return tuple(int(part) for part in frame[int(TILES_TOP + (row + 0.8) * TILE), int(MARGIN + column + 0.2 * TILE)])


def test_slates_stand_apart_as_many_in_a_row_as_fit():
    """Of nine, two: 2 (9 TILE + 10) - 10 = 661 of the 904 pixels, and a third would end at 996."""
    frame = picture(slates(*[CLICKED] * 10, ORDERED, size=9))
    assert tile(frame, 8 * TILE, 0) == category_colour(0)
    second = 9 * TILE + 10
    assert tile(frame, second, 0) == category_colour(0) and tile(frame, second + TILE, 0) == category_colour(1)
    assert tile(frame, second + 2 * TILE, 0) == tile(frame, second + 8 * TILE, 0) == EMPTY
    assert tile(frame, second + 9 * TILE, 0) == (255, 255, 255)  # nothing
    assert tile(frame, 0, 1) == tile(frame, second, 1) == EMPTY
    single = picture(slates(*[CLICKED] * 3, size=1, requests=30))  # twenty: 20 (TILE + 10) - 10 = 913 is too much
    assert tile(single, 2 * (TILE + 10), 0) == category_colour(0)
    assert tile(single, 18 * (TILE + 10), 0) == EMPTY and tile(single, 0, 1) == EMPTY


def test_long_slates_and_many_requests_fit_as_well():
    wide = picture(slates(*[CLICKED] * 27, size=30))
    assert corner(wide, 26) == category_colour(0) and corner(wide, 27) == EMPTY
    many = [picture(slates(*[CLICKED] * seen, size=9, requests=100)) for seen in (0, 30)]
    assert many[0].shape == many[1].shape and many[0].shape[0] <= 860
    # 27 slates and two items: the two begin the last of the 20 places for slates, after 19 whole ones
    late = picture(slates(*[CLICKED] * 243, ORDERED, ORDERED, size=9, requests=100))
    assert tile(late, 9 * TILE + 10, 9) == category_colour(1) and tile(late, 9 * TILE + 10 + 2 * TILE, 9) == EMPTY


@pytest.mark.parametrize("reward", [-3.0, 0.0, 1e6])
def test_any_rewards_can_be_drawn(reward):
    frame = picture(trace(*[CLICKED._replace(reward=reward)] * 5))
    assert corner(frame, 4) == category_colour(0)


def fake_pygame(calls):
    """What the window uses of pygame, writing down what was asked of it."""

    class Screen:
        def blit(self, surface, place):
            calls.append(("blit", surface.shape, place))

    class Clock:
        def tick(self, rate):
            calls.append(("tick", rate))

    display = types.SimpleNamespace(
        init=lambda: None,
        quit=lambda: calls.append(("quit",)),
        set_caption=lambda words: None,
        set_mode=lambda size: calls.append(("open", size)) or Screen(),
        flip=lambda: calls.append(("flip",)),
    )
    return types.SimpleNamespace(
        display=display,
        time=types.SimpleNamespace(Clock=Clock),
        event=types.SimpleNamespace(pump=lambda: None),
        surfarray=types.SimpleNamespace(make_surface=lambda pixels: pixels),
    )


def test_the_window_shows_every_step_and_closes(monkeypatch):
    calls: list[tuple] = []
    monkeypatch.setitem(sys.modules, "pygame", fake_pygame(calls))
    env = RecSessionEnv(10, simulator=random_simulator(), action="item", render_mode="human")
    env.reset(seed=0)
    env.step(3)
    assert env.render() is None
    env.close()
    height = picture(trace(length=10)).shape[0]
    frame = [("blit", (960, height, 3), (0, 0)), ("flip",), ("tick", 4)]
    assert calls == [("open", (960, height)), *frame, *frame, ("quit",)]


def test_a_copied_window_is_a_closed_one(monkeypatch):
    calls: list[tuple] = []
    monkeypatch.setitem(sys.modules, "pygame", fake_pygame(calls))
    window = Window()
    window.show(np.zeros((4, 5, 3), dtype=np.uint8), 4)
    for copied in (copy.deepcopy(window), pickle.loads(pickle.dumps(window))):
        calls.clear()
        copied.close()
        assert calls == []


def test_a_missing_pygame_is_named_with_its_remedy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pygame", None)
    env = RecSessionEnv(10, simulator=random_simulator(), render_mode="human")
    with pytest.raises(ImportError, match=r"pip install recsim-hrl\[human\]"):
        env.reset(seed=0)
