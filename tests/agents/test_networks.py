import numpy as np
import pytest
import torch
from recsim_hrl_agents.networks import Actor, Critic, DecayedMeans, ItemTable, StateEncoder, soft_update


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_gru(gru, window):
    """Last hidden state of a GRU (N, D), gate by gate."""
    w_i, w_h, b_i, b_h = (parameter.detach().double().numpy() for parameter in gru.parameters())
    state = np.zeros(gru.hidden_size)
    for item in window:
        reset_i, update_i, new_i = np.split(w_i @ item + b_i, 3)
        reset_h, update_h, new_h = np.split(w_h @ state + b_h, 3)
        update = sigmoid(update_i + update_h)
        new = np.tanh(new_i + sigmoid(reset_i + reset_h) * new_h)
        state = (1 - update) * new + update * state
    return state


def test_state_actor_and_critic_follow_equations_6_7_8():
    torch.manual_seed(0)
    keys = ("browsed", "clicked")
    histories = {key: torch.randn(3, 4, 5) for key in keys}
    actor = Actor(StateEncoder(keys, 5, 6), 5, bound=1.94)
    critic = Critic(StateEncoder(keys, 5, 6), 5, width=7)
    actions = torch.randn(3, 5)

    def state(encoder, row):
        last = [slow_gru(encoder.readers[key], histories[key][row].double().numpy()) for key in keys]
        weight, bias = (parameter.detach().double().numpy() for parameter in encoder.merge.parameters())
        return weight[:, :6] @ last[0] + weight[:, 6:] @ last[1] + bias  # Eq. 6

    for row in range(3):
        weight, bias = (parameter.detach().double().numpy() for parameter in actor.head.parameters())
        expected = 1.94 * np.tanh(weight @ state(actor.encoder, row) + bias)  # Eq. 7
        np.testing.assert_allclose(actor(histories)[row].detach().numpy(), expected, atol=1e-5)
        w_1, b_v = (parameter.detach().double().numpy() for parameter in critic.from_state.parameters())
        w_2 = critic.from_action.weight.detach().double().numpy()
        w_q, b_q = (parameter.detach().double().numpy() for parameter in critic.head.parameters())
        v = np.maximum(w_1 @ state(critic.encoder, row) + w_2 @ actions[row].double().numpy() + b_v, 0)
        np.testing.assert_allclose(critic(histories, actions)[row].item(), (w_q @ v + b_q)[0], atol=1e-5)  # Eq. 8

    many = critic.value(critic.encoder(histories), torch.stack([actions, 2 * actions], 1))  # (3, 2)
    torch.testing.assert_close(many[:, 0], critic(histories, actions))
    torch.testing.assert_close(many[:, 1], critic(histories, 2 * actions))


def test_relu_output_is_an_option():
    torch.manual_seed(0)
    histories = {"browsed": torch.randn(50, 2, 3)}
    plain = Critic(StateEncoder(("browsed",), 3, 4), 3, width=5)
    q = plain(histories, torch.zeros(50, 3))
    plain.relu_output = True
    assert (q < 0).any()
    torch.testing.assert_close(plain(histories, torch.zeros(50, 3)), q.clamp_min(0))


def test_item_table_looks_ids_up():
    embeddings = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    windows = ItemTable(embeddings, "item_ids")({"browsed": np.array([[0, 2], [1, 1]])}, ("browsed",))
    assert windows["browsed"].tolist() == [[[0, 0], [3, 4]], [[1, 2], [1, 2]]]
    assert ItemTable(embeddings, "item_ids").items(np.array([1])).tolist() == [[3, 4]]
    given = ItemTable(embeddings, "embeddings")({"browsed": embeddings[None]}, ("browsed",))
    assert given["browsed"].tolist() == [[[1, 2], [3, 4]]]


def test_soft_update():
    target, source = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(target.weight, 1.0)
    torch.nn.init.constant_(source.weight, 3.0)
    soft_update(target, source, 0.25)
    assert target.weight.item() == 1.5


@pytest.mark.parametrize("observation", ["item_ids", "embeddings"])
def test_decayed_means_by_hand(observation):
    items = ItemTable(np.array([[7.0, 14.0], [0.0, 7.0]], np.float32), observation)
    means = DecayedMeans(("clicked",), embedding_dim=2, history=3, half_lives=(1.0, 2.0))
    window = torch.tensor([[0, 1, 2]])  # empty, then two items
    if not items.reads_ids:
        window = items.table[window]
    half_one = [7 * 2 / 7, (14 * 2 + 7 * 4) / 7, 6 / 7]  # weights 1, 2, 4 over 7; the last number is how full it is
    root = 2**0.5
    total = 1 + root + 2
    half_two = [7 * root / total, (14 * root + 7 * 2) / total, (root + 2) / total]
    assert means.width == 6
    np.testing.assert_allclose(means(items, {"clicked": window})[0].numpy(), half_one + half_two, rtol=1e-6)


def test_decayed_means_are_in_the_order_of_the_histories():
    items = ItemTable(np.array([[1.0], [10.0]], np.float32), "item_ids")
    means = DecayedMeans(("browsed", "clicked"), embedding_dim=1, history=1, half_lives=(1.0,))
    found = means(items, {"browsed": np.array([[2], [1]]), "clicked": np.array([[0], [2]])})
    assert found.tolist() == [[10.0, 1.0, 0.0, 0.0], [1.0, 1.0, 10.0, 1.0]]


def test_ids_of_embeddings():
    embeddings = np.random.default_rng(0).normal(size=(500, 5)).astype(np.float32)
    ids = torch.randint(0, 501, (7, 4), generator=torch.Generator().manual_seed(0))
    ids[0, 0] = 0
    table = ItemTable(embeddings, "embeddings")
    windows = table.table[ids]
    assert torch.equal(table.ids(windows), ids)
    assert torch.equal(table.ids(windows[2:3, 1:]), ids[2:3, 1:])
    assert torch.equal(ItemTable(embeddings, "item_ids").ids(ids.int()), ids)
