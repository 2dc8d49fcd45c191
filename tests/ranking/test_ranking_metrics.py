"""TF-Ranking's metrics by name, against values computed by hand."""

from __future__ import annotations

import math

import pytest
import tensorflow as tf

from mmrank.ranking.metrics import METRICS, make_metric

# Ordered by score, the grades are 0, 2, 1, 0; the padding has the highest score.
LABELS = tf.constant([[2.0, 0.0, 1.0, 0.0, -1.0]])
SCORES = tf.constant([[0.6, 0.9, 0.5, 0.1, 9.0]])
NDCG_3 = (3 / math.log2(3) + 1 / 2) / (3 + 1 / math.log2(3))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("ndcg@3", NDCG_3),
        ("ndcg@10", NDCG_3),
        ("ndcg@1", 0.0),
        ("mrr", 1 / 2),
        ("map", (1 / 2 + 2 / 3) / 2),
        ("precision@2", 1 / 2),
        ("precision@1", 0.0),
        ("recall@2", 1 / 2),
        ("recall@3", 1.0),
    ],
)
def test_metrics_by_hand(name, expected):
    metric = make_metric(name)
    metric.update_state(LABELS, SCORES)
    assert float(metric.result()) == pytest.approx(expected, abs=1e-6)


def test_a_list_without_a_relevant_candidate_counts_zero():
    metric = make_metric("ndcg@10")
    metric.update_state(tf.zeros([1, 3]), tf.constant([[3.0, 2.0, 1.0]]))
    assert float(metric.result()) == 0


@pytest.mark.parametrize("name", ["ncdg@10", "ndcg@0", "ndcg@ten", "ndcg@-1", "auc"])
def test_other_names_are_errors(name):
    with pytest.raises(ValueError, match="known: ndcg, mrr|whole number above 0"):
        make_metric(name)


def test_the_names_are_those_of_the_docs():
    assert set(METRICS) == {"ndcg", "mrr", "map", "precision", "recall"}
