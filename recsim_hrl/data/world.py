"""A synthetic market with known truth, so that a simulator learned from its log can be held against it.

Items have a category, a quality (what a buyer finds out), an allure (what makes people click) and a price; the
embedding that everybody sees shows the last three only in part and with noise. Users have, on four time scales:

* long-term *taste* per category and an initial *trust*: hidden, fixed for life;
* *intent* per category: built by clicks on good items, slow to fall, spent by an order;
* *interest* per category (pulled by clicks) and *trust* in the shop (raised by clicks on items that are better than
  they look, hurt by click-bait): they fade over some tens of impressions;
* *consideration* per category: a few impressions of one category in close succession make the user ready to click
  and above all to order in it; shown too many, the user *tires* of it; other categories let both fade.

Everything but taste and initial trust is a function of what the log records. The exact Bayes predictive
(:mod:`recsim_hrl.data.bayes`) therefore only has to integrate over those two.

Why a greedy recommender loses here: alluring items are clicked now and cost trust for the rest of the session; and
the readiness to order has to be built by impressions that pay nothing themselves. Why uniform exploration finds
almost no orders: it never shows one category often enough in a row.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from recsim_hrl import random
from recsim_hrl.types import CLICK, ORDER, Catalogue

TASTE_LEVELS = (-1.4, -0.7, 0.0, 0.7, 1.4)
TRUST_LEVELS = (-0.8, -0.4, 0.0, 0.4, 0.8)
LEVEL_WEIGHTS = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
"""Taste and initial trust take one of five levels with binomial weights, so that Bayes sums are exact."""

_TASTE, _TRUST = 1, 2  # random streams


@dataclass(frozen=True)
class WorldConfig:
    """Size and nature of the market. The defaults reproduce the shape of MaHRL's Table 1."""

    items: int = 10_000
    """Catalogue size; the paper's is 553,156."""
    categories: int = 20
    """Kinds of goods."""
    embedding_dim: int = 50
    """Width of the item embedding."""
    embedding_noise: float = 0.25
    """Standard deviation of the noise in each embedding entry."""
    seed: int = 0
    """Draws the items and the users."""
    # What makes a user click.
    click_bias: float = -1.99
    """Click logit of an average item for an average user."""
    click_cap: float = 0.5
    """Nobody clicks more than this share of what is shown."""
    click_allure: float = 0.7
    """Weight of an item's allure."""
    click_interest: float = 0.6
    """Weight of interest in the category."""
    click_consideration: float = 1.0
    """Weight of consideration of the category."""
    click_tired: float = 0.5
    """Weight of tiredness of the category."""
    click_trust: float = 0.8
    """Weight of trust."""
    # What makes a click an order.
    order_bias: float = -6.0
    """Logit of an order given a click, without consideration."""
    order_cap: float = 0.6
    """Share of clicks that can become orders at the most."""
    order_quality: float = 0.9
    """Weight of an item's quality."""
    order_taste: float = 0.5
    """Weight of taste; in the click logit it is 1."""
    order_consideration: float = 4.2
    """Weight of consideration: what makes orders worth preparing."""
    order_intent: float = 0.8
    """Weight of purchase intent."""
    order_tired: float = 0.5
    """Weight of tiredness."""
    order_trust: float = 0.7
    """Weight of trust."""
    order_price: float = 0.4
    """Weight of a price above the category's usual."""
    # How the user changes.
    presence_decay: float = 0.75
    """What an impression leaves of the older recent-impression counts."""
    presence_half: float = 2.0
    """Recent-impression count at which consideration is half of its largest."""
    fatigue_decay: float = 0.95
    """The same decay for the longer count that tiredness grows with."""
    fatigue_free: float = 7.0
    """Count that does not tire yet: eight to ten impressions in a row."""
    interest_decay: float = 0.95
    """What an impression leaves of interest."""
    intent_decay: float = 0.985
    """What an impression leaves of purchase intent."""
    intent_kept: float = 0.25
    """What an order leaves of the intent in its category."""
    trust_decay: float = 0.99
    """What an impression leaves of trust's distance from where it began."""
    trust_step: float = 0.2
    """How far a click moves trust, per unit of quality minus allure."""
    trust_span: float = 1.6
    """How far trust can move at the most, in both directions."""

    def __post_init__(self) -> None:
        if self.items < self.categories or self.categories < 2:
            raise ValueError(
                f"world: got {self.items} items in {self.categories} categories, "
                "allowed 2 or more categories and at least one item in each"
            )
        if self.embedding_dim < 4:
            raise ValueError(f"world embedding_dim: got {self.embedding_dim}, allowed 4 or more")
        for name in ("presence_decay", "fatigue_decay", "interest_decay", "intent_decay", "trust_decay"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"world {name}: got {getattr(self, name)}, allowed between 0 and 1, both excluded")


