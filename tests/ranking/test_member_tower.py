"""Members of a scoring tower: each has its own weights and loss; serving uses their mean."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking.heads import ListwiseHead
from mmrank.ranking.losses import make_loss
from mmrank.ranking.member_tower import MemberMean, MemberTower

VECTORS = np.random.default_rng(0).normal(size=[2, 3, 4]).astype(np.float32)


def test_each_member_is_a_separate_tower():
    tower = MemberTower(3, (5,), 0.5)
    scores = tower(VECTORS).numpy()
    first, last = tower.hidden[0], tower.last
    for m in range(3):
        hidden = np.maximum(VECTORS @ first.kernel[m].numpy() + first.bias[m].numpy(), 0)
        expected = hidden @ last.kernel[m].numpy()[:, 0] + last.bias[m, 0, 0].numpy()
        np.testing.assert_allclose(scores[..., m], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(MemberMean()(scores), scores.mean(-1), rtol=1e-6)


def test_each_member_drops_its_own_units():
    tower = MemberTower(2, (400,), 0.5)
    tower(VECTORS)
    for layer in (*tower.hidden, tower.last):
        layer.kernel.assign(tf.repeat(layer.kernel[:1], 2, axis=0))
    same, dropped = tower(VECTORS).numpy(), tower(VECTORS, training=True).numpy()
    np.testing.assert_allclose(same[..., 0], same[..., 1], rtol=1e-5)
    assert np.abs(dropped[..., 0] - dropped[..., 1]).min() > 0


def test_the_loss_is_the_mean_of_the_members_losses():
    labels = np.array([[1, 0, 2], [0, 1, -1]], np.float32)
    scores = np.random.default_rng(1).normal(size=[2, 3, 4]).astype(np.float32)
    weights = np.array([[1, 2, 3], [1, 1, 1]], np.float32)
    for name in ("softmax_loss", "approx_ndcg_loss", "pairwise_logistic_loss"):
        loss = make_loss(name)
        each = [loss(labels, scores[..., m]) for m in range(4)]
        np.testing.assert_allclose(loss(labels, scores), np.mean(each), rtol=1e-5)
        each = [loss(labels, scores[..., m], weights) for m in range(4)]
        np.testing.assert_allclose(loss(labels, scores, weights), np.mean(each), rtol=1e-5)


def test_a_head_with_members_scores_padding_zero():
    head = ListwiseHead(hidden=(5,), dropout=0.0, members=3)
    mask = np.array([[True, True, False], [True, False, False]])
    scores = head((VECTORS, mask)).numpy()
    assert scores.shape == (2, 3, 3)
    assert (scores[~mask] == 0).all()
    assert [layer.kernel.shape[0] for layer in head.last_layers()] == [3]
    again = ListwiseHead.from_config(head.get_config())
    assert again.members == 3


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"members": 0}, "members: expected 1 or more, got 0"),
        ({"members": 2, "rank_model": "gru"}, "cannot be combined with rank_model gru"),
        ({"members": 2, "tasks": ("click", "cart")}, "cannot be combined with several tasks"),
    ],
)
def test_invalid_members_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        ListwiseHead(hidden=(5,), dropout=0.0, **options)


@pytest.mark.parametrize("members", [1, 2])
def test_the_linear_term_is_added_and_begins_at_zero(members):
    head = ListwiseHead(hidden=(5,), dropout=0.0, members=members, linear=True)
    mask = np.ones([2, 3], bool)
    before = head((VECTORS, mask)).numpy().reshape(2, 3, members)
    assert not head.linear.kernel.numpy().any()
    kernel = np.random.default_rng(2).normal(size=[4, members]).astype(np.float32)
    head.linear.kernel.assign(kernel)
    after = head((VECTORS, mask)).numpy().reshape(2, 3, members)
    np.testing.assert_allclose(after, before + VECTORS @ kernel, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="linear: is for one score"):
        ListwiseHead(hidden=(5,), dropout=0.0, linear=True, tasks=("click", "cart"))
