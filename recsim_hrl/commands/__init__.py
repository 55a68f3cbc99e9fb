"""The commands of ``recsim-hrl``; the flags of each are the fields of its dataclass and of the configs in it."""

from collections.abc import Sequence

import tyro
from threadpoolctl import threadpool_limits

from recsim_hrl.commands.logs import Generate, Report, SplitLog
from recsim_hrl.commands.own import ImportLog
from recsim_hrl.commands.semantic_ids import MakeSemanticIds
from recsim_hrl.commands.simulators import Evaluate, Fit, Inspect, Leaving, Support
from recsim_hrl.commands.sources import (
    AliCcp,
    DownloadData,
    Kuairand,
    Movielens,
    OpenBandit,
    Retailrocket,
    Rl4rs,
    Taobao,
    Yoochoose,
)

_CLASSES = {
    "generate": Generate,
    "download": DownloadData,
    "movielens": Movielens,
    "retailrocket": Retailrocket,
    "taobao": Taobao,
    "yoochoose": Yoochoose,
    "kuairand": Kuairand,
    "open-bandit": OpenBandit,
    "rl4rs": Rl4rs,
    "ali-ccp": AliCcp,
    "import": ImportLog,
    "report": Report,
    "split": SplitLog,
    "fit": Fit,
    "support": Support,
    "leaving": Leaving,
    "evaluate": Evaluate,
    "semantic-ids": MakeSemanticIds,
    "inspect": Inspect,
}


def run(command: str, arguments: Sequence[str]) -> None:
    """Run ``command`` with its ``arguments``; exits with status 2 where they cannot be understood."""
    chosen = tyro.cli(_CLASSES[command], prog=f"recsim-hrl {command}", args=list(arguments))
    # Small tensors: a second thread only waits, for minutes where another program holds the other core.
    with threadpool_limits(1):
        chosen.run()
