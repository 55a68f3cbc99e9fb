import itertools

import numpy as np
import pytest
import torch
from recsim_hrl_agents import LoggedSessions, Market, evaluate, load_agent, make_agent
from recsim_hrl_agents.baselines.cf import CFConfig, FactoredSimilarity
from recsim_hrl_agents.baselines.fm import FactorizationMachine, FMConfig
from recsim_hrl_agents.baselines.gru import GRUConfig, RecurrentRanker
from recsim_hrl_agents.baselines.item_ids import ItemIds
from recsim_hrl_agents.baselines.wide_deep import WideDeepConfig, WideDeepNetwork, kinds_of
from recsim_hrl_agents.market import HISTORIES
from recsim_hrl_agents.networks import ItemTable

from recsim_hrl.types import R

NAMES = ["cf", "fm", "wide-deep", "gru"]
EMBEDDINGS = np.array([[1.0, 0.5], [-0.5, 2.0], [0.3, -1.0], [1.5, 0.2]], np.float32)
TABLE = ItemTable(EMBEDDINGS, "item_ids")
WINDOWS = {  # ids: catalogue index + 1, the latest last
    "browsed": np.array([[0, 1, 4], [2, 3, 1]]),
    "clicked": np.array([[0, 0, 4], [0, 2, 1]]),
    "ordered": np.array([[0, 0, 0], [0, 0, 2]]),
}


def network_of(name):
    """A network of random weights, all of them, over the four items above."""
    torch.manual_seed(0)
    network = {
        "cf": lambda: FactoredSimilarity(items=4, factors=3, agreement=0.5),
        "fm": lambda: FactorizationMachine(items=4, embedding_dim=2, history=3, half_lives=(1.0,), factors=3),
        "wide-deep": lambda: WideDeepNetwork(
            torch.from_numpy(EMBEDDINGS), 3, WideDeepConfig(kinds=2, factors=2, hidden=(4, 3), half_lives=(1.0,))
        ),
        "gru": lambda: RecurrentRanker(items=4, embedding_dim=2, hidden=3),
    }[name]()
    for weights in network.parameters():
        weights.data.normal_(std=0.5)
    return network.requires_grad_(False)


def all_logits(network):
    """(2, 4, R) logits of the four items for the two users of ``WINDOWS``."""
    encoded = network.encode(TABLE, np.arange(4))
    return network(network.read(TABLE, WINDOWS).unsqueeze(1), encoded).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_all_pairs_are_what_single_pairs_are(name):
    network = network_of(name)
    pairs = list(itertools.product(range(2), range(4)))
    users, items = np.array(pairs).T
    reads = network.read(TABLE, {key: window[users] for key, window in WINDOWS.items()})
    single = network(reads, network.encode(TABLE, items))
    torch.testing.assert_close(torch.from_numpy(all_logits(network)).flatten(0, 1), single)


def test_cf_by_hand():
    network = FactoredSimilarity(items=4, factors=1, agreement=0.5).requires_grad_(False)
    network.remembered.weight.copy_(torch.tensor([[0.0], [2.0], [3.0], [5.0], [7.0]]))
    network.offered.weight.copy_(torch.tensor([[1.0], [10.0], [-1.0], [0.5]]))
    network.item_rates.weight.copy_(torch.arange(12.0).view(4, 3))
    network.rates.bias.copy_(torch.tensor([0.1, 0.2, 0.3]))
    network.rates.weight.copy_(torch.tensor([[0.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]]))
    network.weights.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, -2.0]]).unsqueeze(-1))
    logits = all_logits(network)
    # The first user browsed items 0 and 3 (2 + 7 over the root of 2), clicked item 3 (7 over 1), ordered nothing.
    np.testing.assert_allclose(logits[0, 1], [0.1 + 3 + 90 / 2**0.5, 0.2 + 1.0 + 4 + 70, 0.3 + 5 + 70], rtol=1e-6)
    # The second clicked items 1 and 0 (5 over the root of 2; two of three places are full) and ordered item 1 (3).
    clicked, ordered = 5 / 2**0.5, 3.0
    expected = [0.1 + 9 + 0.5 * 10 / 3**0.5, 0.2 + 2.0 + 10 + 0.5 * clicked, 0.3 + 11 + 0.5 * (clicked - 2 * ordered)]
    np.testing.assert_allclose(logits[1, 3], expected, rtol=1e-6)


