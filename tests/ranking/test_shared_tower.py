"""Towers that share weights: a plain loop, gradients, padding, permutations, and heads."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.heads import SHARINGS, ListwiseHead
from mmrank.ranking.losses import make_loss
from mmrank.ranking.member_tower import MemberTower
from mmrank.ranking.shared_tower import SharedTower

VECTORS = np.random.default_rng(0).normal(size=[2, 3, 4]).astype(np.float32)
MASK = np.array([[True, True, False], [True, True, True]])
SHARED = ("batch_ensemble", "first_adapter")


def unlike(tower: tf.keras.layers.Layer) -> None:
    """Changes every initial weight, so that ones and zeros hide no mistakes."""
    tower(VECTORS)
    rng = np.random.default_rng(1)
    for weight in tower.trainable_weights:
        weight.assign_add(rng.normal(0, 0.3, weight.shape))


def head(sharing: str, **options: object) -> ListwiseHead:
    tf.keras.utils.set_random_seed(3)
    made = ListwiseHead(
        **{"hidden": (6, 5), "dropout": 0.0, "members": 3, **options}, sharing=sharing
    )
    made((VECTORS, MASK))
    return made


@pytest.mark.parametrize("first_alone", [False, True])
def test_each_member_by_the_equations(first_alone):
    """l(x) = s · (W (r · x)) + b; r and s are ones where the layer does not have them."""
    tower = SharedTower(3, (6, 5), 0.5, first_alone)
    unlike(tower)
    found = tower(VECTORS).numpy()
    assert found.shape == (2, 3, 3)
    for m in range(3):
        for b in range(2):
            for c in range(3):
                x = VECTORS[b, c] * tower.first.scale[m, 0].numpy()
                for i, layer in enumerate(tower.hidden):
                    if i > 0 and not first_alone:
                        x = x * layer.scale_in.scale[m, 0].numpy()
                    x = x @ layer.kernel.numpy()
                    if not first_alone:
                        x = x * layer.scale_out.scale[m, 0].numpy()
                    x = np.maximum(x + layer.bias[0 if first_alone else m, 0].numpy(), 0)
                expected = x @ tower.last.kernel[m, :, 0].numpy() + tower.last.bias[m, 0, 0].numpy()
                np.testing.assert_allclose(found[b, c, m], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first_alone", [False, True])
def test_scales_begin_as_signs_before_the_first_layer_and_ones_elsewhere(first_alone):
    tf.keras.utils.set_random_seed(0)
    tower = SharedTower(8, (6, 5), 0.0, first_alone)
    tower(VECTORS)
    first = tower.first.scale.numpy()
    assert set(np.unique(first)) == {-1.0, 1.0}
    assert len(np.unique(first[:, 0], axis=0)) > 4
    others = [w for w in tower.weights if "adapter:" in w.name][1:]
    assert len(others) == (0 if first_alone else 3)
    assert all((w.numpy() == 1).all() for w in others)


def test_sharing_adds_few_weights():
    """For F = 4, widths 6 and 5 and K = 8: kernels once; scales, biases and last layers K times."""
    counts = {}
    for name in SHARINGS:
        tower = SHARINGS.make(name, {}, 8, (6, 5), 0.0)
        tower(VECTORS)
        counts[name] = tower.count_params()
    kernels = 4 * 6 + 6 * 5
    last = 8 * (5 + 1)
    assert counts["none"] == 8 * (kernels + 6 + 5) + last
    assert counts["batch_ensemble"] == kernels + 8 * (4 + 6 + 6 + 5 + 6 + 5) + last
    assert counts["first_adapter"] == kernels + 8 * 4 + 6 + 5 + last


def test_members_with_equal_scales_are_towers_of_equal_weights():
    shared, apart = SharedTower(2, (6,), 0.0), MemberTower(2, (6,), 0.0)
    unlike(shared)
    apart(VECTORS)
    shared.first.scale.assign(tf.ones_like(shared.first.scale))
    shared.hidden[0].scale_out.scale.assign(tf.ones_like(shared.hidden[0].scale_out.scale))
    apart.hidden[0].kernel.assign(tf.repeat(shared.hidden[0].kernel[None], 2, 0))
    apart.hidden[0].bias.assign(shared.hidden[0].bias)
    apart.last.set_weights(shared.last.get_weights())
    np.testing.assert_allclose(shared(VECTORS), apart(VECTORS), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("first_alone", [False, True])
def test_each_member_drops_its_own_units(first_alone):
    tower = SharedTower(2, (400,), 0.5, first_alone)
    tower(VECTORS)
    for weight in tower.trainable_weights:  # the same for both
        if weight.shape[0] == 2:
            weight.assign(tf.repeat(weight[:1], 2, axis=0))
    same, dropped = tower(VECTORS).numpy(), tower(VECTORS, training=True).numpy()
    np.testing.assert_allclose(same[..., 0], same[..., 1], rtol=1e-5)
    assert np.abs(dropped[..., 0] - dropped[..., 1]).min() > 0


@pytest.mark.parametrize("sharing", SHARED)
def test_permuting_candidates_permutes_scores_and_padding_scores_zero(sharing):
    made = head(sharing, linear=True)
    rng = np.random.default_rng(1)
    for weight in made.trainable_weights:  # biases too, so that no unit is dead
        weight.assign_add(rng.normal(0, 0.3, weight.shape))
    found = made((VECTORS, MASK)).numpy()
    assert found.shape == (2, 3, 3)
    assert (found[~MASK] == 0).all()
    assert (found[MASK] != 0).all()
    order = [2, 0, 1]
    turned = made((VECTORS[:, order], MASK[:, order])).numpy()
    np.testing.assert_allclose(turned, found[:, order], atol=1e-5)
    wide = np.concatenate([VECTORS, np.full([2, 2, 4], 99, np.float32)], 1)
    padded = made((wide, np.pad(MASK, [(0, 0), (0, 2)]))).numpy()
    np.testing.assert_allclose(padded[:, :3], found, atol=1e-5)
    assert not padded[:, 3:].any()


@pytest.mark.parametrize("sharing", SHARED)
def test_every_weight_gets_a_finite_gradient_of_the_mean_loss(sharing):
    made = head(sharing)
    labels = np.array([[1, 0, -1], [0, 2, 1]], np.float32)
    with tf.GradientTape() as tape:
        loss = make_loss("softmax_loss")(labels, made((VECTORS, MASK), training=True))
    gradients = tape.gradient(loss, made.trainable_weights)
    for weight, gradient in zip(made.trainable_weights, gradients, strict=True):
        assert np.isfinite(gradient).all(), weight.name
        # The bias of a member's score shifts all scores of a list equally, which a softmax ignores.
        assert np.abs(gradient).max() > 0 or "member_scores/bias" in weight.name, weight.name


@pytest.mark.parametrize("sharing", SHARED)
def test_a_graph_and_a_head_of_the_same_config_agree(sharing):
    made = head(sharing)
    expected = made((VECTORS, MASK)).numpy()
    graph = tf.function(made)((tf.constant(VECTORS), tf.constant(MASK)))
    np.testing.assert_allclose(graph, expected, atol=1e-5)
    again = ListwiseHead.from_config(made.get_config())
    again((VECTORS, MASK))
    again.set_weights(made.get_weights())
    np.testing.assert_allclose(again((VECTORS, MASK)), expected, atol=1e-5)
    assert [layer.kernel.shape[0] for layer in again.last_layers()] == [3]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sharing": "batch_ensembel"}, "unknown sharing 'batch_ensembel'.*batch_ensemble"),
        ({"members": 1}, "batch_ensemble is for several members; give members 2 or more"),
        ({"hidden": ()}, "without a hidden layer have nothing to share"),
    ],
)
def test_invalid_sharing_is_refused(options, words):
    given = {"hidden": (5,), "dropout": 0.0, "members": 2, "sharing": "batch_ensemble", **options}
    with pytest.raises(ValueError, match=words):
        ListwiseHead(**given)
