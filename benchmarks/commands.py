"""How a long command ends: with what it found, with an error in one line, or stopped by hand."""

import sys
from collections.abc import Callable


def finish(work: Callable[[], str | None], kept: str) -> int:
    """Print what ``work`` returns, if anything; the exit status of the command.

    Args:
        work: Does everything.
        kept: What is kept when it is stopped, e.g. "Finished runs are".
    """
    try:
        if (told := work()) is not None:
            print(told)
    except KeyboardInterrupt:
        print(f"\nStopped. {kept} kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except (ValueError, OSError, RuntimeError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