def features_of(fields, ids, values, dense):
    """One side's features one by one: values (F,), weights (F, R), factors (F, E)."""
    weights = torch.cat([fields.id_weights.weight[ids], fields.dense_weights]).numpy()
    factors = torch.cat([fields.id_factors.weight[ids], fields.dense_factors]).numpy()
    return np.concatenate([values, dense]), weights, factors


def test_the_machine_in_linear_time_is_the_sum_over_pairs():
    network = network_of("fm")
    logits, constant, a = all_logits(network), network.rates.numpy(), network.weights.numpy()
    for user, item in itertools.product(range(2), range(4)):
        seen = [(place, row) for place, key in enumerate(HISTORIES) for row in WINDOWS[key][user] if row > 0]
        shares = [1 / sum(place == one for one, _ in seen) for place, _ in seen]
        means = network.means(TABLE, {key: window[[user]] for key, window in WINDOWS.items()})[0].numpy()
        of_user = features_of(network.user, [5 * place + row for place, row in seen], shares, means)
        of_item = features_of(network.item, [item], [1.0], EMBEDDINGS[item])
        values, weights, factors = (np.concatenate(both) for both in zip(of_user, of_item, strict=True))
        expected = constant + values @ weights
        for k, other in itertools.combinations(range(len(values)), 2):  # Rendle's Eq. 1
            expected = expected + values[k] * values[other] * (a @ (factors[k] * factors[other]))
        np.testing.assert_allclose(logits[user, item], expected, rtol=2e-4, atol=1e-5)


def test_wide_and_deep_is_a_sum():
    network = network_of("wide-deep")
    logits, kinds = all_logits(network), network.indicators[1:].argmax(-1).numpy()  # (4,)
    wide, crosses = network.item_weights.weight.numpy(), network.crosses.weight.numpy().reshape(R, 2, 3, 2)
    identities = network.identities.weight.numpy().copy()
    weights = {name: value.numpy() for name, value in network.state_dict().items()}
    for user, item in itertools.product(range(2), range(4)):
        expected = wide[item].copy()
        bags = []
        for number, key in enumerate(HISTORIES):
            seen = [one for one in WINDOWS[key][user] if one > 0]
            for one in seen:  # one of three places of the window, crossed with the candidate's kind
                expected += crosses[:, kinds[item], number, kinds[one - 1]] / 3
            bags.append(identities[seen].mean(0) if seen else np.zeros(2))
        means = network.means(TABLE, {key: window[[user]] for key, window in WINDOWS.items()})[0].numpy()
        from_user = weights["from_user.weight"] @ np.concatenate([means, *bags]) + weights["from_user.bias"]
        from_item = weights["from_item.weight"] @ np.concatenate([EMBEDDINGS[item], identities[item + 1]])
        first = np.maximum(from_user + from_item, 0)
        second = np.maximum(weights["layers.1.weight"] @ first + weights["layers.1.bias"], 0)
        expected += weights["head.weight"] @ second + weights["head.bias"]
        np.testing.assert_allclose(logits[user, item], expected, rtol=1e-4, atol=1e-5)


def test_kinds_are_clusters():
    rng = np.random.default_rng(0)
    centres, truth = np.array([[0.0, 9.0], [9.0, 0.0], [-9.0, -9.0]]), np.arange(60) % 3
    torch.manual_seed(1)
    kinds = kinds_of(torch.tensor(centres[truth] + rng.normal(size=(60, 2))), 3).numpy()
    assert len({(a, b) for a, b in zip(truth, kinds, strict=True)}) == 3 == len(set(kinds))


def last_state(window, weights):
    """The GRU's equations, one embedding after the other; gates stand as reset, update, new."""
    state = np.zeros(3)
    for embedding in window:
        from_input = weights["weight_ih_l0"] @ embedding + weights["bias_ih_l0"]
        from_state = weights["weight_hh_l0"] @ state + weights["bias_hh_l0"]
        reset, update = (1 / (1 + np.exp(-(from_input + from_state)[gate])) for gate in (slice(0, 3), slice(3, 6)))
        new = np.tanh(from_input[6:] + reset * from_state[6:])
        state = (1 - update) * new + update * state
    return state


