"""Where a ranker that compares queries and candidates begins: in the order of its match features.

The way from a match feature to the score is fitted before the first step, as a linear listwise
ranker on training lists; the tower beside it begins at zero. So a new ranker orders candidates at
least as well as the best single match feature, and training adds to that.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from scipy.optimize import minimize

from mmrank.data.batches import ListArrays
from mmrank.matching.matcher import LIMIT, vector_part
from mmrank.models import RankingModel
from mmrank.ranking.task_metrics import task_truth
from mmrank.ranking.tasks import TaskSpec
from mmrank.scoring import ListScorer, match_features
from mmrank.towers import MATCH
from mmrank.training.listwise import clearly_better, lists_with_a_gain, ndcg_by_list

MOST_ROWS, MOST_AXES = 20_000, 2_000  # candidates, and items whose principal axes are taken
FOLDS = 5
# Penalties on the squared distance from the best single feature; the last leaves nothing else.
PENALTIES = (0.001, 0.01, 0.1, 1.0, 10.0, np.inf)
SMALLEST = 1e-6  # of a deviation
logger = logging.getLogger(__name__)


def start_from_matches(
    model: RankingModel,
    scorer: ListScorer,
    arrays: ListArrays,
    tasks: Sequence[TaskSpec] = (),
    seed: int = 0,
) -> None:
    """Sets the scales of the match features, the way to the score, and the projections.

    Nothing is changed of a ranker without a matcher.

    Args:
      model: A ranker that has not been trained.
      scorer: Over that ranker.
      arrays: Training lists, with the labels that the tasks read.
      tasks: Its tasks; none for one on grades.
      seed: Of the lists that are looked at.
    """
    if model.matcher is None or model.residual is None:
        return
    some = sampled(arrays, MOST_ROWS, seed)
    if not len(some.candidates):
        return
    features, there = match_features(model, scorer, some)
    normalise(model, features, there)
    scaled = np.where(there, (features - model.matcher.mean) / model.matcher.deviation, 0.0)
    scaled = np.clip(scaled, -LIMIT, LIMIT).astype(np.float64)
    kernel = np.zeros([len(model.matcher.names), model.residual.units], np.float32)
    for place, gains in enumerate(_gains(some, tasks)):
        weights, told = listwise_weights(scaled, some.offsets, gains, model.matcher.names, seed)
        kernel[:, place] = weights
        name = tasks[place].name if tasks else "grade"
        logger.info("%s: begins with %s", name, told)
    model.residual.set_weights([kernel])
    for layer in model.scorer.get_layer("head").last_layers():
        layer.kernel.assign(tf.zeros_like(layer.kernel))
    keep_geometry(model, scorer, some)


def normalise(model: RankingModel, features: np.ndarray, there: np.ndarray) -> None:
    """Sets mean and deviation of every match feature, over the rows where there is one."""
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
) -> tuple[np.ndarray, str]:
    """Weights [F] of a linear ranker, and in words what they are.

    The softmax cross-entropy of the gains is minimised with a penalty on the distance from the best
    single feature: the largest that is not clearly worse by NDCG@10 on lists left out in turn, so
    that with few lists nothing but that feature may be left.

    Args:
      features: [rows, F].
      offsets: List i holds rows offsets[i] to offsets[i + 1].
      gains: [rows], 0 or above; NaN where unknown.
      names: Of the features.
      seed: Of the parts that are left out.
    """
    known = np.nan_to_num(gains)
    lists = lists_with_a_gain(offsets, known)
    count = features.shape[1]
    if not lists:
        return np.zeros(count), "no match feature: no list has candidates of different grades"

    def figure(scores: np.ndarray, of: Sequence[np.ndarray]) -> float:
        return float(ndcg_by_list(scores, known, of).mean())

    best, sign, place = max(
        (figure(sign * features[:, f], lists), sign, f)
        for f in range(count)
        for sign in (1.0, -1.0)
    )
    anchor = np.zeros(count)
    anchor[place] = sign * _scale(sign * features[:, place], known, lists)
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
    freest = max(PENALTIES, key=lambda p: left_out[p].mean())
    # The hardest pull that is not clearly worse.
    penalty = max(p for p in PENALTIES if not clearly_better(left_out[freest], left_out[p]))
    weights = _fitted(features, known, lists, anchor, penalty)
    alone = f"{names[place]} alone"
    if np.isinf(penalty) or figure(features @ weights, lists) < best:
        return anchor, f"{alone}, NDCG@10 {best:.4f} on training lists"
    return weights, (
        f"{count} match features, NDCG@10 {left_out[penalty].mean():.4f} on training lists left "
        f"out ({alone} {best:.4f})"
    )


def keep_geometry(model: RankingModel, scorer: ListScorer, arrays: ListArrays) -> None:
    """Begins the projections behind a shared encoder as one map that keeps its geometry.

    Query and item vectors go through their principal axes, as many as the tokens are wide. What is
    alike to the encoder is so to the ranker from the first step on, where two random maps would
    have to be learned first.

    Args:
      model, scorer, arrays: As for `start_from_matches`.
    """
    matcher = model.matcher
    assert matcher is not None
    shown = np.unique(arrays.candidates)
    table = scorer.encode(arrays, shown[:: max(len(shown) // MOST_AXES, 1)])
    starts = np.cumsum([0, *(width for _, width in matcher.rows.item_parts)])
    places = {name: at for (name, _), at in zip(matcher.rows.item_parts, starts, strict=False)}
    items = model.item_tower.get_layer("item_tokens")
    for pair in matcher.rows.vectors:
        at = int(places[vector_part(pair.item)])
        vectors = table[MATCH][:, at : at + pair.width].astype(np.float64)
        vectors = vectors[np.abs(vectors).sum(1) > 0]
        if len(vectors) < 2:
            continue
        queries = model.context_tower.get_layer("query_tokens")
        mean = vectors.mean(0)
        # Of the covariance: a full SVD would make a square of all rows, minutes for a catalogue.
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
    """Some of the lists with no more than so many rows together, in random order."""
    order = np.random.default_rng(seed).permutation(len(arrays.lengths))
    kept = np.sort(order[np.cumsum(arrays.lengths[order]) <= rows])
    return arrays.taken(kept)


def _gains(arrays: ListArrays, tasks: Sequence[TaskSpec]) -> list[np.ndarray]:
    """What candidates are worth by task, [rows], NaN where a task says nothing."""
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
        away = weights - anchor
        return value + penalty * float(away @ away), slope + 2.0 * penalty * away

    return minimize(loss, anchor, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x


def _scale(scores: np.ndarray, gains: np.ndarray, lists: Sequence[np.ndarray]) -> float:
    """The positive factor at which scores fit the gains best."""
    at_best = _fitted(scores[:, None], gains, lists, np.ones(1), 1e-3)[0]
    return float(max(at_best, 0.1))
