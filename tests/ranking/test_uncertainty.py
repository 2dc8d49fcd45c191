"""Learned weights of tasks: the formula by hand, and its minimum."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.losses import make_loss
from mmrank.ranking.uncertainty import TaskUncertainty, UncertainLoss

LABELS = tf.constant([[1.0, 0.0, -1.0]])
SCORES = tf.constant([[0.3, 0.8, 5.0]])


@pytest.mark.parametrize("s", [0.0, 1.5, -2.0])
def test_values_and_gradients_by_formula(s):
    """For cross-entropy L: L e^-s + s/2. For squared error L: L e^-s / 2 + s/2."""
    cross = (np.log1p(np.exp(-0.3)) + np.log1p(np.exp(0.8))) / 2
    squared = ((1 - 0.3) ** 2 + 0.8**2) / 2
    cases = [
        ("sigmoid_cross_entropy_loss", False, 1.0, cross),
        ("mean_squared_loss", True, 0.5, squared),
    ]
    for name, is_squared, factor, value in cases:
        variable = tf.Variable(s)
        loss = UncertainLoss(make_loss(name), variable, is_squared)
        with tf.GradientTape() as tape:
            given = loss(LABELS, SCORES)
        assert float(given) == pytest.approx(factor * np.exp(-s) * value + s / 2, rel=1e-5)
        gradient = float(tape.gradient(given, variable))
        assert gradient == pytest.approx(0.5 - factor * np.exp(-s) * value, rel=1e-5, abs=1e-6)


def test_the_layer_passes_scores_through_and_its_weights_are_trainable():
    layer = TaskUncertainty(("click", "dwell"))
    given = layer({"click": tf.constant([[2.0]]), "dwell": tf.constant([[3.0]])})
    assert {n: float(t[0, 0]) for n, t in given.items()} == {"click": 2.0, "dwell": 3.0}
    assert [v.name.split(":")[0] for v in layer.trainable_variables] == [
        "click_log_variance",
        "dwell_log_variance",
    ]
    assert [float(v) for v in layer.trainable_variables] == [0.0, 0.0]
