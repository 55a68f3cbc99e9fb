"""A session as text, as a picture, and in a window."""

import colorsys
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from recsim_hrl.types import CLICK, ORDER, RESPONSES

WIDTH, MARGIN, COLUMNS, MAX_ROWS = 960, 28, 25, 10
HEADER, CURVE, LEGEND, GAP = 64, 190, 84, 34
SLATE_GAP = 10  # between slates side by side
SCALE = 2  # drawn at twice the size and reduced: smooth edges
TILE = (WIDTH - 2 * MARGIN) / COLUMNS
LEGEND_CATEGORIES = 7

INK, FAINT, PAPER, EMPTY = (33, 37, 41), (134, 142, 150), (255, 255, 255), (241, 243, 245)
CLICK_COLOUR, ORDER_COLOUR = (28, 126, 214), (224, 49, 49)


class Impression(NamedTuple):
    """One item shown, and what came of it."""

    item_id: int
    category: int
    price: float
    response: int
    reward: float


@dataclass
class SessionTrace:
    """What a rendering tells of: the impressions of one session, in order."""

    user: int
    session_length: int
    impressions: list[Impression] = field(default_factory=list)
    slate_size: int | None = None
    """Items of a slate, where slates are shown; of all but the last, every item was seen."""

    @property
    def title(self) -> str:
        """The task."""
        return "RecSession" if self.slate_size is None else "RecSlate"

    @property
    def progress(self) -> str:
        """How much of the session is over."""
        seen, size = len(self.impressions), self.slate_size
        if size is None:
            return f"step {seen} of {self.session_length}"
        return f"request {-(-seen // size)} of {self.session_length // size}, {seen} items seen"

    def __str__(self) -> str:
        size, place = self.slate_size, "step" if self.slate_size is None else "slot"
        first = f"{place:>5}" if size is None else f"{'request':>7}{place:>5}"
        lines = [
            f"{self.title}  user {self.user}  {self.progress}",
            f"{first}{'item':>12}{'category':>10}{'price':>11}  {'response':<9}{'reward':>8}{'total':>10}",
        ]
        total = 0.0
        for step, shown in enumerate(self.impressions):
            total += shown.reward
            where = f"{step + 1:>5}" if size is None else f"{step // size + 1:>7}{step % size + 1:>5}"
            lines.append(
                f"{where}{shown.item_id:>12}{shown.category:>10}{shown.price:>11.2f}  "
                f"{RESPONSES[shown.response]:<9}{shown.reward:>8g}{total:>10g}"
            )
        return "\n".join(lines)