@dataclass(frozen=True)
class Users:
    """The hidden part of users."""

    user_ids: Tensor  # (B,)
    taste: Tensor  # (B, K)
    trust: Tensor  # (B,) initial trust


@dataclass(frozen=True)
class WorldState:
    """Users within a visit. All fields but ``users`` follow from what was shown and answered in the visit."""

    users: Users
    presence: Tensor  # (B, K) decayed count of recent impressions: what consideration grows with
    fatigue: Tensor  # (B, K) the same over a longer time: what tiredness grows with
    interest: Tensor  # (B, K) decayed count of clicks
    intent: Tensor  # (B, K) decayed sum of the quality of clicked items, cut by orders
    trust_shift: Tensor  # (B,) how far trust has moved in this visit

    def take(self, index: Tensor) -> "WorldState":
        """The users at ``index``: positions (B,) or a mask."""
        users = Users(self.users.user_ids[index], self.users.taste[index], self.users.trust[index])
        rest = (self.presence, self.fatigue, self.interest, self.intent, self.trust_shift)
        return WorldState(users, *(field[index] for field in rest))


def _uniform_trait(x: Tensor) -> Tensor:
    """Standard normal numbers turned into uniform ones of mean 0 and variance 1."""
    return (torch.special.ndtr(x) - 0.5) * 12.0**0.5


