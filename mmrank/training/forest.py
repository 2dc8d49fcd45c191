"""Grows trees on the training lists, to be combined with a trained network or to replace it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from mmrank.config import HYBRID, TREES, TREES_FILE, Trees
from mmrank.data.batches import ListArrays
from mmrank.data.tables import DataError, Dataset
from mmrank.models import RankingModel
from mmrank.scoring import ListScorer, plain_numbers
from mmrank.trained_run import Run
from mmrank.training.listwise import clearly_better, lists_with_a_gain, ndcg_by_list
from mmrank.training.validation import figure_of
from mmrank.trees.blend import Blend
from mmrank.trees.grow import grow
from mmrank.trees.part import Part

SHARES = np.linspace(0.0, 1.0, 11)  # of the trees in the blend
logger = logging.getLogger(__name__)


def add_trees(run: Run, dataset: Dataset) -> Run:
    """Returns the run with trees in its scorer, if its config wants trees and it has none yet.

    The trees are saved as RUN/trees.json.

    Args:
      run: A trained run.
      dataset: The dataset that the run was trained on; its test lists are not used.

    Raises:
      DataError: No validation list has candidates of different grades.
      MissingExtra: CatBoost is not installed.
      UserError: CatBoost does not accept an option.
    """
    if run.config.model.name not in (HYBRID, TREES) or run.model.blend is not None:
        return run
    options = run.config.model.trees
    valid_arrays = run.arrays(dataset, dataset.rows("valid"))
    model, scorer = run.model, run.lists_scorer()
    valid = as_part(model, scorer, valid_arrays)
    gains, lists = gains_to_choose_by(valid)
    train = as_part(model, scorer, run.arrays(dataset, dataset.rows("train")))
    figure = figure_of(run.config, valid_arrays)

    logger.info("growing trees on %d numbers of %d rows", *train.features.shape[::-1])
    grown = grow(
        train,
        valid,
        figure,
        **growing(options),
        seed=run.config.seed,
    )
    of_trees = grown.forest.scores(valid.features).astype(np.float64)
    share, network, best = 1.0, 0.0, grown.figure
    scale = _spread(of_trees, lists)
    if run.config.model.name != TREES:
        of_network = run.lists_scorer()(valid_arrays).astype(np.float64)
        other = _spread(of_network, lists)
        blends = [(1.0 - s) * of_network / other + s * of_trees / scale for s in SHARES]
        reached = [figure(scores) for scores in blends]
        chosen = steady_share(reached, [ndcg_by_list(scores, gains, lists) for scores in blends])
        share, best = float(SHARES[chosen]), reached[chosen]
        network = (1.0 - share) / other
        logger.info(
            "blend: %.0f%% trees, validation %.4f; network alone %.4f, trees alone %.4f",
            100 * share,
            best,
            reached[0],
            reached[-1],
        )
    blend = Blend(grown.forest, run.model.plain_names, network, share / scale, best)
    blend.save(run.folder / TREES_FILE)
    return run.with_trees(blend)


def steady_share(reached: Sequence[float], by_list: Sequence[np.ndarray]) -> int:
    """Returns the index in `SHARES` of the share of trees to use.

    It is the share nearest to one half among those that are not clearly worse than the best. With
    few lists, neighbouring shares cannot be distinguished, and an equal blend is more stable than
    either scorer alone. So another share is used only if one half is clearly worse than the best.

    Args:
      reached: For each of `SHARES`, the figure that determines the best.
      by_list: For each of `SHARES`, NDCG@10 of the same lists, [lists].
    """
    best = by_list[int(np.argmax(reached))]
    good = [i for i, figures in enumerate(by_list) if not clearly_better(best, figures)]
    middle = len(SHARES) // 2
    return min(good, key=lambda i: (abs(i - middle), -reached[i]))


def growing(options: Trees) -> dict[str, Any]:
    """Returns the arguments of `grow` that the config sets."""
    named = ("losses", "depths", "rounds", "learning_rate", "patience")
    return {name: getattr(options, name) for name in named}


def gains_to_choose_by(valid: Part) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns the gains of the candidates of the valid lists, and the rows of the usable lists.

    A list is usable if it has candidates of different grades.

    Returns:
      The gains 2^grade − 1, [rows], and the row numbers of each usable list.

    Raises:
      DataError: No list has candidates of different grades.
    """
    gains = np.exp2(valid.grades.astype(np.float64)) - 1.0
    lists = lists_with_a_gain(valid.offsets, gains)
    if not lists:
        raise DataError("no valid list has candidates of different grades, which choose the trees")
    return gains, lists


def as_part(model: RankingModel, scorer: ListScorer, arrays: ListArrays) -> Part:
    """Returns the lists as the trees of a ranker read them."""
    return Part(plain_numbers(model, scorer, arrays), arrays.grades, arrays.offsets)


def _spread(scores: np.ndarray, lists: list[np.ndarray]) -> float:
    """Returns the standard deviation of scores within lists, at least 1e-6."""
    inside = np.concatenate([scores[rows] - scores[rows].mean() for rows in lists])
    return float(max(inside.std(), 1e-6))
