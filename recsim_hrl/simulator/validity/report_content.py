"""What a report consists of, before it becomes Markdown or HTML: sections of sentences, tables and charts."""

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes


@dataclass(frozen=True)
class Warned:
    """A sentence that must not be overlooked."""

    text: str


@dataclass(frozen=True)
class Table:
    """The first column is text, the others are numbers unless they are ``texts``."""

    caption: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]
    texts: tuple[int, ...] = ()
    """Further columns that hold text."""
    is_verdict: bool = False
    """Whether the first column says which criterion is met."""


@dataclass(frozen=True)
class Chart:
    """One small figure."""

    name: str
    caption: str
    alt: str
    """What it shows, for those who cannot see it."""
    draw: Callable[[Axes], None]
    height: float = 3.2
    """In inches; the width is that of a phone."""


Block = str | Warned | Table | Chart


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it."""

    anchor: str
    title: str
    blocks: tuple[Block, ...]
