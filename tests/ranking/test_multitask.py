"""Ways of sharing a tower between tasks, against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.heads import ListwiseHead
from mmrank.ranking.multitask import MULTITASK, make_towers

TASKS = ("click", "purchase")
VECTORS = np.random.default_rng(0).normal(size=(2, 3, 5)).astype(np.float32)
OPTIONS = {"shared_bottom": {"task_hidden": [4]}, "mmoe": {"task_hidden": [4], "experts": 3}}


def head(name: str, rank_model: str = "none") -> ListwiseHead:
    return ListwiseHead(
        hidden=(8, 6),
        dropout=0.0,
        rank_model=rank_model,
        attention_width=4,
        gru_units=4,
        tasks=TASKS,
        multitask=name,
        multitask_options=OPTIONS[name],
    )


def dense(x: np.ndarray, layer: tf.keras.layers.Dense) -> np.ndarray:
    kernel, *bias = layer.get_weights()
    return x @ kernel + (bias[0] if bias else 0.0)


def through(x: np.ndarray, tower: tf.keras.Sequential) -> np.ndarray:
    """The output of the dense layers of a tower, with ReLU between them."""
    layers = [layer for layer in tower.layers if isinstance(layer, tf.keras.layers.Dense)]
    for layer in layers[:-1]:
        x = np.maximum(dense(x, layer), 0)
    return dense(x, layers[-1])


def test_shared_bottom_by_formula():
    towers = make_towers("shared_bottom", {"task_hidden": [4]}, TASKS, (8, 6), 0.0)
    given = towers(VECTORS)
    bottom = np.maximum(through(VECTORS, towers.bottom), 0)
    for task in TASKS:
        expected = through(bottom, towers.towers[task])[..., 0]
        np.testing.assert_allclose(given[task], expected, rtol=1e-4, atol=1e-6)
    assert not np.allclose(given["click"], given["purchase"])


def test_mixture_of_experts_by_formula():
    towers = make_towers("mmoe", {"task_hidden": [4], "experts": 3}, TASKS, (8, 6), 0.0)
    given = towers(VECTORS)
    said = [np.maximum(through(VECTORS, expert), 0) for expert in towers.experts]
    for task in TASKS:
        expected = np.zeros([2, 3], np.float32)
        for b in range(2):
            for i in range(3):
                exponents = np.exp(dense(VECTORS[b, i], towers.gates[task]))
                shares = exponents / exponents.sum()
                mixed = sum(share * f[b, i] for share, f in zip(shares, said, strict=True))
                expected[b, i] = through(mixed[None], towers.towers[task])[0, 0]
        np.testing.assert_allclose(given[task], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("rank_model", ["none", "attention_gru"])
@pytest.mark.parametrize("name", sorted(MULTITASK))
def test_padding_changes_nothing_and_permuting_permutes(name, rank_model):
    layer = head(name, rank_model)
    mask = np.array([[True, True, False], [True, True, True]])
    given = layer((VECTORS, mask))
    assert list(given) == list(TASKS)
    wide = np.concatenate([VECTORS, 9 * np.ones([2, 2, 5], np.float32)], 1)
    longer = layer((wide, np.pad(mask, ((0, 0), (0, 2)))))
    order = [2, 0, 1]
    turned = layer((VECTORS[:, order], mask[:, order]))
    for task in TASKS:
        assert given[task][0, 2] == 0
        np.testing.assert_allclose(longer[task][:, :3], given[task], rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(longer[task][:, 3:], 0)
        np.testing.assert_allclose(
            turned[task], given[task].numpy()[:, order], rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("name", sorted(MULTITASK))
def test_every_weight_gets_a_finite_gradient(name):
    layer = head(name)
    mask = np.ones([2, 3], bool)
    with tf.GradientTape() as tape:
        given = layer((VECTORS, mask), training=True)
        value = sum(tf.reduce_sum(scores**2) for scores in given.values())
    gradients = tape.gradient(value, layer.trainable_variables)
    assert all(g is not None and np.isfinite(g).all() for g in gradients)


@pytest.mark.parametrize(
    ("name", "options", "hidden", "message"),
    [
        ("mmo", {}, (8,), "unknown multitask 'mmo'; did you mean 'mmoe'"),
        ("mmoe", {"expert": 3}, (8,), "unknown option 'expert'; did you mean 'experts'"),
        ("mmoe", {"experts": 1}, (8,), "multitask mmoe: experts: expected 2 or more, got 1"),
        ("shared_bottom", {"experts": 2}, (8,), "unknown option 'experts'"),
        ("shared_bottom", {}, (), "give it at least one"),
    ],
)
def test_invalid_options_are_refused(name, options, hidden, message):
    with pytest.raises(ValueError, match=message):
        make_towers(name, options, TASKS, hidden, 0.0)