def test_gru_by_its_equations():
    network = network_of("gru")
    logits, weights = all_logits(network), {name: value.numpy() for name, value in network.state_dict().items()}
    embedded = np.concatenate([np.zeros((1, 2)), EMBEDDINGS])
    for user, item in itertools.product(range(2), range(4)):
        states = []
        for key in HISTORIES:
            own = {name.split(".")[-1]: value for name, value in weights.items() if f"readers.{key}." in name}
            states.append(last_state(embedded[WINDOWS[key][user]], own))
        state = weights["encoder.merge.weight"] @ np.concatenate(states) + weights["encoder.merge.bias"]
        queries = (weights["queries.weight"] @ state + weights["queries.bias"]).reshape(R, 2)
        expected = weights["rates.weight"] @ state + weights["rates.bias"] + weights["item_rates.weight"][item]
        np.testing.assert_allclose(logits[user, item], expected + queries @ EMBEDDINGS[item], rtol=1e-4, atol=1e-5)


def log_of_contexts(responses, sessions=3000):
    """Sessions of two impressions: a context, which is skipped, then a random item that responds to the context."""
    rng = np.random.default_rng(0)
    contexts, items = rng.integers(len(responses), size=(2, sessions))
    answers = np.stack([np.zeros(sessions, int), responses[contexts, items]], 1)
    return LoggedSessions(np.stack([contexts, items], 1).ravel(), answers.ravel(), np.arange(0, 2 * sessions + 1, 2))


@pytest.mark.parametrize("action", ["embedding", "item"])
@pytest.mark.parametrize("name", NAMES)
def test_each_learns_the_best_item_of_each_context(name, action, circle):
    env = circle(16, action=action)
    log = log_of_contexts(env.responses)
    agent = make_agent(name, env, batch_size=128, passes=6, learning_rate=2e-2)
    metrics = agent.fit(log)
    # All items are equally popular: one order and two clicks in eight contexts pay (5 + 1 + 1) / 8 = 0.9.
    popularity = make_agent("popularity", env)
    popularity.fit(log)
    assert evaluate(popularity, env, 64).total_reward.mean() < 2.0
    assert evaluate(agent, env, 64).total_reward.mean() > 4.9
    # First impressions are always skipped, those after are known given the context: the best log-loss is 0.
    assert metrics["log_loss"] < 0.5 * metrics["base_log_loss"]


def test_the_order_of_a_history_is_read_by_gru_alone(circle):
    """Items 0 and 1 are shown in either order, then item 2, which is ordered after item 1 and skipped after item 0."""
    market, rng = Market.of(circle(2, history=2)), np.random.default_rng(0)
    last = rng.integers(2, size=2000)
    items = np.stack([1 - last, last, np.full(2000, 2)], 1)
    responses = np.stack([np.zeros(2000, int), np.zeros(2000, int), 2 * last], 1)
    log = LoggedSessions(items.ravel(), responses.ravel(), np.arange(0, 6001, 3))
    settings = {"batch_size": 128, "passes": 4, "learning_rate": 2e-2}
    # Who does not know the order cannot do better than log 2 for every third impression.
    assert make_agent("cf", market, **settings).fit(log)["log_loss"] > 0.95 * np.log(2) / 3
    assert make_agent("gru", market, **settings).fit(log)["log_loss"] < 0.1 * np.log(2) / 3


@pytest.mark.parametrize("name", NAMES)
def test_the_first_fit_starts_from_the_response_rates(name, circle):
    agent = make_agent(name, circle(2), held_out=0.0, learning_rate=1e-9, weight_decay=1e8, passes=1)
    items, offsets = np.zeros(7, int), np.array([0, 7])
    expected = torch.tensor([5.0, 3.0, 2.0]).div(10).log()  # 4, 2 and 1 of 7, with one more of each
    for responses in ([0, 0, 0, 0, 1, 1, 2], [2, 2, 2, 2, 2, 2, 2]):  # the second fit goes on from where it is
        agent.fit(LoggedSessions(items, np.array(responses), offsets))
        torch.testing.assert_close(agent.network.constant().data, expected)


