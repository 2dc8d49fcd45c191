"""The Q-network: padding changes nothing, closed actions are never best, gradients are finite."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.reranking.dqn.network import CLOSED, QNetwork

FEATURES = 11


@pytest.fixture(scope="module")
def network() -> QNetwork:
    tf.keras.utils.set_random_seed(1)
    made = QNetwork(width=16, heads=2, layers=2)
    made(observations(3, 5, 5))
    # Heads begin at zero; these are weights as after training.
    rng = np.random.default_rng(2)
    made.set_weights([w + rng.normal(0, 0.1, w.shape) for w in made.get_weights()])
    return made


def observations(pages: int, length: int, size: int) -> dict[str, tf.Tensor]:
    """Pages of `length` candidates, padded to `size`."""
    rng = np.random.default_rng(length)
    candidates = np.zeros((pages, size, FEATURES), np.float32)
    candidates[:, :length] = rng.normal(size=(pages, length, FEATURES))
    mask = np.zeros((pages, size), np.int8)
    mask[:, :length] = 1
    return {
        "candidates": tf.constant(candidates),
        "mask": tf.constant(mask),
        "actions": tf.constant(mask),
        "moves": tf.constant(rng.random((pages, 1)), tf.float32),
    }


def test_padding_changes_nothing(network: QNetwork) -> None:
    short, padded = observations(3, 4, 4), observations(3, 4, 7)
    rubbish = np.array(padded["candidates"])
    rubbish[:, 4:] = 99.0
    expected = network(short).numpy()
    for candidates in (padded["candidates"], tf.constant(rubbish)):
        values = network({**padded, "candidates": candidates}).numpy()
        np.testing.assert_allclose(values[:, :4], expected, atol=1e-5)
        assert (values[:, 4:] == CLOSED).all()


def test_a_value_depends_on_all_candidates_and_on_the_moves_left(network: QNetwork) -> None:
    given = observations(1, 5, 5)
    values = network(given).numpy()
    changed = np.array(given["candidates"])
    changed[0, 4] += 1.0
    assert np.abs(network({**given, "candidates": tf.constant(changed)}) - values).min() > 1e-6
    assert np.abs(network({**given, "moves": given["moves"] + 0.5}) - values).min() > 1e-6


def test_a_new_network_values_every_open_action_at_zero() -> None:
    values = QNetwork(width=8, heads=2, layers=1)(observations(2, 3, 4)).numpy()
    assert not values[:, :3].any()


def test_the_mean_of_the_advantages_is_the_value_of_the_page(network: QNetwork) -> None:
    """Equation 9 of Wang et al.: the values of the open actions have the page's value as mean."""
    whole, pages = observations(4, 5, 5), observations(4, 5, 8)
    np.testing.assert_allclose(
        network(pages).numpy()[:, :5].mean(-1), network(whole).numpy().mean(-1), atol=1e-5
    )


def test_a_constant_added_to_all_advantages_changes_nothing(network: QNetwork) -> None:
    """In equation 9 only the page's own value moves all values."""
    given = observations(3, 4, 6)
    before = network(given).numpy()[:, :4]
    for heads, rise in (((network.swap, network.finish), 0.0), ((network.value,), 2.0)):
        biases = [head.layers[-1].bias for head in heads]
        for bias in biases:
            bias.assign_add([2.0])
        np.testing.assert_allclose(network(given).numpy()[:, :4], before + rise, atol=1e-5)
        for bias in biases:
            bias.assign_sub([2.0])


def test_one_candidate_can_only_be_kept(network: QNetwork) -> None:
    values = network(observations(2, 1, 3)).numpy()
    assert np.isfinite(values[:, 0]).all()
    assert (values[:, 1:] == CLOSED).all()


def test_gradients_are_finite(network: QNetwork) -> None:
    given = observations(3, 2, 5)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(network(given, training=True)[:, :2]))
    gradients = tape.gradient(loss, network.trainable_variables)
    assert all(np.isfinite(g.numpy()).all() for g in gradients)
    assert sum(bool(np.abs(g.numpy()).max() > 0) for g in gradients) > len(gradients) - 4


def test_eager_equals_a_graph(network: QNetwork) -> None:
    given = observations(3, 4, 6)
    np.testing.assert_allclose(tf.function(network)(given), network(given), atol=1e-5)
