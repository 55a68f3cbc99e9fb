"""What the tokens of semantic ids mean: categories and prices of items that begin alike, as a table and a figure."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.aggregate import write_text
from benchmarks.figures import BLUE, GREEN, INK, ORANGE, PURPLE, SKY, VERMILION, save
from recsim_hrl.semantic_ids import SemanticIds, fit_semantic_ids
from recsim_hrl.simulator.folder import load_data
from recsim_hrl.types import Catalogue

TABLE, FIGURE = "codes.md", "codes.png"
SHOWN = 6
"""First tokens that table and figure show: those that most items begin with."""
_COLOURS = (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY)
_GREY = "#D0D0D0"
_LARGEST = 3
"""Categories that are named of each token."""


def largest_category(prefixes: np.ndarray, categories: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Of items that begin alike, the share of those of the largest category; then the same of shuffled categories.

    Args:
        prefixes: (I, l) first tokens of the items.
        categories: (I,) of the items.
        seed: Shuffles the categories: few items that begin alike share a category by chance.
    """
    group = np.unique(prefixes, axis=0, return_inverse=True)[1].reshape(-1)  # (I,)
    shuffled = np.random.default_rng(seed).permutation(categories)
    return _largest(group, categories), _largest(group, shuffled)


def _largest(group: np.ndarray, categories: np.ndarray) -> float:
    pairs, counts = np.unique(np.stack([group, categories]), axis=1, return_counts=True)
    most = np.zeros(group.max() + 1, np.int64)
    np.maximum.at(most, pairs[0], counts)
    return float(most.sum() / len(group))


def fullest(tokens: np.ndarray) -> np.ndarray:
    """(n,) up to ``SHOWN`` of the ``tokens`` (I,), those that most items have first."""
    found, counts = np.unique(tokens, return_counts=True)
    return found[np.argsort(-counts, kind="stable")[:SHOWN]]


def to_text(ids: SemanticIds, catalogue: Catalogue) -> str:
    """A table of the fullest first tokens: their items, largest categories, and prices."""
    lines = [
        f"| first token | items | largest categories, of {len(np.unique(catalogue.categories))} | price, quartiles |"
    ]
    lines.append("|---|---:|---|---|")
    first = ids.codes[:, 0]
    rows = [("all", np.ones(len(ids), bool)), *((str(token), first == token) for token in fullest(first))]
    for name, of in rows:
        counts = np.bincount(catalogue.categories[of])
        largest = np.argsort(-counts, kind="stable")[:_LARGEST]
        shares = ", ".join(
            f"{category} ({counts[category] / of.sum():.0%})" for category in largest if counts[category]
        )
        prices = " / ".join(f"{price:.0f}" for price in np.percentile(catalogue.prices[of], (25, 50, 75)))
        lines.append(f"| {name} | {of.sum():,} | {shares} | {prices} |")
    return "\n".join(lines)


def draw(ids: SemanticIds, catalogue: Catalogue, path: Path) -> None:
    """Items in the plane, coloured by first token; those of one by their second; and categories, level by level."""
    figure = Figure(figsize=(13, 4.8), layout="constrained")
    whole, inside, shares = figure.subplots(1, 3)
    first = ids.codes[:, 0]
    top = fullest(first)
    _scatter(whole, catalogue.embeddings, first, "first token", "all items")
    members = first == top[0]
    _scatter(
        inside, catalogue.embeddings[members], ids.codes[members, 1], "second token", f"items of first token {top[0]}"
    )
    levels = np.arange(1, ids.levels + 1)
    found = [largest_category(ids.codes[:, :level], catalogue.categories) for level in levels]
    for place, (label, colour) in enumerate((("these codes", BLUE), ("categories shuffled", _GREY))):
        heights = [of[place] for of in found]
        bars = shares.bar(levels + 0.4 * place - 0.2, heights, 0.38, color=colour, label=label)
        shares.bar_label(bars, [f"{height:.0%}" for height in heights], fontsize=8.5, color=INK)
    shares.set_xticks(levels, [f"first {level}" if level > 1 else "first" for level in levels])
    shares.set_xlabel("tokens in common")
    shares.set_title("items that are of their code's largest category", loc="left", fontsize=10, color=INK)
    shares.set_ylim(0, 1.25)
    shares.set_yticks([])
    shares.spines[["top", "right", "left"]].set_visible(False)
    shares.legend(frameon=False, fontsize=8.5, loc="upper center", ncols=2)
    save(figure, path)


def _scatter(axes: Axes, embeddings: np.ndarray, tokens: np.ndarray, name: str, title: str) -> None:
    """``embeddings`` (n, D) with the fullest ``tokens`` (n,) in colour, in the plane where these lie furthest apart."""
    shown = fullest(tokens)
    centres = np.stack([embeddings[tokens == token].mean(0) for token in shown])  # (SHOWN, D)
    plane = embeddings @ np.linalg.svd(centres - centres.mean(0), full_matrices=False)[2][:2].T  # (n, 2)
    axes.scatter(*plane.T, s=3, color=_GREY, linewidths=0, label="others")
    for token, colour in zip(shown, _COLOURS, strict=False):
        axes.scatter(*plane[tokens == token].T, s=6, color=colour, linewidths=0, label=f"{name} {token}")
    axes.set_title(f"{title}: the {SHOWN} fullest {name}s", loc="left", fontsize=10, color=INK)
    axes.set_xlabel("the plane in which their centres differ most")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, markerscale=2.5, loc="upper left", bbox_to_anchor=(0, -0.1), ncols=3)


def write_meaning(out: Path) -> str:
    """Write codes.md and codes.png for the default catalogue and the default codes; the text."""
    catalogue = load_data().catalogue
    ids = fit_semantic_ids(catalogue.embeddings)
    text = to_text(ids, catalogue)
    write_text(out / TABLE, f"{text}\n\nMade by `python -m benchmarks.semantic_ids`.\n")
    draw(ids, catalogue, out / FIGURE)
    return text