@dataclass(frozen=True)
class _Grid:
    """Where the tiles of a session lie: in rows, of whole slates where these fit."""

    columns: int
    slots: int
    """Tiles that are drawn."""
    slate: int
    """Tiles of a slate, which stands apart from the next."""

    @staticmethod
    def of(trace: SessionTrace) -> "_Grid":
        """The grid of a session, by its length alone."""
        size = trace.slate_size
        if size is None or size > COLUMNS:
            return _Grid(COLUMNS, min(trace.session_length, MAX_ROWS * COLUMNS), trace.session_length)
        side_by_side = int((WIDTH - 2 * MARGIN + SLATE_GAP) // (size * TILE + SLATE_GAP))
        columns = max(1, side_by_side) * size
        return _Grid(columns, min(trace.session_length, MAX_ROWS * columns), size)

    @property
    def height(self) -> float:
        """Of all rows."""
        return -(-self.slots // self.columns) * TILE

    def place(self, slot: int) -> tuple[float, float]:
        """Left and upper edge of a tile, from those of the first."""
        row, column = divmod(slot, self.columns)
        return column * TILE + column // self.slate * SLATE_GAP, row * TILE

    def first(self, shown: int) -> int:
        """The first of ``shown`` impressions that is drawn: of a very long session, the latest part."""
        over = max(0, shown - self.slots)
        return over if self.slate >= self.slots else -(-over // self.slate) * self.slate


def picture(trace: SessionTrace) -> np.ndarray:
    """The session as a picture (height, 960, 3) uint8; its size depends on the session length only."""
    grid = _Grid.of(trace)
    tiles_top = HEADER + GAP
    curve_top = tiles_top + grid.height + GAP + 8
    height = round(curve_top + CURVE + GAP + LEGEND)
    image = Image.new("RGB", (WIDTH * SCALE, height * SCALE), PAPER)
    pen = _Pen(ImageDraw.Draw(image))
    _draw_header(pen, trace)
    _draw_tiles(pen, trace, grid, tiles_top)
    _draw_curve(pen, trace, curve_top)
    _draw_legend(pen, trace, curve_top + CURVE + GAP)
    return np.asarray(image.resize((WIDTH, height), Image.Resampling.LANCZOS))


class _Pen:
    """Draws in final pixels on the enlarged image."""

    def __init__(self, draw: ImageDraw.ImageDraw) -> None:
        self.draw = draw

    def text(self, x: float, y: float, words: str, size: int = 14, colour: tuple = INK, anchor: str = "la") -> None:
        font = ImageFont.load_default(size * SCALE)
        self.draw.text((x * SCALE, y * SCALE), words, fill=colour, font=font, anchor=anchor)

    def box(self, x: float, y: float, side: float, fill: tuple, outline: tuple | None = None, line: int = 0) -> None:
        corners = (x * SCALE, y * SCALE, (x + side) * SCALE, (y + side) * SCALE)
        self.draw.rounded_rectangle(corners, 4 * SCALE, fill, outline, line * SCALE)

    def line(self, points: list[tuple[float, float]], colour: tuple, width: float = 1) -> None:
        if len(points) > 1:
            scaled = [(x * SCALE, y * SCALE) for x, y in points]
            self.draw.line(scaled, fill=colour, width=round(width * SCALE), joint="curve")

    def disc(self, x: float, y: float, radius: float, fill: tuple) -> None:
        corners = ((x - radius) * SCALE, (y - radius) * SCALE, (x + radius) * SCALE, (y + radius) * SCALE)
        self.draw.ellipse(corners, fill=fill, outline=PAPER, width=SCALE)


def category_colour(category: int) -> tuple[int, int, int]:
    """A colour of its own for each category; neighbouring numbers are far apart in hue."""
    hue = (0.33 + 0.618034 * category) % 1.0
    lightness = (0.50, 0.66, 0.40)[category % 3]
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.55)
    return round(red * 255), round(green * 255), round(blue * 255)


def _faded(colour: tuple[int, int, int]) -> tuple[int, int, int]:
    red, green, blue = (round(part + (255 - part) * 0.6) for part in colour)
    return red, green, blue


def _draw_header(pen: _Pen, trace: SessionTrace) -> None:
    shown = trace.impressions
    clicks, orders = (sum(one.response == kind for one in shown) for kind in (CLICK, ORDER))
    pen.text(MARGIN, 18, f"{trace.title} · user {trace.user}", 22)
    pen.text(MARGIN, 50, trace.progress, 15, FAINT)
    pen.text(WIDTH - MARGIN, 18, f"reward {sum(one.reward for one in shown):g}", 22, anchor="ra")
    pen.text(WIDTH - MARGIN, 50, f"{clicks} clicks · {orders} orders", 15, FAINT, anchor="ra")


def _draw_tiles(pen: _Pen, trace: SessionTrace, grid: _Grid, top: float) -> None:
    shown = trace.impressions
    first = grid.first(len(shown))
    title = "Items shown, in order" if trace.slate_size is None else "Items seen, slate by slate"
    title += "; colour is the category" + (f" (from item {first + 1})" if first else "")
    pen.text(MARGIN, top - 18, title, 13, FAINT)
    for slot in range(grid.slots):
        x, y = grid.place(slot)
        if first + slot < len(shown):
            _draw_tile(pen, MARGIN + x, top + y, shown[first + slot])
        else:
            pen.box(MARGIN + x + 2, top + y + 2, TILE - 4, EMPTY)


def _draw_tile(pen: _Pen, x: float, y: float, shown: Impression) -> None:
    colour = category_colour(shown.category)
    middle = (x + TILE / 2, y + TILE / 2)
    if shown.response not in (CLICK, ORDER):
        pen.box(x + 2, y + 2, TILE - 4, _faded(colour))
        pen.text(*middle, str(shown.category), 11, FAINT, anchor="mm")
        return
    mark, letter = (CLICK_COLOUR, "C") if shown.response == CLICK else (ORDER_COLOUR, "O")
    pen.box(x + 2, y + 2, TILE - 4, colour, outline=mark, line=2)
    pen.disc(*middle, 9.5, mark)
    pen.text(*middle, letter, 12, PAPER, anchor="mm")


def _draw_curve(pen: _Pen, trace: SessionTrace, top: float) -> None:
    rewards = [one.reward for one in trace.impressions]
    totals = np.concatenate([[0.0], np.cumsum(rewards)])
    left, right, bottom = MARGIN + 36, WIDTH - MARGIN, top + CURVE - 20
    low, high = min(0.0, totals.min()), max(1.0, totals.max()) * 1.08

    def place(step: int, total: float) -> tuple[float, float]:
        across = (right - left) * step / trace.session_length
        return left + across, bottom - (bottom - top) * (total - low) / (high - low)

    pen.text(MARGIN, top - 26, "Running reward", 13, FAINT)
    for total in _ticks(low, high):
        pen.line([place(0, total), place(trace.session_length, total)], EMPTY)
        pen.text(left - 8, place(0, total)[1], f"{total:g}", 12, FAINT, anchor="rm")
    for step in _ticks(0, trace.session_length):
        pen.text(place(step, low)[0], bottom + 6, f"{step:g}", 12, FAINT, anchor="ma")
    pen.line([place(0, 0.0), place(trace.session_length, 0.0)], FAINT)
    steps = [place(step, totals[before]) for step in range(len(totals)) for before in (max(step - 1, 0), step)]
    pen.line(steps, INK, 2)
    for step, shown in enumerate(trace.impressions, 1):
        if shown.response in (CLICK, ORDER):
            pen.disc(*place(step, totals[step]), 4.5, CLICK_COLOUR if shown.response == CLICK else ORDER_COLOUR)


def _ticks(low: float, high: float) -> list[float]:
    """Up to about six round numbers from ``low`` to ``high``."""
    rough = (high - low) / 5
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [float(tick) for tick in np.arange(np.ceil(low / step), high / step + 1e-9) * step]


def _draw_legend(pen: _Pen, trace: SessionTrace, top: float) -> None:
    x = MARGIN
    for name, mark, letter in (("skip", None, ""), ("click", CLICK_COLOUR, "C"), ("order", ORDER_COLOUR, "O")):
        pen.box(x, top, 18, EMPTY if mark is None else PAPER, outline=mark or FAINT, line=1)
        if mark is not None:
            pen.disc(x + 9, top + 9, 8, mark)
            pen.text(x + 9, top + 9, letter, 11, PAPER, anchor="mm")
        pen.text(x + 26, top + 9, name + (" (faded)" if mark is None else ""), 13, INK, anchor="lm")
        x += 140
    counts: dict[int, int] = {}
    for shown in trace.impressions:
        counts[shown.category] = counts.get(shown.category, 0) + 1
    x, y = MARGIN, top + 34
    for category in sorted(counts, key=lambda one: (-counts[one], one))[:LEGEND_CATEGORIES]:
        pen.box(x, y, 18, category_colour(category))
        pen.text(x + 26, y + 9, f"category {category}: {counts[category]}", 12, INK, anchor="lm")
        x += 130
    if len(counts) > LEGEND_CATEGORIES:
        pen.text(MARGIN, y + 26, f"and {len(counts) - LEGEND_CATEGORIES} more categories", 12, FAINT)


class Window:
    """A window that shows pictures; it opens with the first one."""

    def __init__(self) -> None:
        self._screen: Any = None

    def __reduce__(self) -> tuple:
        return Window, ()  # an open window cannot be copied: a copy opens its own

    def show(self, frame: np.ndarray, frames_per_second: int) -> None:
        """Show ``frame`` (height, width, 3) and wait for the rest of its time."""
        pygame = _pygame()
        if self._screen is None:
            pygame.display.init()
            pygame.display.set_caption("RecSim-HRL")
            self._screen = pygame.display.set_mode((frame.shape[1], frame.shape[0]))
            self._clock = pygame.time.Clock()
        self._screen.blit(pygame.surfarray.make_surface(frame.swapaxes(0, 1)), (0, 0))
        pygame.event.pump()
        pygame.display.flip()
        self._clock.tick(frames_per_second)

    def close(self) -> None:
        """Close the window; showing another picture opens a new one."""
        if self._screen is not None:
            _pygame().display.quit()
            self._screen = None


def _pygame() -> Any:
    try:
        import pygame
    except ImportError as error:
        raise ImportError(
            'render_mode="human" needs pygame, which is not installed: run `pip install recsim-hrl[human]`, '
            'or use render_mode="rgb_array"'
        ) from error
    return pygame
