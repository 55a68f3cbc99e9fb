"""The single environment of RecSlate: a batch of one user over the same core as the vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_hrl.envs.single import UserEnv
from recsim_hrl.simulator.core import Observation
from recsim_hrl.simulator.slate_config import Leave, RewardRule, SlateAction, SlateConfig
from recsim_hrl.types import DEFAULT_REWARDS
from recsim_hrl.vector.slate_batch import SlateBatch, SlateOffer, load_slate_core

if TYPE_CHECKING:
    from recsim_hrl.semantic_ids import SemanticIds
    from recsim_hrl.simulator.folder import SimulatorData
    from recsim_hrl.simulator.store import Simulator


class RecSlateEnv(SlateOffer, UserEnv):
    r"""A slate of items per request for one user, who may leave, over models learned from logs.

    ## Description
    A user visits a shop and makes requests; each is answered with a slate of K items. The user reads it from the first
    slot to the last and skips, clicks or orders each item, as the response model says of one more impression. So what a
    slot brings depends on the slots above it: a run of one category first persuades and then tires, a bad click costs
    trust. After each item the user may leave, as a model fitted to where the sessions of the log end says; what stands
    below is then not seen. The aim is much reward before the user leaves.

    This reading of a slate, a cascade, is what the log supports. It holds impressions in the order in which they were
    seen, each with its own answer, so the chance of all answers of a slate is the product of the chances of each given
    those above it. A softmax over a slate would say how an item further down changes the answer to one above, and
    nothing in such a log tells that. For the same reason a slot has no effect of its own: that an item stands third
    matters only as two others were seen before it, and some users have left. Where a log holds whole slates, a
    position bias that goes beyond this is not in the model.

    The catalogue may change (`catalog_turnover`): what is on offer is a stretch of the stock, which moves on from
    session to session, so that the oldest items are replaced by others. The stock is in the simulator's recall order, a
    random permutation, so those that come are on average as good as those that go. They have embeddings, and no session
    has shown them yet; only in the visit before, from which histories start, may the log have shown any item. The stock
    is a ring: after `stock / (catalog_turnover * candidates)` sessions the first items come back. Session `e` of a seed
    sees the catalogue of time `catalog_start + e`, whichever the seed.

    ## Action Space
    | `action` | space | shows |
    |---|---|---|
    | `"items"` (default) | `MultiDiscrete([P] * K)` | the items at these places of the stock |
    | `"embeddings"` | `Box(-B, B, (K, D))` | slot by slot the item of the largest cosine similarity |
    | `"query"` | `Box(-B, B, (D,))` | the K items of the largest cosine similarity, the nearest first |
    | `"tokens"` | `Box(-10, 10, (L, V))` | the K items with the largest sum of their semantic ids' token logits |

    `P` is the size of the stock (`env.unwrapped.candidate_items` holds its catalogue indices), `B` the largest absolute
    entry of an embedding, `D` its width. `L` levels of `V` tokens are those of `semantic_ids`; this space does not
    change when items come and go. With `"query"`, one vector is the whole slate (the hyper-action of HAC).

    Only items that are on offer and were not shown in the session are shown, and `available` tells which. An index of
    another item stands for the most similar item that can be shown; slots are filled from the first to the last. Ties
    go to the first item of the stock. An action that is NaN, of another shape, or outside the space is a `ValueError`.

    ## Observation Space
    A `Dict`:

    | key | space | holds |
    |---|---|---|
    | `browsed`, `clicked`, `ordered` | as in `RecSession-v0` | the last N items that the user saw, clicked or ordered |
    | `available` | `MultiBinary(P)` | 1 for each item of the stock that is on offer and was not shown in the session |
    | `request` | `Box(0, 1, (1,))` | share of the requests of a session that were made |

    ## Rewards
    `reward="responses"` (default): the sum over the slots that the user saw of 0 for a skip, 1 for a click, 5 for an
    order (`rewards`). `reward="clicks"`: the published reward of HAC and HSRL, the mean over all slots of 1 for a click
    (or an order) and -0.1 for none; `reward="rl4rs"`: `1 - |r - 0.9|` of that mean `r`.

    ## Starting State
    As in `RecSession-v0`: a user of the simulator's pool, from its previous visit, or `reset(options={"user": k})`.
    Each draw depends only on the seed, the episode under that seed, the number of items seen, and what is drawn. So the
    same seed and actions give the same session alone or among any number of users, and items are answered the same in
    slates of any size. Items, responses and leaving are equal bit for bit on one machine.

    ## Episode End
    `leave="learned"` (default): terminated when the user leaves, as the simulator's leave model draws after each item.
    `leave="temper"`: the published rule; temper starts at 20, a request of published reward `r` costs `(1 - r) K + 1`,
    and the session is terminated when less than 1 is left; every slate is seen as a whole. `leave="never"`: never
    terminated.

    Truncated after `max_requests` requests, unless the user left with the last one: then it is terminated alone. The
    temper rule takes the reward of `reward="rl4rs"` where that is chosen, and that of `"clicks"` otherwise. `step`
    after the end raises `gymnasium.error.ResetNeeded`.

    ## Info
    `reset` gives `user`, the index of the user in the pool. `step` gives

    | key | meaning |
    |---|---|
    | `response` | (K,) 0 skip, 1 click, 2 order; 0 where the user did not look |
    | `is_seen` | (K,) whether the user looked |
    | `item` | (K,) catalogue indices of the slate |
    | `item_id` | (K,) their names in the log |
    | `category` | (K,) their categories |
    | `click_reward` | reward of the clicks, by `rewards` |
    | `order_reward` | reward of the orders, by `rewards` |
    | `user` | index of the user in the pool |
    | `simulator_index` | with `simulators`: which of them plays the session, also told by `reset` |
    | `support`, `is_supported` | with `report_support`: (K,), as in `RecSession-v0`; 0 where the user did not look |
    | `session` | last step only: `total_reward`, `click_reward`, `order_reward`, `clicks`, `orders`, and |
    | | `length`, the items seen, and `depth`, the requests |

    ## Arguments
    ```python
    import gymnasium as gym
    import recsim_hrl

    env = gym.make("RecSlate-v0", slate_size=9, action="items")
    ```

    | argument | default | meaning |
    |---|---|---|
    | `slate_size` | 9 | `K`, items of a slate |
    | `max_requests` | 20 | slates of a session at the most; all their items must be on offer at once |
    | `simulator` | `"default"` | name of a shipped simulator, or a folder made by `recsim-hrl fit` |
    | `simulators` | `None` | a list of them in place of one, as in `RecSession-v0`; each has a leave model |
    | `split` | `"train"` | `"train"` to learn on, `"test"` to be judged on |
    | `action` | `"items"` | form of an action, see above |
    | `observation` | `"embeddings"` | or `"item_ids"` (faster) |
    | `candidates` | 1000 | items on offer at a time; `None`: the whole catalogue |
    | `stock` | `None` | items that are ever on offer; `None`: `candidates`, and with turnover the whole catalogue |
    | `catalog_turnover` | 0.0 | share of the items on offer that is replaced from session to session |
    | `catalog_start` | 0 | sessions for which the catalogue has changed before the first one |
    | `leave` | `"learned"` | when users leave, see above |
    | `reward` | `"responses"` | what a request pays, see above |
    | `history` | 20 | `N`, the length of each history |
    | `response_noise` | 0.0 | standard deviation of noise on the response logits |
    | `rewards` | `(0, 1, 5)` | reward of a skip, a click, an order |
    | `semantic_ids` | `None` | ids of the catalogue's items, or their file, for `action="tokens"` |
    | `report_support` | `False` | tell in `info` how much of each impression the log covers |
    | `render_mode` | `None` | `"ansi"`, `"rgb_array"`, or `"human"` (needs `pip install recsim-hrl[human]`) |

    A share of the items that is no whole number is kept over the sessions: 1.5 items are one and two in turn. The stock
    must hold at least as many items beside those on offer as come in a session. Items cannot be added to a running
    environment, as they can to `RecSession-v0`, and there is no environment of slates on tensors.

    ## Vectorized environment
    `gym.make_vec("RecSlate-v0", num_envs=8, vectorization_mode="vector_entry_point")` gives the native one, with the
    guarantees of that of `RecSession-v0`: sub-environment `i` of `reset(seed=s)` is the single environment of
    `reset(seed=s + i)`; sessions that end are followed by new ones in the same step (`AutoresetMode.SAME_STEP`), with
    their end in `info["final_obs"]` and `info["final_info"]`; `reset` takes `reset_mask`, `users` and `user`; `threads`
    share the users; `state_dict` and `load_state_dict` put all users aside. As users leave at different times, they are
    soon at different sessions, and each sees the catalogue of its own. `max_episode_steps` stands for fewer
    `max_requests`.

    ## Version History
    * v0: Initial version (0.1.0)

    ## References
    Liu, S., Cai, Q., Sun, B., et al. "Exploration and Regularization of the Latent Action Space in Recommendation."
    WWW 2023. "Hierarchical Semantic RL", arXiv 2510.09167.
    """

    def __init__(
        self,
        slate_size: int = 9,
        *,
        max_requests: int = 20,
        simulator: str | Path | Simulator | SimulatorData = "default",
        simulators: Sequence[str | Path | Simulator | SimulatorData] | None = None,
        split: str = "train",
        action: SlateAction = "items",
        observation: Observation = "embeddings",
        candidates: int | None = 1000,
        stock: int | None = None,
        catalog_turnover: float = 0.0,
        catalog_start: int = 0,
        leave: Leave = "learned",
        reward: RewardRule = "responses",
        history: int = 20,
        response_noise: float = 0.0,
        rewards: tuple[float, float, float] = DEFAULT_REWARDS,
        semantic_ids: SemanticIds | str | Path | None = None,
        report_support: bool = False,
        render_mode: str | None = None,
    ) -> None:
        config = SlateConfig(
            slate_size=slate_size,
            max_requests=max_requests,
            action=action,
            observation=observation,
            candidates=candidates,
            stock=stock,
            catalog_turnover=catalog_turnover,
            catalog_start=catalog_start,
            leave=leave,
            reward=reward,
            history=history,
            response_noise=response_noise,
            rewards=rewards,
        )
        self._begin(render_mode)
        core = load_slate_core(simulator, split, config, semantic_ids, simulators=simulators)
        self._batch = SlateBatch(core, 1, report_support)
        self._offer(core)
