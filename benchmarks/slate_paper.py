"""What the papers of HAC and KuaiSim print, to stand beside what is measured here under their rules.

None of these numbers has been checked against the papers themselves: they are copies at second hand.
"""

HAC = {
    "slate-supervised": (6.72, 18.56, 14.39),
    "slate-supervised-online": (9.50, 18.63, 13.46),
    "slate-a2c": (7.79, 16.16, 12.46),
    "slate-ddpg": (8.34, 17.21, 11.39),
    "slate-td3": (8.55, 17.55, 11.78),
    "pg-ra": (8.56, 18.47, 10.86),
    "hac": (10.06, 18.86, 14.79),
}
"""Total reward on RL4RS, MovieLens-1M and KuaiRand-1K, by our name of the agent."""
HAC_DEPTH = (11.10, 18.99, 15.34)
"""Of HAC itself, on the same three."""

KUAISIM = {
    "slate-td3": (14.63, 0.648, 9.43),
    "slate-a2c": (14.02, 0.595, 8.39),
    "slate-ddpg": (14.89, 0.684, 10.09),
    "hac": (14.98, 0.690, 10.17),
}
"""Depth, reward per request and total reward of the whole-session task, by our name of the agent."""

NOTE = (
    "Ours are of another market, so levels cannot be compared. The published columns are copies at second hand, not "
    "checked against the papers. They came from code that multiplied the next state's value by `done` where it should "
    "have been `1 - done` (docs/terminal_mask.md): their critics learned the reward of one request, and at its end a "
    "session was continued with the state of the next user. KuaiSim's code also left its "
    "user model in training mode, with dropout in every answer; and its whole table follows from one constant click "
    "probability, so that depth and reward cannot disagree."
)


def paper_table(ours: dict[str, tuple[str, str]]) -> list[tuple[str, ...]]:
    """Our total reward and depth under the published rules beside the papers'.

    Args:
        ours: (total reward, depth) as text, by agent.

    Returns:
        Rows of cells, the first of them the header; agents that a paper names and that were run.
    """
    head = ("", "ours: total", "depth", "HAC: RL4RS", "MovieLens-1M", "KuaiRand-1K")
    rows = [(*head, "KuaiSim: depth", "per request", "total")]
    for agent in HAC:
        if agent in ours:
            hac = [f"{number:.2f}" for number in HAC[agent]]
            depth, each, total = KUAISIM.get(agent, ("",) * 3)
            rows.append((agent, *ours[agent], *hac, *(f"{number}" for number in (depth, each, total))))
    return rows
