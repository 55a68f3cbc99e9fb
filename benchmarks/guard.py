"""Whether a commit made the environments slower: ``python -m benchmarks.guard BASE``.

Two commits play the same sessions, taking turns, each turn in a process of its own, on the same machine in the same
minutes; so their ratio means something where a rate does not. The exit status is 1 if the later commit is slower than
it may be in any case. Only what both commits offer to users is called: ``gym.make`` and ``gym.make_vec``.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tqdm import tqdm

ROOT = Path(__file__).parents[1]
CASES = {
    "1 user, item actions": (1, {"action": "item", "observation": "item_ids"}),
    "4,096 users, item actions": (4096, {"action": "item", "observation": "item_ids"}),
    "4,096 users, embeddings": (4096, {}),
}
_TURN = """
import json, sys, time
import gymnasium as gym
import recsim_hrl
users, seconds, arguments = int(sys.argv[1]), float(sys.argv[2]), json.loads(sys.argv[3])
assert recsim_hrl.__file__.startswith(sys.argv[4]), recsim_hrl.__file__
if users == 1:
    env = gym.make("RecSession-v0", **arguments)
else:
    env = gym.make_vec("RecSession-v0", num_envs=users, vectorization_mode="vector_entry_point", **arguments)
env.reset(seed=0)
env.action_space.seed(0)
actions = [env.action_space.sample() for _ in range(50 if arguments else 16)]
def play(until):
    steps = 0
    while time.perf_counter() < until or steps % 50:
        _, _, _, truncated, _ = env.step(actions[steps % len(actions)])
        if users == 1 and truncated:
            env.reset()
        steps += 1
    return steps
play(time.perf_counter() + 0.3 * seconds)
started = time.perf_counter()
steps = play(started + seconds)
print(steps * users / (time.perf_counter() - started))
"""


@dataclass(frozen=True)
class GuardConfig:
    """Which commits are compared, and how."""

    base: Annotated[str, tyro.conf.Positional]
    """The earlier commit."""
    head: str = "HEAD"
    """The later commit."""
    turns: int = 7
    """Turns of each commit in each case."""
    seconds: float = 1.0
    """Duration of a turn."""
    least: float = 0.8
    """Least rate of the later commit, as a share of the earlier one's."""


def turn(tree: Path, users: int, arguments: dict, seconds: float) -> float:
    """User-steps per second of the package in ``tree``."""
    command = [sys.executable, "-c", _TURN, str(users), str(seconds), json.dumps(arguments), str(tree)]
    done = subprocess.run(command, cwd=tree, env=_environment(tree), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{tree}: the run failed:\n{done.stderr}")
    return float(done.stdout)


def _environment(tree: Path) -> dict[str, str]:
    # Earlier commits leave threads to the numerical library, which makes small batches wait.
    return os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}


def compare(base: Path, head: Path, config: GuardConfig) -> dict[str, list[float]]:
    """For each case the ratios of the rates, head to base, turn by turn."""
    ratios: dict[str, list[float]] = {name: [] for name in CASES}
    with tqdm(total=len(CASES) * config.turns, desc="turns", disable=None) as bar:
        for tree in (base, head):  # compile and fill the caches
            turn(tree, *CASES["1 user, item actions"], 0.1)
        for number in range(config.turns):
            for name, case in CASES.items():
                order = (base, head) if number % 2 == 0 else (head, base)
                rates = {tree: turn(tree, *case, config.seconds) for tree in order}
                ratios[name].append(rates[head] / rates[base])
                bar.update()
    return ratios


def main(config: GuardConfig) -> int:
    """Compare and report; 1 if the later commit is too slow."""
    with tempfile.TemporaryDirectory() as folder:
        trees = [Path(folder).resolve() / name for name in ("base", "head")]
        for tree, commit in zip(trees, (config.base, config.head), strict=True):
            subprocess.run(["git", "clone", "--quiet", "--no-checkout", str(ROOT), str(tree)], check=True)
            known = subprocess.run(["git", "rev-parse", commit], cwd=ROOT, capture_output=True, text=True, check=True)
            subprocess.run(["git", "checkout", "--quiet", known.stdout.strip()], cwd=tree, check=True)
        ratios = compare(*trees, config)
    return report(ratios, config)


def report(ratios: dict[str, list[float]], config: GuardConfig) -> int:
    """Print the ratios; 1 if a median is below the least."""
    slower = 0
    for name, found in ratios.items():
        median = statistics.median(found)
        slower |= median < config.least
        verdict = "slower" if median < config.least else "fine"
        print(f"{name}: {median:.2f} times the rate of {config.base} ({min(found):.2f} to {max(found):.2f}), {verdict}")
    return int(slower)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(GuardConfig, description=__doc__)))
