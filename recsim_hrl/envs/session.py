"""The single environment of RecSession: a batch of one user over the same core as the vector environment."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsim_hrl.envs.single import UserEnv
from recsim_hrl.simulator.core import Action, Observation, Search, SessionConfig
from recsim_hrl.types import DEFAULT_REWARDS
from recsim_hrl.vector.shell import Restocked, SessionBatch, load_core

if TYPE_CHECKING:
    from recsim_hrl.simulator.folder import SimulatorData
    from recsim_hrl.simulator.store import Simulator


class RecSessionEnv(Restocked, UserEnv):
    r"""One item per step for one user, over a response model learned from logs.

    ## Description
    A user visits a shop. At each step the agent shows one item, and the user skips it, clicks it or orders it, as a
    response model fitted to interaction logs says. Responses depend on everything that the user has seen and done in
    this session and in the visit before: interest grows and fades, repetition first persuades and then tires, and
    trust is won and lost. The task is that of MaHRL (section 4.1): gain the most reward in a session of fixed length,
    short (50 items) or long (200).

    | id | session length | observation |
    |---|---|---|
    | `RecSession-v0` | 50 | three histories |
    | `RecSessionShort-v0` | 50 | three histories |
    | `RecSessionLong-v0` | 200 | three histories |
    | `RecSessionFlat-v0` | 50 | one flat vector |

    ## Action Space
    `action="embedding"` (default): `Box(-B, B, (D,), float32)`, where `D` is the width of an item embedding and `B`
    the largest absolute entry of any. The environment shows the candidate with the largest cosine similarity to the
    action (MaHRL Eq. 9) among those not yet shown in the session; ties go to the first candidate.

    `action="item"`: `Discrete(C)`, an index into the candidates (`env.unwrapped.candidate_items` holds their catalogue
    indices). An item is never shown twice in a session: the index of one that was shown stands for the most similar
    candidate that was not. `info["item"]` always says what was shown.

    An action that is NaN, of another shape, or outside the space is a `ValueError`.

    ## Observation Space
    `observation="embeddings"` (default): a `Dict` of three `Box(-B, B, (N, D), float32)`:

    | key | holds the embeddings of the last N items that were |
    |---|---|
    | `browsed` | shown, whatever the response |
    | `clicked` | clicked or ordered |
    | `ordered` | ordered |

    The most recent item is last; empty places come first and are zero.

    `observation="item_ids"`: the same three keys, each `Box(0, I, (N,), int64)`, catalogue index plus one, 0 where
    empty. Row `i` of `env.unwrapped.item_embeddings` is the item written `i + 1`.

    `flat=True` (`RecSessionFlat-v0`): the three, in this order, flattened into one `Box` of `3 * N * D` (or `3 * N`)
    numbers.

    ## Rewards
    `rewards[response]`: 0 for a skip, 1 for a click, 5 for an order, unless the argument says otherwise.

    ## Starting State
    A user drawn from the simulator's pool, or `reset(options={"user": k})`. The histories and the response model's
    memory start from the user's previous visit.

    Each draw depends only on the seed, the number of the episode under that seed, the step, and what is drawn; so the
    same seed and actions give the same session alone or among any number of users. `reset(seed=s)` begins episode 0
    of seed `s`, and `reset()` the next episode. Items and responses are equal bit for bit on one machine.

    ## Episode End
    Truncated after `session_length` items. Never terminated: users do not leave in this task. `step` after the end
    raises `gymnasium.error.ResetNeeded`.

    ## Info
    `reset` gives `user`, the index of the user in the pool. `step` gives

    | key | meaning |
    |---|---|
    | `response` | 0 skip, 1 click, 2 order |
    | `item` | catalogue index of the item shown |
    | `item_id` | its name in the log |
    | `category` | its category |
    | `click_reward` | the reward, if the response is a click, else 0 |
    | `order_reward` | the reward, if the response is an order, else 0 |
    | `user` | index of the user in the pool |
    | `support` | with `report_support`: impressions in the log that are of the sort of this one |
    | `is_supported` | with `report_support`: whether they are 200 or more, enough to learn from |
    | `session` | last step only: `total_reward`, `click_reward`, `order_reward`, `clicks`, `orders`, `length` |

    ## Arguments
    ```python
    import gymnasium as gym
    import recsim_hrl

    env = gym.make("RecSession-v0", session_length=50, action="embedding")
    ```

    | argument | default | meaning |
    |---|---|---|
    | `session_length` | 50 (`Long`: 200) | items in a session, at most the number of candidates |
    | `simulator` | `"default"` | name of a shipped simulator, or a folder made by `recsim-hrl fit` |
    | `simulators` | `None` | a list of them in place of one, see below |
    | `split` | `"train"` | `"train"` to learn on, `"test"` to be judged on |
    | `action` | `"embedding"` | or `"item"` |
    | `observation` | `"embeddings"` | or `"item_ids"` (faster) |
    | `candidates` | 1000 | at most this many candidates; `None`: the whole catalogue |
    | `recall` | `None` | a user's own candidates, chosen at the start of a session: half are like the last clicks |
    | `search` | `"exact"` | or `"approximate"`, by an index of faiss (needs `pip install recsim-hrl[ann]`) |
    | `history` | 10 | `N`, the length of each history |
    | `response_noise` | 0.0 | standard deviation of noise on the response logits of each step |
    | `rewards` | `(0, 1, 5)` | reward of a skip, a click, an order |
    | `flat` | `False` (`Flat`: `True`) | one flat vector in place of a dictionary |
    | `report_support` | `False` | tell in `info` how much of each step the log covers, see below |
    | `render_mode` | `None` | `"ansi"`, `"rgb_array"`, or `"human"` (needs `pip install recsim-hrl[human]`) |

    `env.unwrapped.add_items(catalogue)` and `remove_items(candidates)` change the offer while sessions run, at the
    price of the items that come and go, not of the catalogue.

    `simulators=["sims/a", "sims/b"]` is an ensemble: each session is played on one of them, so that no single one can
    be exploited. Which one is drawn from seed and episode, as the user is. `info`, of `reset` and of each step, then
    holds `simulator_index`, its place in the list; `user` is an index into its pool. All must sell the same items and
    be of one size (`--kinds`, `--hidden` and `--pool` of `recsim-hrl fit`); the candidates are those of the first.

    `report_support=True` tells at each step whether the simulator still knows what it says. It puts the impression
    into a cell, by how many of the ten before it were of its category, how many of the last twenty responses were
    clicks, how good the last ten items were to the average user, and how late in the session it is; and counts the
    impressions of that cell in the log. A simulator holds these counts since it was fitted; to an older one `recsim-hrl
    support` adds them. An item that was added later has no support. The environment on tensors does not tell.

    ## Vectorized environment
    `gym.make_vec("RecSession-v0", num_envs=8, vectorization_mode="vector_entry_point")` gives the native one, with the
    same arguments. Sub-environment `i` of `reset(seed=s)` is the single environment of `reset(seed=s + i)`. Sessions
    that end are followed by new ones in the same step (`AutoresetMode.SAME_STEP`): the end of the old session is in
    `info["final_obs"]` and `info["final_info"]`. `reset` takes the options `reset_mask`, `users` (a pool index or None
    for each sub-environment) and `user` (one for all). `max_episode_steps` shortens the sessions. `threads` says how
    many threads share the users (`None`: one per core, for as many users as are worth it). Rendering is
    `"ansi"` or `"rgb_array"`, one frame per user.

    ## Version History
    * v0: Initial version (0.1.0)

    ## References
    Zhao, D., Zhang, L., Zhang, B., Zheng, L., Bao, Y., and Yan, W. "MaHRL: Multi-goals Abstraction Based Deep
    Hierarchical Reinforcement Learning for Recommendations." SIGIR 2020.
    """

    def __init__(
        self,
        session_length: int = 50,
        *,
        simulator: str | Path | Simulator | SimulatorData = "default",
        simulators: Sequence[str | Path | Simulator | SimulatorData] | None = None,
        split: str = "train",
        action: Action = "embedding",
        observation: Observation = "embeddings",
        candidates: int | None = 1000,
        recall: int | None = None,
        search: Search = "exact",
        history: int = 10,
        response_noise: float = 0.0,
        rewards: tuple[float, float, float] = DEFAULT_REWARDS,
        flat: bool = False,
        report_support: bool = False,
        render_mode: str | None = None,
    ) -> None:
        config = SessionConfig(
            session_length=session_length,
            action=action,
            observation=observation,
            candidates=candidates,
            recall=recall,
            search=search,
            history=history,
            response_noise=response_noise,
            rewards=rewards,
            flat=flat,
        )
        self._begin(render_mode)
        core = load_core(simulator, split, config, simulators=simulators)
        self._batch = SessionBatch(core, 1, report_support)
        self._stock(core)
