"""What a simulator is, as a JSON object and in lines."""

import json
import math
from pathlib import Path
from typing import Any

from recsim_hrl.simulator.store import Simulator
from recsim_hrl.simulator.validity.evaluate import Target
from recsim_hrl.simulator.validity.report import VALIDITY_JSON


def about_simulator(simulator: Simulator, folder: Path) -> dict[str, Any]:
    """Name, sizes, provenance and, where ``folder`` holds a report on this very simulator, the targets that it met."""
    catalogue, config, provenance = simulator.catalogue, simulator.model.config, simulator.provenance
    about: dict[str, Any] = {
        "name": simulator.name,
        "folder": str(folder),
        "items": len(catalogue),
        "embedding_dim": catalogue.embeddings.shape[1],
        "categories": len(catalogue.categories.unique()),
        "users": len(simulator.visits),
        "impressions_before_a_session": simulator.visits.items.shape[1],
        "parameters": sum(weights.numel() for weights in simulator.model.parameters()),
        "kinds": config.kinds,
        "hidden": config.hidden,
        "half_lives": [round(math.log(0.5) / math.log(decay), 2) for decay in simulator.model.decays.tolist()],
        "provenance": provenance,
    }
    path = folder / VALIDITY_JSON
    if path.is_file():
        try:
            validity = json.loads(path.read_text(encoding="utf-8"))
            if validity["simulator"]["data_sha256"] == provenance.get("data_sha256"):
                about["targets"] = [str(Target.from_json(target)) for target in validity["targets"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: damaged report; evaluate the simulator again") from error
    return about


def lines_about(about: dict[str, Any]) -> list[str]:
    """What :func:`about_simulator` tells, in lines."""
    provenance = about["provenance"]
    lives = ", ".join(f"{life:g}" for life in about["half_lives"])
    lines = [
        f"{about['name']}  ({about['folder']})",
        f"  catalogue   {about['items']:,} items, {about['categories']} categories, embedding {about['embedding_dim']}",
        f"  users       {about['users']:,}, each known by up to {about['impressions_before_a_session']} impressions",
        f"  model       {about['parameters']:,} parameters, {about['kinds']} kinds, width {about['hidden']}",
        f"  memory      half-lives of {lives} impressions",
    ]
    if "history" not in provenance:
        return [*lines, f"  source      {provenance.get('source', 'unknown')}"]
    log, history = provenance["log"], provenance["history"]
    lines += [
        f"  fitted to   {log['name']}, {log['impressions']:,} impressions",
        f"  fit         {', '.join(f'{name} {value}' for name, value in provenance['fit'].items())}",
    ]
    for entry in history["passes"]:
        losses = f"log-loss {entry['train_log_loss']:.5f}, held out {entry['held_out_log_loss']:.5f}"
        lines.append(f"    pass {entry['pass']}: {losses}")
    lines.append(f"    calibrated: held out {history['held_out_log_loss']:.5f}")
    if "targets" not in about:
        return [*lines, f"  validity    no {VALIDITY_JSON} of it in its folder; see recsim-hrl evaluate --help"]
    return [*lines, "  validity", *(f"    {target}" for target in about["targets"])]
