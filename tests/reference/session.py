"""The slow, obvious twin of the core: one user, Python integers, NumPy float64, and no recurrence.

The user's memory is summed anew at every step from all impressions so far, as the response model's documentation
states it; the core reaches the same numbers by updating a table.
"""

import numpy as np

from recsim_hrl.simulator.store import Simulator
from recsim_hrl.types import NO_ITEM

WORD = (1 << 64) - 1
USER, RESPONSE, NOISE = 1, 2, 3


def mix(key: int, word: int) -> int:
    """SplitMix64's finaliser with one more word folded in, on unsigned integers."""
    golden = 0x9E3779B97F4A7C15
    x = ((key ^ (word * golden & WORD)) + golden) & WORD
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & WORD
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & WORD
    return x ^ (x >> 31)


def uniform(key: int) -> float:
    return (mix(key, 0) >> 40) / 2**24


def normal(key: int) -> float:
    return np.sqrt(-2 * np.log1p(-uniform(mix(key, 1)))) * np.cos(2 * np.pi * uniform(mix(key, 2)))


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def softmax(x: np.ndarray) -> np.ndarray:
    powers = np.exp(x - x.max())
    return powers / powers.sum()


class ReferenceModel:
    """Response probabilities from the list of impressions before."""

    def __init__(self, simulator: Simulator) -> None:
        state = simulator.model.state_dict()
        self.weights = {name: value.numpy().astype(np.float64) for name, value in state.items()}
        self.embeddings = simulator.catalogue.embeddings.numpy().astype(np.float64)
        self.traces = simulator.model.config.traces
        self.known: dict[tuple, np.ndarray] = {}  # probabilities, each asked for again by every later step

    def linear(self, layer: str, x: np.ndarray) -> np.ndarray:
        return self.weights[f"{layer}.weight"] @ x + self.weights.get(f"{layer}.bias", 0.0)

    def logits(self, before: list[tuple[int, int]], session: list[tuple[int, int]], item: int) -> np.ndarray:
        """Logits of ``item`` after the visit ``before`` and the ``session`` so far, both lists of (item, response)."""
        hidden = self.linear("read_item", self.features(item))
        units = np.maximum(1 - sigmoid(self.weights["decay_logits"]), 0.02)[:, None] * 2
        for which in ("own", "all"):
            traces, surprises = self.traces_of(which, before, session, item)
            hidden = hidden + self.linear(f"read_{which}", (traces * units).ravel())
            hidden = hidden + self.linear(f"wonder_{which}", (surprises * units).ravel())
        hidden = silu(hidden)
        hidden = silu(self.linear("middle", hidden)) + hidden
        return self.linear("head", hidden) * self.weights["logit_scale"] + self.weights["logit_shift"]

    def traces_of(self, which: str, before: list, session: list, item: int | None = None) -> tuple:
        """(H, traces) and (H, 2), what impressions left: those of the kind of ``item`` ("own"), or of all ("all")."""
        decays, carry = sigmoid(self.weights["decay_logits"]), sigmoid(self.weights["carry_logits"])
        traces, surprises = np.zeros((len(decays), self.traces)), np.zeros((len(decays), 2))
        for place, (other, response) in enumerate(before + session):
            if which == "own" and self.kind(item) != self.kind(other):
                continue
            age, seen = len(before + session) - 1 - place, place - len(before)  # seen: place in the session
            fading = decays**age * (carry if seen < 0 else 1.0)
            traces += fading[:, None] * self.marks(which, other, response)
            if seen >= 0:
                surprise = (np.arange(3) == response) - self.expected(before, session[:seen], other)
                surprises += fading[:, None] * surprise[1:]
        return traces, surprises

    def marks(self, which: str, item: int, response: int) -> np.ndarray:
        """(H, traces) what one impression adds to the traces of its kind ("own") or of all kinds ("all")."""
        values = np.concatenate([[1.0], np.tanh(self.linear("to_values", self.embeddings[item]))])
        answer = np.outer(np.arange(3) == response, values)
        return self.linear(f"write_{which}", answer.ravel()).reshape(-1, self.traces)

    def expected(self, before: list, session: list, item: int) -> np.ndarray:
        """(R,) the probabilities that the model gave to the responses, on a grid of 1/4096."""
        key = (tuple(before), tuple(session), item)
        if key not in self.known:
            self.known[key] = np.round(softmax(self.logits(before, session, item)) * 4096) / 4096
        return self.known[key]

    def features(self, item: int) -> np.ndarray:
        return self.linear("to_features", self.embeddings[item])

    def kind(self, item: int) -> int:
        return int(self.linear("to_kinds", self.embeddings[item]).argmax())


class ReferenceSession:
    """One session of one user, played step by step."""

    def __init__(
        self,
        simulator: Simulator,
        seed: int,
        episode: int = 0,
        user: int | None = None,
        *,
        action: str = "embedding",
        candidates: int | None = None,
        history: int = 10,
        noise: float = 0.0,
    ) -> None:
        self.model, self.embeddings = ReferenceModel(simulator), simulator.catalogue.embeddings.numpy()
        self.candidates = [int(item) for item in simulator.recall_order[:candidates]]
        self.action, self.history, self.noise, self.step_number = action, history, noise, 0
        drawn = (mix(mix(mix(seed, USER), episode), 0) >> 1) % len(simulator.visits)
        self.user = drawn if user is None else user
        self.response_key = mix(mix(seed, RESPONSE), episode)
        self.noise_key = mix(mix(seed, NOISE), episode)
        items, responses = simulator.visits.items[self.user], simulator.visits.responses[self.user]
        self.before = [(int(i), int(r)) for i, r in zip(items, responses, strict=True) if i != NO_ITEM]
        self.session: list[tuple[int, int]] = []

    def choose(self, action: np.ndarray | int) -> int:
        """Catalogue index of the item that an action shows."""
        shown = {item for item, _ in self.session}
        if self.action == "item":
            if self.candidates[action] not in shown:
                return self.candidates[action]
            action = self.embeddings[self.candidates[action]]
        vector, best, nearest = np.asarray(action, dtype=np.float64), -np.inf, NO_ITEM
        for item in self.candidates:
            other = self.embeddings[item].astype(np.float64)
            cosine = vector @ other / (np.linalg.norm(vector) * np.linalg.norm(other))
            if item not in shown and cosine > best:
                best, nearest = cosine, item
        return nearest

    def probs(self, item: int) -> np.ndarray:
        """(R,) probabilities of the responses to ``item`` now."""
        logits = self.model.logits(self.before, self.session, item)
        key = mix(self.noise_key, self.step_number)
        return softmax(logits + [self.noise * normal(mix(key, response)) for response in range(3)])

    def step(self, action: np.ndarray | int) -> tuple[int, int, np.ndarray]:
        """Item shown, response, and the probabilities that it was drawn with."""
        item = self.choose(action)
        probs = self.probs(item)
        draw = uniform(mix(self.response_key, self.step_number))
        response = 0 if draw < probs[0] else 1 if draw < probs[0] + probs[1] else 2
        self.session.append((item, response))
        self.step_number += 1
        return item, response, probs

    def histories(self) -> np.ndarray:
        """(3, N) browsed, clicked and ordered catalogue indices."""
        table = []
        for least in range(3):
            items = [item for item, response in self.before + self.session if response >= least][-self.history :]
            table.append([NO_ITEM] * (self.history - len(items)) + items)
        return np.array(table)
