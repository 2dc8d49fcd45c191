"""Probabilities multiplied along a chain of tasks, in the log domain."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.entire_space import EntireSpace
from mmrank.ranking.tasks import TaskSpec, chains


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.asarray(x, np.float64)))


def test_the_purchase_probability_is_a_product_with_that_of_the_click():
    rng = np.random.default_rng(0)
    raw = {n: rng.normal(size=[2, 3]).astype(np.float32) for n in ("click", "cart", "purchase")}
    mask = np.array([[True, True, True], [True, True, False]])
    layer = EntireSpace({"cart": "click", "purchase": "cart"})
    given = layer(({n: tf.constant(v) for n, v in raw.items()}, tf.constant(mask)))
    click, cart, purchase = (sigmoid(raw[n]) for n in ("click", "cart", "purchase"))
    np.testing.assert_array_equal(given["click"][mask], raw["click"][mask])
    np.testing.assert_allclose(sigmoid(given["cart"])[mask], (click * cart)[mask], rtol=1e-5)
    expected = (click * cart * purchase)[mask]
    np.testing.assert_allclose(sigmoid(given["purchase"])[mask], expected, rtol=1e-5)
    for logits in given.values():
        assert logits[1, 2] == 0


@pytest.mark.parametrize(
    ("click", "purchase", "expected"),
    [
        (-100.0, -100.0, -200.0),  # p = e^-200 to first order, with logit -200
        (100.0, 100.0, 100.0 - np.log(2)),  # 1 - p = 2 e^-100
        (0.0, 0.0, -np.log(3)),  # p = 1/4
        (300.0, -5.0, -5.0),  # a click is certain
    ],
)
def test_extreme_logits_have_finite_values_and_gradients(click, purchase, expected):
    raw = {"click": tf.constant([[click]]), "purchase": tf.constant([[purchase]])}
    layer = EntireSpace({"purchase": "click"})
    with tf.GradientTape() as tape:
        tape.watch(raw)
        logit = layer((raw, tf.constant([[True]])))["purchase"]
    assert float(logit[0, 0]) == pytest.approx(expected, rel=1e-6)
    gradients = tape.gradient(logit, raw)
    total = float(gradients["click"][0, 0]) + float(gradients["purchase"][0, 0])
    assert np.isfinite(total)
    assert total > 0.5


def test_the_loss_on_all_candidates_is_that_of_the_product():
    """The cross-entropy of the composed logit is −log p or −log(1 − p) of the product."""
    a, b = 0.4, -1.2
    raw = {"click": tf.constant([[a]]), "purchase": tf.constant([[b]])}
    logit = EntireSpace({"purchase": "click"})((raw, tf.constant([[True]])))["purchase"]
    p = sigmoid(a) * sigmoid(b)
    for label, expected in ((1.0, -np.log(p)), (0.0, -np.log(1 - p))):
        loss = tf.nn.sigmoid_cross_entropy_with_logits(tf.constant([[label]]), logit)
        assert float(loss[0, 0]) == pytest.approx(expected, rel=1e-5)


def task(name: str, given: str | None = None, **changes: object) -> TaskSpec:
    return TaskSpec(name, "click", given=given, **changes)


def test_chains_of_tasks():
    tasks = [task("a"), task("b", "a"), task("c", "b"), task("d")]
    assert chains(tasks) == {"b": "a", "c": "b"}


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([task("click"), task("b", "clck")], "unknown task 'clck'; did you mean 'click'"),
        ([task("a", "b"), task("b", "a")], "depend on one another in a cycle"),
        ([task("a", "a")], "depend on one another in a cycle"),
        ([task("a", loss="softmax_loss"), task("b", "a")], "task 'a' is learned by softmax_loss"),
        ([task("a"), task("b", "a", among="cart")], "leave `among` of task 'b' out"),
    ],
)
def test_invalid_chains_are_refused(tasks, message):
    with pytest.raises(ValueError, match=message):
        chains(tasks)
