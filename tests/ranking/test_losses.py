"""Every loss by name: finite, independent of padding, and equal to its formula."""

from __future__ import annotations

import dataclasses
import inspect
import math

import numpy as np
import pytest
import tensorflow as tf

from mmrank.ranking._library import losses
from mmrank.ranking.labels import masked_labels
from mmrank.ranking.lambda_weights import LAMBDA_WEIGHTS
from mmrank.ranking.losses import LOSSES, loss_names, make_loss

LABELS = np.array([[2, 0, 1, 0], [1, 0, -1, -1]], np.float32)
SCORES = np.array([[0.3, 0.2, 0.9, -1.0], [0.5, 1.0, 0.0, 0.0]], np.float32)
DRAWING_LOSSES = {name for name in loss_names() if LOSSES[name].draws}


def value_and_gradient(loss, labels: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    tf.random.set_seed(0)
    given = tf.constant(scores)
    with tf.GradientTape() as tape:
        tape.watch(given)
        value = loss(tf.constant(labels), given)
    return float(value), tf.convert_to_tensor(tape.gradient(value, given)).numpy()


def test_there_are_losses_to_test():
    assert len(loss_names()) >= 15
    assert {"softmax_loss", "approx_ndcg_loss", "list_mle_loss"} <= set(loss_names())
    assert set(loss_names()) > DRAWING_LOSSES


def test_every_loss_of_the_library_has_an_entry():
    assert set(loss_names()) == set(losses.RankingLossKey.all_keys())


def library_defaults(cls: type) -> dict[str, object]:
    """The arguments of a library class and of its bases in the library, with their defaults."""
    found = {}
    for base in reversed(cls.__mro__):
        if base.__module__.startswith("tensorflow_ranking") and "__init__" in vars(base):
            signature = inspect.signature(base.__init__)
            found |= {name: p.default for name, p in signature.parameters.items()}
    keras = ("self", "args", "kwargs", "reduction", "name", "ragged")
    return {name: default for name, default in found.items() if name not in keras}


@pytest.mark.parametrize("name", loss_names())
def test_options_and_defaults_are_those_of_the_library(name):
    fixed = {"ordinal_size": 1} if name == "ordinal_loss" else {}
    expected = library_defaults(type(losses.get(name, **fixed)))
    assert ("lambda_weight" in expected) == LOSSES[name].lambda_weight
    expected = {n: d for n, d in expected.items() if n not in ("lambda_weight", *fixed)}
    assert dataclasses.asdict(LOSSES.options(name)) == expected


@pytest.mark.parametrize("name", loss_names())
@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        pytest.param(LABELS, SCORES, id="padding"),
        pytest.param(LABELS, SCORES * 30, id="extreme scores"),
        pytest.param(LABELS, SCORES * 0, id="ties"),
        pytest.param(np.minimum(LABELS, 0), SCORES, id="no relevant candidate"),
        pytest.param(np.full_like(LABELS, -1), SCORES, id="nothing but padding"),
    ],
)
def test_value_and_gradient_are_finite(name, labels, scores):
    value, gradient = value_and_gradient(make_loss(name), labels, scores)
    assert math.isfinite(value)
    assert np.isfinite(gradient).all()
    assert gradient.shape == scores.shape


