"""Likelihood and divergence against NumPy; planted clusters are found from sparse rows."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import tensorflow as tf
from scipy.integrate import trapezoid

from mmrank.pretrain.autoencoder import Autoencoder
from mmrank.pretrain.fit import SparseBatches, column_vectors, encode_rows, fit_rows
from mmrank.pretrain.likelihood import gaussian_kl, multinomial_log_likelihood
from mmrank.pretrain.variational import VariationalAutoencoder

CLUSTERS, ITEMS = 4, 15  # items per cluster


def test_multinomial_log_likelihood_against_numpy() -> None:
    rng = np.random.default_rng(0)
    rows, logits = rng.integers(0, 3, [5, 7]).astype(np.float32), rng.normal(size=[5, 7])
    probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = [sum(rows[i] * np.log(probabilities[i])) for i in range(5)]
    given = multinomial_log_likelihood(tf.constant(rows), tf.constant(logits))
    np.testing.assert_allclose(given, expected, rtol=1e-5)


def test_divergence_against_an_integral() -> None:
    """∫ q log(q / p) over a fine grid in each dimension; dimensions add up."""
    grid = np.linspace(-12, 12, 200_001)
    expected = 0.0
    for mean, variance in ((0.7, 0.5), (-1.0, 2.0)):
        q = np.exp(-((grid - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
        log_p = -(grid**2) / 2 - np.log(np.sqrt(2 * np.pi))
        log_q = -((grid - mean) ** 2) / (2 * variance) - np.log(np.sqrt(2 * np.pi * variance))
        expected += trapezoid(q * (log_q - log_p), grid)
    given = gaussian_kl(tf.constant([[0.7, -1.0]]), tf.math.log([[0.5, 2.0]]))
    assert float(given[0]) == pytest.approx(expected, rel=1e-4)
    assert float(gaussian_kl(tf.zeros([1, 3]), tf.zeros([1, 3]))[0]) == 0.0


def planted(seed: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Rows of six items of one cluster, three of them held out; some items are popular."""
    rng = np.random.default_rng(seed)
    taste = np.repeat(np.arange(CLUSTERS), 60)
    weights = np.linspace(3, 1, ITEMS)
    shown, held = np.zeros([2, len(taste), CLUSTERS * ITEMS], np.float32)
    for row, cluster in enumerate(taste):
        met = cluster * ITEMS + rng.choice(ITEMS, 6, replace=False, p=weights / weights.sum())
        shown[row, met[:3]], held[row, met[3:]] = 1, 1
    return sp.csr_matrix(shown), sp.csr_matrix(held)


def hit_rate(scores: np.ndarray, shown: sp.csr_matrix, held: sp.csr_matrix) -> float:
    """The share of held-out items among the first ten items that were not shown."""
    hidden = np.where(shown.toarray() > 0, -np.inf, scores)
    top = np.argsort(-hidden, axis=1)[:, :10]
    return float(np.take_along_axis(held.toarray(), top, 1).sum() / held.sum())


@pytest.mark.parametrize("kind", ["ae", "vae"])
def test_planted_clusters_are_recovered_better_than_by_popularity(kind: str) -> None:
    tf.keras.utils.set_random_seed(1)
    shown, held = planted(0)
    model = (
        Autoencoder(8, hidden=32, dropout=0.3)
        if kind == "ae"
        else VariationalAutoencoder(8, hidden=32, dropout=0.3, beta=0.1, anneal_steps=200)
    )
    losses = fit_rows(model, shown, epochs=60, batch_rows=60, learning_rate=1e-2)
    assert losses[-1] < losses[0]
    scores = model(shown.toarray(), training=False).numpy()
    popularity = np.tile(np.asarray(shown.sum(0)), [shown.shape[0], 1])
    # By popularity, ten of sixty find about 0.3; if the cluster is known, ten of twelve find most.
    assert hit_rate(popularity, shown, held) < 0.4
    assert hit_rate(scores, shown, held) > 0.7

    # Codes of rows and vectors of items are near others of the same cluster.
    codes = encode_rows(model, shown)
    assert purity(codes, np.repeat(np.arange(CLUSTERS), 60)) > 0.9
    assert purity(column_vectors(model), np.repeat(np.arange(CLUSTERS), ITEMS)) > 0.9


def purity(vectors: np.ndarray, truth: np.ndarray) -> float:
    """The share of vectors whose nearest other vector, by cosine, is of the same cluster."""
    scaled = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    near = scaled @ scaled.T
    np.fill_diagonal(near, -np.inf)
    return float((truth[near.argmax(1)] == truth).mean())


def test_beta_rises_with_the_steps_to_its_maximum() -> None:
    """β · KL is added to the loss; β is zero at first and half its maximum after half the steps."""
    model = VariationalAutoencoder(2, hidden=4, dropout=0.0, beta=0.8, anneal_steps=4)
    rows = tf.constant([[1.0, 0.0, 1.0]])
    kl = None
    added = []
    for _ in range(7):
        model(rows, training=True)
        kl = float(gaussian_kl(*model.posterior(rows))[0])
        added.append(float(model.losses[0]))
    np.testing.assert_allclose(added, np.array([0, 0.2, 0.4, 0.6, 0.8, 0.8, 0.8]) * kl, rtol=1e-5)


def test_only_a_batch_is_dense_and_every_row_is_used_once() -> None:
    rows = sp.csr_matrix(np.eye(7, dtype=np.float32))
    batches = SparseBatches(rows, batch_rows=3, seed=5)
    assert [len(batches[i][0]) for i in range(len(batches))] == [3, 3, 1]
    first = np.concatenate([batches[i][0] for i in range(3)]).argmax(1)
    batches.on_epoch_end()
    second = np.concatenate([batches[i][0] for i in range(3)]).argmax(1)
    assert sorted(first) == sorted(second) == list(range(7))
    assert first.tolist() != second.tolist()


def test_empty_rows_have_no_code_and_are_not_trained_on() -> None:
    rows = sp.csr_matrix(np.array([[1, 1, 0], [0, 0, 0], [0, 1, 1]], np.float32))
    model = Autoencoder(2, hidden=4)
    fit_rows(model, rows, epochs=1)
    codes = encode_rows(model, rows)
    assert np.isnan(codes).all(1).tolist() == [False, True, False]
    with pytest.raises(ValueError, match="empty"):
        fit_rows(Autoencoder(2), rows[1:2])
