"""The losses of the agents, by plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.reranking import USERS, Rewards, draw_page
from mmrank.reranking.dqn.network import CLOSED
from mmrank.reranking.dqn.replay import observations_of
from mmrank.reranking.exploration import Epsilon
from mmrank.reranking.offline.agents import AGENTS, conservatism
from mmrank.reranking.offline.observer import LogObserver
from mmrank.reranking.offline.options import OfflineOptions
from mmrank.reranking.offline.transitions import transitions_of
from mmrank.reranking.played import draw_pages, played_log

LEARNING = OfflineOptions(width=8, heads=2, layers=1, updates=10)


@pytest.fixture(scope="module")
def batch() -> dict[str, np.ndarray]:
    pages = draw_pages(lambda rng: draw_page(3, rng), 12, seed=1)
    log = played_log(pages, Epsilon(epsilon=1.0), USERS.make("cascade"), seed=1)
    moves = transitions_of(LogObserver(log, 2), Rewards())
    batch = moves.batch(np.arange(len(moves)))
    assert 0 < batch["discount"].sum() < len(moves)
    return batch


def test_conservatism_is_a_cross_entropy() -> None:
    values = np.array([[0.3, -1.0, 2.0], [0.5, 0.2, CLOSED]], np.float32)
    actions = np.array([2, 1])
    wanted = [
        np.log(np.exp(values[0]).sum()) - 2.0,
        np.log(np.exp(0.5) + np.exp(0.2)) - 0.2,
    ]
    np.testing.assert_allclose(conservatism(values, actions), wanted, rtol=1e-5)


def test_the_loss_of_conservative_q_learning(batch: dict[str, np.ndarray]) -> None:
    agent = AGENTS.make("cql", {"alpha": 0.5}, LEARNING, 2)
    agent.build(batch)
    rng = np.random.default_rng(1)
    for network in (agent.network, agent.target):  # so that they differ, and heads are not zero
        network.set_weights([rng.normal(0, 0.3, w.shape) for w in network.get_weights()])
    before, after = (observations_of(batch, when) for when in ("before", "after"))
    values, earned = (part.numpy() for part in agent.network.parts(before))
    online, target = agent.network(after).numpy(), agent.target(after).numpy()
    total = 0.0
    for i, action in enumerate(batch["action"]):
        if batch["discount"][i]:
            total += (target[i, online[i].argmax()] - values[i, action]) ** 2
        else:
            total += ((batch["earned"][i] - earned[i, action]) ** 2).sum()
        opened = batch["before/actions"][i] > 0
        total += 0.5 * (np.log(np.exp(values[i, opened]).sum()) - values[i, action])
    assert float(agent.loss(batch)) == pytest.approx(total / len(values), rel=1e-4)


def test_the_target_network_follows_in_steps(batch: dict[str, np.ndarray]) -> None:
    agent = AGENTS.make("cql", {"target": 2}, LEARNING, 2)
    agent.build(batch)

    def same() -> bool:
        pairs = zip(agent.network.get_weights(), agent.target.get_weights(), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)

    assert same()
    held = agent.network.get_weights()
    for done in range(3):
        agent.update(batch, done)
        assert not same()
        if done < 2:
            np.testing.assert_array_equal(agent.target.get_weights()[0], held[0])
    assert not np.array_equal(agent.target.get_weights()[0], held[0])


def test_cloning_learns_what_was_logged() -> None:
    """On pages that were never changed, finishing becomes the best action everywhere."""
    tf.keras.utils.set_random_seed(1)
    pages = draw_pages(lambda rng: draw_page(3, rng), 64, seed=1)
    log = played_log(pages, Epsilon(epsilon=0.001), USERS.make("cascade"), seed=1)
    batch = transitions_of(LogObserver(log, 1), Rewards()).batch(np.arange(64))
    assert not batch["action"].any()
    agent = AGENTS.make("cloning", None, OfflineOptions(width=8, heads=2, learning_rate=0.02), 1)
    agent.build(batch)
    losses = [agent.update(batch, done) for done in range(60)]
    assert losses[-1] < 0.5 * losses[0]
    assert (agent.network(observations_of(batch, "before")).numpy().argmax(-1) == 0).all()


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="unknown agent 'cqll'; did you mean 'cql'"):
        AGENTS.make("cqll", None, LEARNING, 1)
    with pytest.raises(ConfigError, match="alpha"):
        AGENTS.make("cql", {"alpha": -1}, LEARNING, 1)
