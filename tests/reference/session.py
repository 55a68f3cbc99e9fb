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
        self.known: dict[tuple, np.ndarray] = {}  # expectations, each asked for again by every later step

    def linear(self, layer: str, x: np.ndarray) -> np.ndarray:
        return self.weights[f"{layer}.weight"] @ x + self.weights.get(f"{layer}.bias", 0.0)

    def logits(self, before: list[tuple[int, int]], session: list[tuple[int, int]], item: int) -> np.ndarray:
        """Logits of ``item`` after the visit ``before`` and the ``session`` so far, both lists of (item, response)."""
        own, whole = self.reads(before, session, item)
        reads = self.linear("read_own", own.ravel()) + self.linear("read_all", whole.ravel())
        hidden = silu(reads + self.linear("read_item", self.features(item)))
        hidden = silu(self.linear("middle", hidden)) + hidden
        return self.linear("head", hidden) * self.weights["logit_scale"] + self.weights["logit_shift"]

    def reads(self, before: list, session: list, item: int) -> tuple[np.ndarray, np.ndarray]:
        """(H, channels) of the kind of ``item`` and of all kinds: counts, then surprises."""
        own_counts, all_counts = self.counts(before, session, item)
        own_surprises, all_surprises = np.zeros((2, len(own_counts), 2))
        for scale, (decay, unit) in enumerate(zip(sigmoid(self.weights["decay_logits"]), self.units(), strict=True)):
            for place, (other, response) in enumerate(session):
                surprise = (np.arange(3) == response) - self.expected(before, session[:place], other)
                weight = unit * decay ** (len(session) - 1 - place) * surprise[1:]
                own_surprises[scale] += (self.kind(item) == self.kind(other)) * weight
                all_surprises[scale] += weight
        own = np.concatenate([own_counts, self.cut(own_surprises, "own_limits", slice(-2, None))], 1)
        return own, np.concatenate([all_counts, self.cut(all_surprises, "all_limits", slice(-2, None))], 1)

    def counts(self, before: list, session: list, item: int) -> tuple[np.ndarray, np.ndarray]:
        """(H, channels - 2) of the kind of ``item`` and of all kinds."""
        decays, carry = sigmoid(self.weights["decay_logits"]), sigmoid(self.weights["carry_logits"])
        own, whole = np.zeros((2, len(decays), 3, 1 + len(self.weights["to_values.bias"])))
        for scale, unit in enumerate(self.units()):
            for age, (other, response) in enumerate(reversed(before + session)):
                weight = unit * decays[scale] ** age * (carry[scale] if age >= len(session) else 1.0)
                values = np.concatenate([[1.0], np.tanh(self.linear("to_values", self.embeddings[other]))])
                own[scale, response] += (self.kind(item) == self.kind(other)) * weight * values
                whole[scale, response] += weight * values
        own, whole = own.reshape(len(decays), -1), whole.reshape(len(decays), -1)
        return self.cut(own, "own_limits", slice(-2)), self.cut(whole, "all_limits", slice(-2))

    def expected(self, before: list, session: list, item: int) -> np.ndarray:
        """(R,) the probabilities that the expectation gives to the responses."""
        key = (tuple(before), tuple(session), item)
        if key not in self.known:
            own, whole = self.counts(before, session, item)
            logits = self.linear("expect_own", own.ravel()) + self.linear("expect_all", whole.ravel())
            logits = logits + self.linear("expect_item", self.features(item))
            self.known[key] = softmax(np.concatenate([[0.0], logits]))
        return self.known[key]

    def units(self) -> np.ndarray:
        """(H,) what counts of each time scale are multiplied with."""
        return np.maximum(1 - sigmoid(self.weights["decay_logits"]), 0.02) * 2

    def cut(self, sums: np.ndarray, limits: str, channels: slice) -> np.ndarray:
        """``sums`` (H, n), in units, within the limits of those channels."""
        low, high = self.weights[limits].reshape(2, len(sums), -1)[..., channels] * self.units()[:, None]
        return np.clip(sums, low, high)

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
