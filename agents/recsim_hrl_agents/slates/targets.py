"""What a critic of requests is to learn: the one computation, and the mistake that published code makes in it."""

from torch import Tensor


def td_target(
    rewards: Tensor, next_values: Tensor, terminated: Tensor, gamma: float, inverted_mask: bool = False
) -> Tensor:
    """r + gamma V(s'), and r alone where the user left.

    A truncated session is not ``terminated``: the values are those of its own last observation.

    Args:
        rewards: (S, ...) of the requests.
        next_values: (S, ...) of what followed.
        terminated: (S, ...) bool, the user left.
        gamma: Discount of one request.
        inverted_mask: Make the mistake of the code published with HAC and HSRL, which multiplies by ``terminated``
            where it means its opposite: nothing follows inside a session, and something follows its end. It is here so
            that what it costs can be measured, and for nothing else. (Published code takes the value of the *next*
            user's first state there, ours that of the state in which the user left.)

    Returns:
        (S, ...) targets.
    """
    follows = terminated if inverted_mask else ~terminated
    return rewards + gamma * follows * next_values