def fitted(name, env):
    rng = np.random.default_rng(1)
    agent = make_agent(name, env, seed=2)
    agent.fit(LoggedSessions(rng.integers(0, 60, 300), rng.integers(0, 3, 300), np.arange(0, 301, 10)))
    return agent


def shown_items(env, agent, steps):
    """(steps, B) what the environment showed."""
    observations, _ = env.reset(seed=0)
    agent.begin(np.ones(env.num_envs, bool))
    items = []
    for _ in range(steps):
        observations, *_, infos = env.step(agent.act(observations))
        items.append(infos["item"])
    return np.stack(items)


@pytest.mark.parametrize("name", NAMES)
def test_forms_of_observation_and_action_make_no_difference(name, session_env, tmp_path):
    forms = itertools.product(("item_ids", "embeddings"), ("item", "embedding"))
    envs = [session_env(3, observation=observation, action=action, candidates=20) for observation, action in forms]
    agent = fitted(name, envs[0])
    expected = shown_items(envs[0], agent, 6)
    assert all(len(set(column)) == 6 for column in expected.T)  # nobody is shown an item twice
    agent.save(tmp_path)
    for env in envs[1:]:
        np.testing.assert_array_equal(shown_items(env, load_agent(tmp_path, env), 6), expected)


def test_embeddings_become_ids_where_they_tell_them(session_env):
    env = session_env(2, observation="embeddings")
    market = Market.of(env)
    lookup = ItemIds(market, "cf")
    window = np.zeros((1, 4, 6), np.float32)
    window[0, 2:] = env.item_embeddings[[41, 7]]
    window[0, 0] = -0.0
    observations = {key: window for key in HISTORIES}
    assert lookup(observations)["clicked"].tolist() == [[0, 0, 42, 8]]
    window[0, 3, 0] += 1e-3
    with pytest.raises(ValueError, match="agent cf: got 1 items in the window 'browsed' that are not in its market"):
        lookup(observations)
    for unclear in (env.item_embeddings[3], 0.0):
        embeddings = env.item_embeddings.copy()
        embeddings[5] = unclear
        env.item_embeddings = embeddings
        with pytest.raises(ValueError, match=r"agent fm: got .* with 1 embeddings .* observation='item_ids'"):
            make_agent("fm", env)
        make_agent("gru", env)  # knows items by their embeddings


def test_ids_beyond_the_catalogue_are_refused(session_env):
    lookup = ItemIds(Market.of(session_env(2, observation="item_ids")), "cf")
    with pytest.raises(ValueError, match="got 2 items in the window 'browsed'.* allowed are the 60 items"):
        lookup({key: np.array([[0, 60, 61, -1]]) for key in HISTORIES})


@pytest.mark.parametrize("name", NAMES)
def test_another_catalogue_is_refused(name, session_env, tmp_path):
    env = session_env(2)
    fitted(name, env).save(tmp_path)
    env.item_embeddings, env.candidate_items = env.item_embeddings[:50], np.arange(50)
    with pytest.raises(ValueError, match="weights do not fit this market"):
        load_agent(tmp_path, env)


@pytest.mark.parametrize(
    ("config", "settings", "message"),
    [
        (CFConfig, {"factors": 0}, "CFConfig factors: got 0, allowed 1 or more"),
        (CFConfig, {"agreement": 1.5}, "CFConfig agreement: got 1.5, allowed 0 to 1"),
        (CFConfig, {"held_out": 1.0}, "CFConfig held_out: got 1.0"),
        (FMConfig, {"half_lives": ()}, r"FMConfig half_lives: got \(\), allowed one or more positive numbers"),
        (FMConfig, {"learning_rate": 0.0}, "FMConfig: got learning_rate 0.0"),
        (WideDeepConfig, {"kinds": 0}, "WideDeepConfig kinds: got 0, allowed 1 or more"),
        (WideDeepConfig, {"hidden": (8, 0)}, r"WideDeepConfig hidden: got \(8, 0\), allowed one or more widths"),
        (GRUConfig, {"hidden": 0}, "GRUConfig hidden: got 0, allowed 1 or more"),
        (GRUConfig, {"passes": 0}, "GRUConfig passes: got 0, allowed 1 or more"),
    ],
)
def test_settings_out_of_range(config, settings, message):
    with pytest.raises(ValueError, match=message):
        config(**settings)
