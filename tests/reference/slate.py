"""The slow, obvious twin of slates: one user, item by item on the twin of sessions, exact fractions for the rules."""

import math
from fractions import Fraction

import numpy as np

from recsim_hrl.simulator.leaving import FURTHEST, LeaveModel
from recsim_hrl.simulator.slate_config import SlateConfig
from recsim_hrl.simulator.store import Simulator
from tests.reference.session import ReferenceSession, mix, uniform

LEAVE = 5


def hazard(model: LeaveModel, whole: np.ndarray, impressions: int) -> float:
    """The chance to leave, written from the definition; ``whole`` (W,) are the traces of all kinds."""
    inputs = np.array([*whole, math.log(1 + impressions), math.log(1 + impressions) ** 2])
    scaled = np.clip((inputs - model.centre) / model.scale, -FURTHEST, FURTHEST)
    units = scaled @ model.first + model.first_bias
    silu = units / (1 + np.exp(-units))
    return 1 / (1 + math.exp(-(model.bias[0] + scaled @ model.direct + silu @ model.last)))


def published(clicks: int, slots: int, rl4rs: bool) -> Fraction:
    """What a request pays of whose ``slots`` so many were clicked."""
    mean = (clicks - Fraction(1, 10) * (slots - clicks)) / slots
    return 1 - abs(mean - Fraction(9, 10)) if rl4rs else mean


class ReferenceSlates:
    """One session of one user, played request by request."""

    def __init__(
        self,
        simulator: Simulator,
        config: SlateConfig,
        seed: int,
        episode: int = 0,
        user: int | None = None,
        codes: np.ndarray | None = None,
    ) -> None:
        self.config, self.leaving = config, simulator.leaving
        whole = len(simulator.catalogue)
        stock = config.stock or (whole if config.catalog_turnover else config.candidates) or whole
        settings = {"candidates": stock, "history": config.history, "noise": config.response_noise}
        self.items = ReferenceSession(simulator, seed, episode, user, action="item", **settings)
        self.stock = self.items.candidates
        self.codes = None if codes is None else [codes[item] for item in self.stock]
        offered = min(config.candidates or len(self.stock), len(self.stock))
        each = Fraction(str(config.catalog_turnover)) * offered
        first = math.floor((config.catalog_start + episode) * each)
        self.offer = {(first + number) % len(self.stock) for number in range(offered)}
        self.leave_key = mix(mix(seed, LEAVE), episode)
        self.request, self.left, self.temper = 0, False, Fraction(20)
        self.total = Fraction(0)

    def available(self) -> list[int]:
        """(P,) 1 for what can be shown."""
        shown = {item for item, _ in self.items.session}
        return [int(p in self.offer and self.stock[p] not in shown) for p in range(len(self.stock))]

    def slate(self, action: np.ndarray) -> list[int]:
        """Places of the items that an action shows."""
        open_places = [place for place, is_open in enumerate(self.available()) if is_open]
        chosen: list[int] = []
        for slot in range(self.config.slate_size):
            left = [place for place in open_places if place not in chosen]
            match self.config.action:
                case "items" if action[slot] in left:
                    chosen.append(int(action[slot]))
                    continue
                case "items":
                    scores = self.cosines(self.items.embeddings[self.stock[action[slot]]])
                case "embeddings":
                    scores = self.cosines(action[slot])
                case "query":
                    scores = self.cosines(action)
                case "tokens":
                    scores = [sum(map(float, action[range(len(code)), code])) for code in self.codes]
            chosen.append(max(left, key=lambda place: (scores[place], -place)))
        return chosen

    def cosines(self, vector: np.ndarray) -> list[float]:
        """(P,) cosines of the stock with ``vector`` (D,), equal if they are but for rounding."""
        vector = np.asarray(vector, np.float64)
        table = self.items.embeddings[self.stock].astype(np.float64)
        lengths = np.linalg.norm(table, axis=1) * np.linalg.norm(vector)
        return [round(float(one), 11) for one in table @ vector / lengths]

    def step(self, action: np.ndarray) -> tuple[list[int], list[int], list[bool], float]:
        """Catalogue indices of the slate, responses, what was seen, and the reward."""
        slots, config = self.slate(action), self.config
        responses, seen = [0] * len(slots), [False] * len(slots)
        for slot, place in enumerate(slots):
            _, responses[slot], _ = self.items.step(place)
            seen[slot] = True
            if config.leave == "learned" and self.leaves():
                self.left = True
                break
        pays = published(sum(one > 0 for one in responses), len(slots), config.reward == "rl4rs")
        if config.leave == "temper":
            self.temper -= (1 - pays) * len(slots) + 1
            self.left = self.temper < 1
        if config.reward == "responses":
            pays = sum(config.rewards[one] for one, looked in zip(responses, seen, strict=True) if looked)
        self.request += 1
        self.total += Fraction(pays)
        return [self.stock[place] for place in slots], responses, seen, float(pays)

    def leaves(self) -> bool:
        """Whether the user leaves after what it saw last."""
        traces, surprises = self.items.model.traces_of("all", self.items.before, self.items.session)
        chance = hazard(self.leaving, np.concatenate([traces.ravel(), surprises.ravel()]), self.items.step_number)
        return uniform(mix(self.leave_key, self.items.step_number)) < chance

    def truncated(self) -> bool:
        """Whether the session is cut off, rather than ended by the user."""
        return self.request == self.config.max_requests and not self.left
