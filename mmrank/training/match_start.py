"""Initialises a ranker so that it first orders candidates by its match features.

Before the first step, the layer from match features to the score is fitted as a linear listwise
ranker on training lists. The kernels of the head's last layers begin at zero, so that the head does
not change the order. So a new ranker orders candidates at least as well as the best single match
feature on these lists, and training improves on that.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

from mmrank.data.batches import ListArrays
from mmrank.matching.matcher import LIMIT
from mmrank.matching.rows import vector_part
from mmrank.models import TREE_SCORE, RankingModel
from mmrank.ranking.task_metrics import task_truth
from mmrank.ranking.tasks import TaskSpec
from mmrank.scoring import ListScorer, match_features
from mmrank.towers import MATCH
from mmrank.training.listwise import clearly_better, lists_with_a_gain, ndcg_by_list

MOST_ROWS, MOST_AXES = 20_000, 2_000  # how many candidates to fit on; items for principal axes
FOLDS = 5
# Penalties on the squared distance from the best single feature; the last allows no distance.
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, np.inf)
SMALLEST = 1e-6  # smallest standard deviation that is divided by
logger = logging.getLogger(__name__)


def start_from_matches(
    model: RankingModel,
    scorer: ListScorer,
    arrays: ListArrays,
    tasks: Sequence[TaskSpec] = (),
    seed: int = 0,
) -> None:
    """Sets the scales of the match features, the layer to the score, and the projections.

    The score of trees that were grown before the network counts as another match feature here. A
    ranker with neither match features nor trees is not changed.

    Args:
      model: A ranker that has not been trained.
      scorer: The scorer of that ranker.
      arrays: Training lists, with the labels that the tasks read, and the scores of the trees.
      tasks: The ranker's tasks; empty for a ranker that learns grades.
      seed: Seed of the choice of lists and of the folds.
    """
    ways = [way for way in (model.residual, model.tree_residual) if way is not None]
    some = sampled(arrays, MOST_ROWS, seed)
    if not ways or not len(some.candidates):
        return
    names: list[str] = []
    columns: list[np.ndarray] = []
    if model.matcher is not None:
        features, there = match_features(model, scorer, some)
        normalise(model, features, there)
        names += model.matcher.names
        scaled = (features - model.matcher.mean) / model.matcher.deviation
        columns.append(np.where(there, scaled, 0.0))
    if model.tree_residual is not None:
        names.append("trees")
        columns.append(some.pairs[TREE_SCORE][:, None])
    scaled = np.clip(np.concatenate(columns, 1), -LIMIT, LIMIT).astype(np.float64)
    kernel = np.zeros([len(names), ways[0].units], np.float32)
    for column, gains in enumerate(_gains(some, tasks)):
        weights, summary = listwise_weights(
            scaled, some.offsets, gains, names, seed, logged=bool(tasks)
        )
        kernel[:, column] = weights
        name = tasks[column].name if tasks else "grade"
        logger.info("%s: starts with %s", name, summary)
    first = 0
    for way in ways:
        count = way.kernel.shape[0]
        way.set_weights([kernel[first : first + count]])
        first += count
    for layer in model.scorer.get_layer("head").last_layers():
        layer.kernel.assign(tf.zeros_like(layer.kernel))
    keep_geometry(model, scorer, some)


def normalise(model: RankingModel, features: np.ndarray, there: np.ndarray) -> None:
    """Sets mean and standard deviation of every match feature, over the rows that have it.

    Args:
      model: The ranker, whose matcher is changed.
      features: Match features, [rows, F].
      there: Whether each match feature is present, [rows, F] bool.
    """
    assert model.matcher is not None
    count = np.maximum(there.sum(0), 1)
    mean = np.where(there, features, 0.0).sum(0, dtype=np.float64) / count
    square = np.where(there, (features - mean) ** 2, 0.0).sum(0, dtype=np.float64) / count
    deviation = np.sqrt(square)
    model.matcher.mean.assign(mean)
    model.matcher.deviation.assign(np.where(deviation > SMALLEST, deviation, 1.0))


def listwise_weights(
    features: np.ndarray,
    offsets: np.ndarray,
    gains: np.ndarray,
    names: Sequence[str],
    seed: int = 0,
    logged: bool = False,
) -> tuple[np.ndarray, str]:
    """Returns the weights [F] of a linear ranker, and a description of them in words.

    The softmax cross-entropy of the gains is minimised with a penalty on the distance from the best
    single feature. The penalty is the largest that is not clearly worse than the best penalty, by
    cross-validated NDCG@10. So with few lists, only the best single feature may remain.

    Args:
      features: [rows, F].
      offsets: List i holds rows offsets[i] to offsets[i + 1].
      gains: [rows], 0 or above; NaN where unknown.
      names: Names of the features, [F].
      seed: Seed of the folds of the cross-validation.
      logged: Whether the rows of a list are in the order shown and the gains are what users did. A
        feature with many ties would then seem good, since ties keep the order of the rows.
    """
    known = np.nan_to_num(gains)
    lists = lists_with_a_gain(offsets, known, seed if logged else None)
    count = features.shape[1]
    if not lists:
        return np.zeros(count), "no match feature: no list has candidates of different grades"

    def figure(scores: np.ndarray, of: Sequence[np.ndarray]) -> float:
        return float(ndcg_by_list(scores, known, of).mean())

    best, sign, column = max(
        (figure(sign * features[:, f], lists), sign, f)
        for f in range(count)
        for sign in (1.0, -1.0)
    )
    anchor = np.zeros(count)
    anchor[column] = sign * _scale(sign * features[:, column], known, lists)
    parts = np.random.default_rng(seed).permutation(len(lists)) % FOLDS
    left_out = {penalty: np.zeros(len(lists)) for penalty in PENALTIES}
    for part in range(min(FOLDS, len(lists))):
        inside = [rows for rows, p in zip(lists, parts, strict=True) if p != part]
        outside = [rows for rows, p in zip(lists, parts, strict=True) if p == part]
        if not inside:
            continue
        for penalty in PENALTIES:
            weights = _fitted(features, known, inside, anchor, penalty)
            reached = ndcg_by_list(features @ weights, known, outside)
            left_out[penalty][parts == part] = reached
    best_penalty = max(PENALTIES, key=lambda p: left_out[p].mean())
    # The largest penalty that is not clearly worse than the best one.
    penalty = max(p for p in PENALTIES if not clearly_better(left_out[best_penalty], left_out[p]))
    weights = _fitted(features, known, lists, anchor, penalty)
    alone = f"{names[column]} alone"
    if np.isinf(penalty) or figure(features @ weights, lists) < best:
        return anchor, f"{alone}, NDCG@10 {best:.4f} on training lists"
    return weights, (
        f"{count} match features, NDCG@10 {left_out[penalty].mean():.4f} on held-out training "
        f"lists ({alone} {best:.4f})"
    )


def keep_geometry(model: RankingModel, scorer: ListScorer, arrays: ListArrays) -> None:
    """Initialises the projections after a shared encoder as one map that keeps its geometry.

    Query and item vectors are projected on the principal axes of the item vectors, as many axes as
    the tokens are wide. So vectors that are similar for the encoder are similar for the ranker from
    the first step. With two random maps, this similarity would have to be learned first.

    Args:
      model, scorer, arrays: As for `start_from_matches`.
    """
    matcher = model.matcher
    if matcher is None:
        return
    shown = np.unique(arrays.candidates)
    table = scorer.encode(arrays, shown[:: max(len(shown) // MOST_AXES, 1)])
    starts = np.cumsum([0, *(width for _, width in matcher.rows.item_parts)])
    start_of = {name: at for (name, _), at in zip(matcher.rows.item_parts, starts, strict=False)}
    items = model.item_tower.get_layer("item_tokens")
    for pair in matcher.rows.vectors:
        at = int(start_of[vector_part(pair.item)])
        vectors = table[MATCH][:, at : at + pair.width].astype(np.float64)
        vectors = vectors[np.abs(vectors).sum(1) > 0]
        if len(vectors) < 2:
            continue
        queries = model.context_tower.get_layer("query_tokens")
        mean = vectors.mean(0)
        # The axes are those of the covariance. A full SVD would make a matrix [items, items], which
        # takes minutes for a catalogue.
        centred = vectors - mean
        axes = np.linalg.eigh(centred.T @ centred)[1][:, ::-1].T[: model.width]
        for layer, name in ((items, pair.item), (queries, pair.query)):
            projection = layer.projections[layer.names.index(name)]
            kernel = projection.kernel.numpy()
            kernel[:, : len(axes)] = axes.T
            projection.kernel.assign(kernel)
            bias = np.zeros(model.width, np.float32)
            bias[: len(axes)] = -mean @ axes.T
            projection.bias.assign(bias)


def sampled(arrays: ListArrays, rows: int, seed: int) -> ListArrays:
    """Returns randomly chosen lists that have at most `rows` rows together, in their own order."""
    order = np.random.default_rng(seed).permutation(len(arrays.lengths))
    kept = np.sort(order[np.cumsum(arrays.lengths[order]) <= rows])
    return arrays.taken(kept)


def _gains(arrays: ListArrays, tasks: Sequence[TaskSpec]) -> list[np.ndarray]:
    """Returns the gains of the candidates for each task, [rows]; NaN outside of the task."""
    if not tasks:
        return [np.exp2(arrays.grades.astype(np.float64)) - 1.0]
    gains = []
    for task in tasks:
        truth, part = task_truth(task, arrays.labels)
        gains.append(np.where(part, np.maximum(truth, 0.0), np.nan))
    return gains


def _fitted(
    features: np.ndarray,
    gains: np.ndarray,
    lists: Sequence[np.ndarray],
    anchor: np.ndarray,
    penalty: float,
) -> np.ndarray:
    if not np.isfinite(penalty):
        return anchor
    rows = np.concatenate(lists)
    starts = np.cumsum([0, *(len(r) for r in lists[:-1])])
    of_list = np.repeat(np.arange(len(lists)), [len(r) for r in lists])
    x, share = features[rows], gains[rows]
    share = share / np.add.reduceat(share, starts)[of_list]

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        scores = x @ weights
        scores = scores - np.maximum.reduceat(scores, starts)[of_list]
        raised = np.exp(scores)
        total = np.add.reduceat(raised, starts)
        value = float(np.log(total).sum() - share @ scores) / len(lists)
        slope = x.T @ (raised / total[of_list] - share) / len(lists)
        shift = weights - anchor
        return value + penalty * float(shift @ shift), slope + 2.0 * penalty * shift

    return minimize(loss, anchor, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x


def _scale(scores: np.ndarray, gains: np.ndarray, lists: Sequence[np.ndarray]) -> float:
    """Returns the factor by which scores fit the gains best, at least 0.1."""
    at_best = _fitted(scores[:, None], gains, lists, np.ones(1), 1e-3)[0]
    return float(max(at_best, 0.1))