class World:
    """The market: items, users, how they respond and how they change. Pure batched functions on tensors."""

    def __init__(self, config: WorldConfig | None = None) -> None:
        self.config = config or WorldConfig()
        generator = torch.Generator().manual_seed(self.config.seed)
        self._draw_items(generator)
        self.taste_levels = torch.tensor(TASTE_LEVELS)
        self.trust_levels = torch.tensor(TRUST_LEVELS)

    def _draw_items(self, generator: torch.Generator) -> None:
        config = self.config
        size, width = config.items, config.embedding_dim

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=generator)

        shares = torch.exp(0.4 * normal(config.categories)).softmax(0)
        every = torch.arange(config.categories)
        rest = torch.multinomial(shares, size - config.categories, replacement=True, generator=generator)
        self.category = torch.cat([every, rest]).sort().values  # (I,)
        # Traits are uniform with unit variance. Bounded traits keep the best items of a catalogue within what a log
        # of it covers; a click-bait item looks better than it is, so allure falls with quality.
        quality = normal(size)
        allure = -0.3 * quality + (1 - 0.3**2) ** 0.5 * normal(size)
        drawn = (quality, allure, normal(size))
        self.quality, self.allure, self.price_score = (_uniform_trait(trait) for trait in drawn)  # (I,) each
        usual = 10.0 + 90.0 * torch.rand(config.categories, generator=generator)
        price = (usual[self.category] * torch.exp(0.5 * self.price_score)).round(decimals=2)
        centres = torch.nn.functional.normalize(normal(config.categories, width), dim=-1) * 3.0
        axes = torch.linalg.qr(normal(width, 3))[0].T  # (3, D) directions that show quality, allure and price
        traits = torch.stack([self.quality, self.allure, self.price_score], -1)  # (I, 3)
        embeddings = centres[self.category] + traits @ axes + config.embedding_noise * normal(size, width)
        self.catalogue = Catalogue(torch.arange(size), embeddings, self.category, price)

    def users(self, user_ids: Tensor) -> Users:
        """The hidden truth of users, a function of the world's seed and their ids (B,)."""
        weights = torch.tensor(LEVEL_WEIGHTS)
        key = random.mix(random.mix(torch.tensor(self.config.seed), 7), user_ids)  # (B,)
        per_category = random.mix(random.mix(key, _TASTE).unsqueeze(-1), torch.arange(self.config.categories))
        levels = random.sample(weights.expand(*per_category.shape, -1), random.uniform(per_category))
        trust = random.sample(weights.expand(*key.shape, -1), random.uniform(random.mix(key, _TRUST)))
        return Users(user_ids, self.taste_levels[levels], self.trust_levels[trust])

    def initial(self, users: Users) -> WorldState:
        """Users at the start of a visit."""
        empty = torch.zeros_like(users.taste)
        return WorldState(users, empty, empty, empty, empty, torch.zeros_like(users.trust))

    def logits(self, state: WorldState, items: Tensor, taste: Tensor, trust: Tensor) -> tuple[Tensor, Tensor]:
        """Click and order-given-click logits of ``items`` (B, C) for users with ``taste`` and ``trust``.

        ``taste`` and ``trust`` broadcast against (B, C) in their last dimensions and are all that is hidden.
        """
        c = self.config
        category = self.category[items]  # (B, C)
        presence = state.presence.gather(1, category)
        ready = presence**2 / (presence**2 + c.presence_half**2)
        tired = (state.fatigue.gather(1, category) - c.fatigue_free).clamp_min(0.0)
        interest = state.interest.gather(1, category)
        intent = state.intent.gather(1, category)
        shift = c.trust_span * torch.tanh(state.trust_shift / c.trust_span).unsqueeze(1)
        click = (
            c.click_bias
            + c.click_allure * self.allure[items]
            + c.click_interest * torch.tanh(interest / 2.0)
            + c.click_consideration * ready
            - c.click_tired * tired
            + c.click_trust * (shift + trust)
            + taste
        )
        order = (
            c.order_bias
            + c.order_quality * self.quality[items]
            - c.order_price * self.price_score[items]
            + c.order_consideration * ready
            + c.order_intent * torch.tanh(intent / 2.0) * 2.0
            - c.order_tired * tired
            + c.order_trust * (shift + trust)
            + c.order_taste * taste
        )
        return click, order

    def response_probs(self, click_logits: Tensor, order_logits: Tensor) -> Tensor:
        """(..., R) probabilities of skip, click and order."""
        clicked = self.config.click_cap * torch.sigmoid(click_logits)
        ordered = clicked * self.config.order_cap * torch.sigmoid(order_logits)
        return torch.stack([1.0 - clicked, clicked - ordered, ordered], -1)

    def probs(self, state: WorldState, items: Tensor) -> Tensor:
        """True response probabilities (B, C, R) of ``items``, (B, C) or (C,) for all users alike."""
        if items.ndim == 1:
            items = items.expand(len(state.trust_shift), -1)
        taste = state.users.taste.gather(1, self.category[items])  # (B, C)
        return self.response_probs(*self.logits(state, items, taste, state.users.trust.unsqueeze(1)))

    def update(self, state: WorldState, items: Tensor, responses: Tensor) -> WorldState:
        """Users after one impression of ``items`` (B,) answered with ``responses`` (B,)."""
        c = self.config
        here = torch.nn.functional.one_hot(self.category[items], c.categories).to(torch.float32)  # (B, K)
        clicked = (responses >= CLICK).to(torch.float32)  # (B,)
        ordered = (responses == ORDER).to(torch.float32).unsqueeze(1)  # (B, 1)
        good = torch.sigmoid(self.quality[items] * 1.5) * clicked  # (B,)
        intent = state.intent * c.intent_decay + here * good.unsqueeze(1)
        return replace(
            state,
            presence=state.presence * c.presence_decay + here,
            fatigue=state.fatigue * c.fatigue_decay + here,
            interest=state.interest * c.interest_decay + here * clicked.unsqueeze(1),
            intent=intent * (1.0 - here * ordered * (1.0 - c.intent_kept)),
            trust_shift=state.trust_shift * c.trust_decay
            + c.trust_step * clicked * (self.quality[items] - self.allure[items]),
        )
