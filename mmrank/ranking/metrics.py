"""TF-Ranking's metrics as Keras metrics.

A list without a relevant item counts as 0 here, TF-Ranking's convention; in `mmrank.evaluation` the
convention can be chosen.
"""

from __future__ import annotations

import tensorflow as tf

from mmrank.ranking._library import metrics

METRICS: dict[str, type[tf.keras.metrics.Metric]] = {
    "ndcg": metrics.NDCGMetric,
    "mrr": metrics.MRRMetric,
    "map": metrics.MeanAveragePrecisionMetric,
    "precision": metrics.PrecisionMetric,
    "recall": metrics.RecallMetric,
}


def make_metric(name: str) -> tf.keras.metrics.Metric:
    """The metric named `ndcg@10`, `mrr`, `map@20`, `precision@5` or `recall@10`.

    Raises:
      ValueError: The name is not one of these, or the cutoff is not a positive number.

    Example:
      >>> from math import log2
      >>> ndcg = make_metric("ndcg@10")
      >>> labels, scores = [[1.0, 0.0, 2.0, -1.0]], [[3.0, 2.0, 1.0, 9.0]]  # the last is padding
      >>> value = float(ndcg(labels, scores))
      >>> abs(value - (1 + 3 / log2(4)) / (3 + 1 / log2(3))) < 1e-6
      True
      >>> make_metric("ndcg@0")
      Traceback (most recent call last):
      ValueError: ...'ndcg@0'...
    """
    key, _, cutoff = name.partition("@")
    if key not in METRICS:
        raise ValueError(
            f"unknown metric {name!r}; known: {', '.join(METRICS)}, each with @k or without"
        )
    if cutoff and (not cutoff.isdigit() or int(cutoff) < 1):
        raise ValueError(f"metric {name!r}: the cutoff must be a whole number above 0")
    return METRICS[key](name=name.replace("@", "_"), topn=int(cutoff) if cutoff else None)
