"""Figures of the validation lists, by which weights and trees are selected."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from mmrank.config import Config
from mmrank.data.batches import ListArrays, bucket_lengths
from mmrank.ranking.labels import masked_labels
from mmrank.ranking.metrics import make_metric
from mmrank.trained_run import Run
from mmrank.training.state import State
from mmrank.training.targets import for_metric


def validation_ndcg(
    scores: np.ndarray, arrays: ListArrays, metric: tf.keras.metrics.Metric | None = None
) -> float:
    """Returns TF-Ranking's NDCG@10 of flat scores [rows], with ties broken by one fixed draw.

    Lists without a relevant item are left out, as in an evaluation, since all their orders are
    equally good.

    Args:
      scores: Scores in the order of the rows.
      arrays: The lists.
      metric: The metric to compute, made outside of any strategy's scope; None for a new NDCG@10.
    """
    metric = metric or make_metric("ndcg@10")
    metric.reset_state()
    # TF-Ranking would break ties by a new draw each time, so that a resumed run would differ.
    order = np.lexsort((np.random.default_rng(0).random(len(scores)), scores))
    ranks = np.empty(len(scores), np.float32)
    ranks[order] = np.arange(len(scores))
    lengths = arrays.lengths
    padded = bucket_lengths(lengths, (16, 64, 256))
    padded[np.maximum.reduceat(arrays.grades, arrays.offsets[:-1]) <= 0] = 0
    for length in np.unique(padded[padded > 0]):
        members = np.flatnonzero(padded == length)
        for part in np.split(members, range(256, len(members), 256)):
            mask = np.arange(length)[None, :] < lengths[part][:, None]
            rows = np.where(mask, arrays.offsets[part][:, None] + np.arange(length), 0)
            labels = masked_labels(tf.constant(arrays.grades[rows]), tf.constant(mask))
            metric.update_state(labels, ranks[rows])
    return float(metric.result())


def all_tie(scores: np.ndarray, arrays: ListArrays) -> bool:
    """Returns whether all candidates of each list have the same score.

    Args:
      scores: Scores [rows] in the order of the rows.
      arrays: The lists.
    """
    lists = np.repeat(np.arange(len(arrays.lengths)), arrays.lengths)
    first = scores[arrays.offsets[lists]]
    return bool(len(scores)) and bool(np.all(scores == first))


def figure_of(config: Config, arrays: ListArrays) -> Callable[[np.ndarray], float]:
    """Returns a function from scores of the valid lists to the figure that also selects weights."""
    return figure_by(config.training.select_metric, arrays, config.evaluation.relevant_grade)


def figure_by(
    name: str, arrays: ListArrays, relevant_grade: float
) -> Callable[[np.ndarray], float]:
    """Returns a function from scores [rows] to a validation metric; call it outside of any scope.

    Args:
      name: The metric's name, for `make_metric`.
      arrays: The validation lists.
      relevant_grade: The lowest grade that counts as relevant for all metrics except NDCG.
    """
    metric, valid = make_metric(name), for_metric(arrays, name, relevant_grade)
    return lambda scores: validation_ndcg(scores, valid, metric)


def best_figure(run: Run, state: State) -> float:
    """Returns the validation figure that a trained run was selected by.

    Args:
      run: The run. With trees in its scorer, the figure is that of both together.
      state: The state of its training.
    """
    return state.best if run.model.blend is None else run.model.blend.figure


def log_name(metric: str) -> str:
    """Returns the name of a validation metric in the logs of Keras, such as `val_ndcg_10`."""
    return f"val_{metric.replace('@', '_')}"