# The other losses draw noise for every slot, so that more slots change the draw.
@pytest.mark.parametrize("name", sorted(set(loss_names()) - (DRAWING_LOSSES - {"list_mle_loss"})))
@pytest.mark.parametrize("under", [0.0, 50.0, -50.0])
def test_padding_changes_nothing(name, under):
    """Adds three columns of padding with arbitrary scores."""
    labels = LABELS.copy()
    if name == "list_mle_loss":
        labels[0] = [2, 0, 1, 3]  # list_mle orders equal grades at random
    loss = make_loss(name)
    more = ((0, 0), (0, 3))
    value, gradient = value_and_gradient(loss, labels, SCORES)
    wide, wide_gradient = value_and_gradient(
        loss,
        np.pad(labels, more, constant_values=-1),
        np.pad(SCORES, more, constant_values=under),
    )
    assert wide == pytest.approx(value, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(wide_gradient[:, :4], gradient, atol=1e-6)
    np.testing.assert_allclose(wide_gradient[:, 4:], 0, atol=1e-6)


def test_a_batch_of_two_lists_is_their_mean():
    """The softmax loss by its formula: the mean over lists of −Σ grade · log softmax(score)."""
    real = [(LABELS[0], SCORES[0]), (LABELS[1, :2], SCORES[1, :2])]
    expected = np.mean(
        [-np.sum(y * (s - np.log(np.sum(np.exp(s.astype(float)))))) for y, s in real]
    )
    value, _ = value_and_gradient(make_loss("softmax_loss"), LABELS, SCORES)
    assert value == pytest.approx(expected, rel=1e-5)


def test_pairwise_logistic_by_a_plain_loop():
    """Σ log(1 + exp(−(s_i − s_j))) over pairs y_i > y_j, per real candidate."""
    total, count = 0.0, 0
    for y, s in [(LABELS[0], SCORES[0]), (LABELS[1, :2], SCORES[1, :2])]:
        count += len(y)
        for i in range(len(y)):
            for j in range(len(y)):
                if y[i] > y[j]:
                    total += math.log1p(math.exp(-(float(s[i]) - float(s[j]))))
    value, _ = value_and_gradient(make_loss("pairwise_logistic_loss"), LABELS, SCORES)
    assert value == pytest.approx(total / count, rel=1e-5)


def test_mean_squared_loss_by_formula():
    real = LABELS >= 0
    expected = np.mean((LABELS[real] - SCORES[real]) ** 2)
    value, _ = value_and_gradient(make_loss("mean_squared_loss"), LABELS, SCORES)
    assert value == pytest.approx(expected, rel=1e-5)


def test_ordinal_loss_is_the_cross_entropy_of_being_relevant():
    real = LABELS >= 0
    y, s = (LABELS[real] >= 1).astype(float), SCORES[real].astype(float)
    expected = np.mean(-y * s + np.log1p(np.exp(s)))
    value, _ = value_and_gradient(make_loss("ordinal_loss"), LABELS, SCORES)
    assert value == pytest.approx(expected, rel=1e-5)


def test_list_mle_by_formula():
    """−log of the Plackett–Luce probability of the order by grade."""
    labels = np.array([[2, 0, 1, -1]], np.float32)
    scores = np.array([[0.3, 0.2, 0.9, 9.0]], np.float32)
    best_first = [0.3, 0.9, 0.2]
    expected = sum(
        math.log(sum(math.exp(s) for s in best_first[i:])) - best_first[i] for i in range(3)
    )
    value, _ = value_and_gradient(make_loss("list_mle_loss"), labels, scores)
    assert value == pytest.approx(expected, rel=1e-5)


def test_list_mle_with_its_lambda_weight_discounts_positions_as_dcg_does():
    """Σ over positions of −log P(position) / log2(1 + position), without padding."""
    labels = np.array([[2, 0, 1, -1, -1]], np.float32)
    scores = np.array([[0.3, 0.2, 0.9, 9.0, 4.0]], np.float32)
    expected, left = 0.0, [0.3, 0.9, 0.2]
    for rank in (1, 2, 3):
        expected += (np.log(np.exp(left).sum()) - left.pop(0)) / np.log2(1 + rank)
    loss = make_loss("list_mle_loss", None, "list_mle_lambda_weight")
    value, gradient = value_and_gradient(loss, labels, scores)
    assert value == pytest.approx(expected, rel=1e-4)
    assert gradient[0, 3:].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("weight", [None, "yeti_dcg_lambda_weight"])
def test_yeti_ignores_padding(weight):
    """The values agree within the error of the mean of thousands of draws."""
    loss = make_loss("yeti_logistic_loss", {"sample_size": 8000, "seed": 1}, weight)
    value, _ = value_and_gradient(loss, LABELS, SCORES)
    more = np.pad(LABELS, ((0, 0), (0, 3)), constant_values=-1)
    padded, _ = value_and_gradient(loss, more, np.pad(SCORES, ((0, 0), (0, 3))))
    assert padded == pytest.approx(value, rel=0.03)


@pytest.mark.parametrize("weight", [w for w in LAMBDA_WEIGHTS if "list_mle" not in w])
@pytest.mark.parametrize("name", ["pairwise_logistic_loss", "softmax_loss"])
def test_lambda_weights_are_finite_and_ignore_padding(name, weight):
    options = {"topn": 1} if weight == "precision_lambda_weight" else {}
    loss = make_loss(name, None, weight, options)
    value, gradient = value_and_gradient(loss, LABELS, SCORES)
    assert math.isfinite(value)
    assert np.isfinite(gradient).all()
    more = ((0, 0), (0, 3))
    wide, _ = value_and_gradient(
        loss, np.pad(LABELS, more, constant_values=-1), np.pad(SCORES, more)
    )
    assert wide == pytest.approx(value, rel=1e-5)


def test_a_lambda_weight_matters_and_its_options_too():
    plain, _ = value_and_gradient(make_loss("pairwise_logistic_loss"), LABELS, SCORES)
    weighted, _ = value_and_gradient(
        make_loss("pairwise_logistic_loss", None, "ndcg_lambda_weight"), LABELS, SCORES
    )
    first, _ = value_and_gradient(
        make_loss("pairwise_logistic_loss", None, "ndcg_lambda_weight", {"topn": 1}), LABELS, SCORES
    )
    assert len({round(v, 6) for v in (plain, weighted, first)}) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("softmax",), "unknown loss 'softmax'; did you mean 'softmax_loss'"),
        (("softmax_loss", {"temperatur": 1}), "unknown option 'temperatur'.*'temperature'"),
        (("softmax_loss", None, "ndcg"), "unknown lambda weight 'ndcg'; known: dcg_lambda_weight"),
        (
            ("softmax_loss", None, "ndcg_lambda_weight", {"topN": 3}),
            "option 'topN'.*'topn'",
        ),
        (("mean_squared_loss", None, "ndcg_lambda_weight"), "takes no lambda weight"),
        (("softmax_loss", None, "precision_lambda_weight"), "needs the option topn"),
        (("softmax_loss", None, None, {"topn": 3}), "without a lambda_weight"),
    ],
)
def test_unknown_losses_and_options_are_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        make_loss(*arguments)


def test_labels_are_minus_one_where_the_mask_is_false():
    labels = masked_labels(tf.constant([[3, 0, 2]]), tf.constant([[True, True, False]]))
    assert labels.numpy().tolist() == [[3.0, 0.0, -1.0]]
