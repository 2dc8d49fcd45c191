"""Errors and losses of the updates, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.reranking.dqn.learner import Learner, imitation_loss, td_errors
from mmrank.reranking.dqn.options import DQNOptions


class Table(tf.keras.Model):
    """A stand-in for a network: the values are the candidates' first feature."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def call(self, inputs, training=None):
        return inputs["candidates"][..., 0] * self.scale


def test_errors_of_double_q_learning() -> None:
    rng = np.random.default_rng(1)
    batch = {
        f"{when}/{name}": rng.normal(size=shape).astype(np.float32)
        for when in ("before", "after")
        for name, shape in (
            ("candidates", (5, 3, 2)), ("mask", (5, 3)), ("actions", (5, 3)), ("moves", (5, 1))
        )
    }  # fmt: skip
    batch["action"] = rng.integers(3, size=5)
    batch["reward"] = rng.normal(size=5).astype(np.float32)
    batch["discount"] = np.array([1.0, 1.0, 0.0, 1.0, 0.0], np.float32)
    # The online network's best action has the highest feature, the target's the lowest.
    errors = td_errors(Table(1.0), Table(-2.0), {n: tf.constant(v) for n, v in batch.items()})
    expected = []
    for i in range(5):
        best = int(np.argmax(batch["after/candidates"][i, :, 0]))
        wanted = (
            batch["reward"][i] + batch["discount"][i] * -2.0 * batch["after/candidates"][i, best, 0]
        )
        expected.append(wanted - batch["before/candidates"][i, batch["action"][i], 0])
    np.testing.assert_allclose(errors, expected, rtol=1e-5)


def test_imitation_loss() -> None:
    values, opened = (
        np.array([[0.2, -0.1, 5.0], [0.0, -0.3, -0.3]]),
        np.array([[1, 1, 0], [1, 1, 1]]),
    )
    expected = (0.2**2 + (-0.1 + 0.3) ** 2 + 0 + 0 + 0) / 5
    loss = imitation_loss(tf.constant(values, tf.float32), tf.constant(opened), margin=0.3)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_updates_move_values_towards_the_rewards() -> None:
    """Every page ends at once with a reward of 0.4 for a swap and 0 for finishing."""
    tf.keras.utils.set_random_seed(3)
    learner = Learner(DQNOptions(width=8, heads=2, layers=1, imitation=0), updates=300)
    rng = np.random.default_rng(4)
    shown = {
        "candidates": rng.normal(size=(32, 3, 4)).astype(np.float32),
        "mask": np.ones((32, 3), np.int8),
        "actions": np.ones((32, 3), np.int8),
        "moves": np.ones((32, 1), np.float32),
    }
    learner.build(shown)
    action = np.arange(32) % 3
    batch = {f"{when}/{name}": v for when in ("before", "after") for name, v in shown.items()}
    batch |= {
        "action": action,
        "reward": np.where(action == 0, 0.0, 0.4).astype(np.float32),
        "discount": np.zeros(32, np.float32),
    }
    first = np.abs(learner.update(batch, np.ones(32, np.float32))).mean()
    for _ in range(200):
        errors = learner.update(batch, np.ones(32, np.float32))
    assert np.abs(errors).mean() < first / 5
    values = learner.online({n: tf.constant(v) for n, v in shown.items()}).numpy()
    assert (values.argmax(-1) > 0).mean() > 0.9


def test_the_target_follows_only_when_copied() -> None:
    learner = Learner(DQNOptions(width=8, heads=2, layers=1), updates=10)
    shown = {
        "candidates": np.ones((2, 3, 4), np.float32),
        "mask": np.ones((2, 3), np.int8),
        "actions": np.ones((2, 3), np.int8),
        "moves": np.ones((2, 1), np.float32),
    }
    learner.build(shown)
    for _ in range(3):
        learner.imitate(shown)
    pairs = zip(learner.online.get_weights(), learner.target.get_weights(), strict=True)
    assert any((a != b).any() for a, b in pairs)
    learner.copy()
    pairs = zip(learner.online.get_weights(), learner.target.get_weights(), strict=True)
    assert all((a == b).all() for a, b in pairs)
