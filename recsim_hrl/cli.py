"""The command line ``recsim-hrl``: from a log to a simulator that has been held against it.

Every command is a frozen dataclass in :mod:`recsim_hrl.commands`; this module only finds it, so that the overview
does not have to wait for torch.
"""

import os
import sys
from collections.abc import Sequence

COMMANDS = {
    "generate": "write a log of the synthetic market, whose true users are known",
    "download": "fetch the file of a public data set, where its publisher serves it to everybody",
    "movielens": "turn MovieLens 100k, 1M, 20M or 25M into a log",
    "retailrocket": "turn RetailRocket's events into a log",
    "taobao": "turn Taobao UserBehavior into a log",
    "yoochoose": "turn YooChoose, of the RecSys Challenge 2015, into a log",
    "kuairand": "turn KuaiRand (Pure, 1K or 27K) into two logs, of what was recommended and what was shown at random",
    "open-bandit": "turn the Open Bandit Dataset into two logs, of a random policy and of Thompson sampling",
    "rl4rs": "turn RL4RS (A or B) into two logs of slates, by what chose the items",
    "ali-ccp": "turn Ali-CCP into two logs of impressions without time, for training and for tests",
    "import": "turn the log of your own shop into a log and two simulators, or tell first what would become of it",
    "report": "check a log and count what it holds",
    "split": "split a log into a train and a test log",
    "fit": "fit a simulator to a log",
    "support": "add to a simulator what its log covers",
    "leaving": "add to a simulator a model of when users leave",
    "evaluate": "hold a simulator against a log, with figures",
    "semantic-ids": "give each item of a simulator's catalogue a short code whose first tokens say what it is like",
    "inspect": "tell what a simulator is and where it comes from",
}
"""Name and purpose of each command, in the order in which they are used."""

_EXAMPLE = """\
From nothing to an evaluated simulator (about twenty minutes):

  recsim-hrl generate --out log
  recsim-hrl report log
  recsim-hrl split log --out halves
  recsim-hrl fit halves/train --out my-simulator
  recsim-hrl evaluate my-simulator --log halves/test --out validity

Then gymnasium.make("RecSession-v0", simulator="my-simulator").
From the log of your own shop it is one command: recsim-hrl import --help.
`recsim-hrl COMMAND --help` explains a command."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that ``arguments`` (the process's own without) name.

    Returns:
        The exit status: 0, 2 after an error that is told in one line, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words or words[0] in ("-h", "--help"):
        print(overview(), file=sys.stdout if words else sys.stderr)
        return 0 if words else 2
    if words[0] not in COMMANDS:
        return _fail(f"command: got {words[0]!r}, allowed {', '.join(COMMANDS)}; see recsim-hrl --help")
    from recsim_hrl.commands import run

    try:
        run(words[0], words[1:])
    except KeyboardInterrupt:
        print("recsim-hrl: interrupted; the same command starts again, and a fit goes on", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError) as error:
        return _fail(str(error))
    return 0


def overview() -> str:
    """The text of ``recsim-hrl --help``."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {purpose}" for name, purpose in COMMANDS.items()]
    return "\n".join(["usage: recsim-hrl [-h] COMMAND ...", "", "commands:", *lines, "", _EXAMPLE])


def _fail(message: str) -> int:
    print(f"recsim-hrl: error: {' '.join(message.split())}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
