"""What the paper of MaHRL prints, to stand beside what is measured here: gains over DEERS.

Its numbers are of the log of a shop, and of a simulator fitted to that; levels cannot be compared with ours.
"""

from dataclasses import dataclass

REFERENCE = "deers"
"""What gains are measured against."""

RANKING = {
    "cf": (0.2953, 0.2156, 0.2152),
    "fm": (0.2818, 0.2011, 0.2003),
    "wide-deep": (0.3110, 0.2417, 0.2426),
    "gru": (0.3125, 0.2425, 0.2433),
    "deers": (0.3273, 0.2554, 0.2554),
    "ddpg": (0.3262, 0.2497, 0.2548),
    "hrl-i": (0.3087, 0.2396, 0.2407),
    "hrl-s": (0.3438, 0.2587, 0.2595),
    "hrl-g": (0.3477, 0.2611, 0.2624),
    "mahrl": (0.3534, 0.2691, 0.2715),
}
"""Table 2: MAP, NDCG@20 and NDCG@40 of the agents that are ours too."""

ONLINE = {
    ("mahrl", "short", "total"): 0.1356,
    ("mahrl", "short", "order"): 0.3062,
    ("mahrl", "long", "order"): 0.2288,
}
"""Section 4.2.3, which tells of Figure 7: gains of (agent, task, part of the reward) over DEERS that are given as
numbers."""


@dataclass(frozen=True)
class Claim:
    """What section 4.2.3 or Figure 7 says of two agents: one earns more."""

    better: str
    worse: str
    part: str
    """Of the reward: total, click or order."""
    tasks: tuple[str, ...] = ("short", "long")
    number: str = ""
    """By how much, in the paper's way, where it says so."""


_UNNAMED = "(sessions not named)"
CLAIMS = (
    Claim("mahrl", "deers", "total", ("short",), "+13.56%"),
    Claim("mahrl", "deers", "total", ("long",)),
    Claim("mahrl", "deers", "order", ("short",), "+30.62%"),
    Claim("mahrl", "deers", "order", ("long",), "+22.88%"),
    Claim("mahrl", "ddpg", "total"),
    Claim("mahrl", "gru", "total", ("short",), "+20.0%"),
    Claim("mahrl", "gru", "total", ("long",)),
    Claim("mahrl", "wide-deep", "total"),
    Claim("mahrl", "hrl-i", "total"),
    Claim("mahrl", "hrl-s", "total", number=f"HRL-S -2.96% {_UNNAMED}"),
    Claim("mahrl", "hrl-s", "order", number=f"HRL-S -10.88% {_UNNAMED}"),
    Claim("mahrl", "hrl-g", "total"),
    Claim("deers", "gru", "total"),
    Claim("deers", "wide-deep", "total", number=f"+3.10% {_UNNAMED}"),
    Claim("deers", "wide-deep", "order", number=f"+5.52% {_UNNAMED}"),
)
"""What is held against results: MaHRL above all others, learning by acting above learning from a log."""

SOONER = "almost 6"
"""Section 4.2.1: HRL-G takes so many times the steps of MaHRL to converge."""

BEST = {"alpha": "0.5", "M": "2"}
"""Section 4.3: values of highest reward in long sessions (Figures 8 and 9)."""


def ranking_gain(agent: str, place: int) -> str:
    """The gain in metric number ``place`` of Table 2; empty for agents that it does not have."""
    if agent == REFERENCE or agent not in RANKING:
        return ""
    return f"{RANKING[agent][place] / RANKING[REFERENCE][place] - 1:+.2%}"


def online_gain(agent: str, task: str, part: str) -> str:
    """The gain in a ``part`` of the reward of a task; empty where none is given."""
    gain = ONLINE.get((agent, task, part))
    return "" if gain is None else f"{gain:+.2%}"
