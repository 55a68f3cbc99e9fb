"""The command that gives the items of a simulator semantic ids."""

from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import OmitArgPrefixes, Positional

from recsim_hrl.commands.simulators import Split
from recsim_hrl.semantic_ids import SemanticIdConfig, fit_semantic_ids, measure_ids, save_semantic_ids
from recsim_hrl.simulator.folder import load_data


@dataclass(frozen=True)
class MakeSemanticIds:
    """Give each item of a simulator's catalogue a code of a few tokens, coarse to fine, and tell how good codes are.

    The tokens come from residual quantisation of the items' embeddings. No two items have the same code.
    """

    simulator: Positional[str]
    """Folder of a simulator, or the name of one that comes with the package."""
    out: Path
    """The file of the ids; one that is there is replaced."""
    split: Split = "train"
    """Which simulator of a folder that holds two; both have the same items."""
    config: OmitArgPrefixes[SemanticIdConfig] = field(default_factory=SemanticIdConfig)

    def run(self) -> None:
        embeddings = load_data(self.simulator, self.split).catalogue.embeddings
        ids = fit_semantic_ids(embeddings, self.config)
        save_semantic_ids(ids, self.out)
        print("\n".join(measure_ids(ids, embeddings).lines()))
        print(f"wrote {self.out}")
