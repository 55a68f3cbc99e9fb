"""What the paper of MaHRL prints, to stand beside what is measured here: gains over DEERS.

Its numbers are of the log of a shop, and of a simulator fitted to that; levels cannot be compared with ours.
"""

REFERENCE = "deers"
"""What gains are measured against."""

RANKING = {
    "cf": (0.2953, 0.2156, 0.2152),
    "fm": (0.2818, 0.2011, 0.2003),
    "wide-deep": (0.3110, 0.2417, 0.2426),
    "gru": (0.3125, 0.2425, 0.2433),
    "deers": (0.3273, 0.2554, 0.2554),
    "ddpg": (0.3262, 0.2497, 0.2548),
    "mahrl": (0.3534, 0.2691, 0.2715),
}
"""Table 2: MAP, NDCG@20 and NDCG@40 of the agents that are ours too."""

ONLINE = {
    ("mahrl", "short", "total"): 0.1356,
    ("mahrl", "short", "order"): 0.3062,
    ("mahrl", "long", "order"): 0.2288,
}
"""Section 4.2.3, which tells of Figure 7: gains of (agent, task, part of the reward) that are given as numbers."""


def ranking_gain(agent: str, place: int) -> str:
    """The gain in metric number ``place`` of Table 2; empty for agents that it does not have."""
    if agent == REFERENCE or agent not in RANKING:
        return ""
    return f"{RANKING[agent][place] / RANKING[REFERENCE][place] - 1:+.2%}"


def online_gain(agent: str, task: str, part: str) -> str:
    """The gain in a ``part`` of the reward of a task; empty where none is given."""
    gain = ONLINE.get((agent, task, part))
    return "" if gain is None else f"{gain:+.2%}"
