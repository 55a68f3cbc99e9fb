import numpy as np
import torch
from recsim_hrl_agents import make_agent, train

SMALL = {"kernel": 2, "hidden": 64, "batch_size": 64, "warmup_steps": 500, "steps_per_update": 32}


def sampled(agent, env):
    """A few requests of ``agent`` in ``env``."""
    train(agent, env, 500)
    return agent._replay.sample(16, torch.Generator().manual_seed(0))


def test_representations_are_to_tell_the_items_that_users_saw(circle):
    env = circle(8, sees=2)
    agent = make_agent("pg-ra", env, representation=0.5, **SMALL)
    batch = sampled(agent, env)
    between = torch.tensor([[1.0, 2.0]]).expand(16, 2)
    agent.actor.between = lambda observations, following: between
    with torch.no_grad():
        agent.actor.scale.fill_(3.0)
        features = agent.actor.of_embeddings(agent.stock).numpy()  # (P, 2)
        loss, metrics = agent._also_learned(batch, torch.zeros(16, 2))
    logits = 3.0 * features @ [1.0, 2.0]  # (P,)
    log_probs = logits - np.log(np.exp(logits).sum())
    expected = -np.mean([log_probs[item] for slate in batch.items.tolist() for item in slate[:2]])
    assert abs(metrics["representation_loss"].item() - expected) < 1e-5
    assert abs(loss.item() - 0.5 * expected) < 1e-5


def test_the_inverse_model_does_not_change_the_state(circle):
    env = circle(8)
    agent = make_agent("pg-ra", env, **SMALL)
    batch = sampled(agent, env)
    loss, _ = agent._also_learned(batch, torch.zeros(16, 2))
    loss.backward()
    assert all(weights.grad is None for weights in agent.actor.state.parameters())
    assert agent.actor.kernel.weight.grad.abs().sum() > 0 and agent.actor.inverse[0].weight.grad.abs().sum() > 0


def test_representations_are_learned(circle):
    env = circle(32)
    curve = train(make_agent("pg-ra", env, **SMALL), env, 6_000, record_every=1_000)
    assert curve[-1]["representation_loss"] < 1.7 < np.log(12)  # chance is log(12) = 2.48, the best is log(3) = 1.1


def test_the_critic_learns_from_hyper_actions_as_they_were_emitted(circle):
    env = circle(8)
    agent = make_agent("pg-ra", env, **SMALL | {"warmup_steps": 0, "steps_per_update": 10**6})
    observations, _ = env.reset(seed=0)
    slates = agent.act(observations, explore=True)
    emitted = agent._emitted
    agent.act(observations)  # judging in between leaves it alone
    assert agent._emitted is emitted
    nearest = agent.best_slate(agent.actor.scores(emitted, agent.stock), observations)
    np.testing.assert_array_equal(slates, nearest)
