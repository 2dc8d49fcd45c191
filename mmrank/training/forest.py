"""Trees beside a trained network, or in its place: grown on the training lists."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import numpy as np

from mmrank.build import Run
from mmrank.config import NETWORK, TREES, TREES_FILE
from mmrank.data.batches import ListArrays
from mmrank.data.tables import DataError, Dataset
from mmrank.ranking.metrics import make_metric
from mmrank.scoring import plain_numbers
from mmrank.training.callbacks import validation_ndcg
from mmrank.training.listwise import clearly_better, lists_with_a_gain, ndcg_by_list
from mmrank.training.targets import for_metric
from mmrank.trees.blend import Blend
from mmrank.trees.grow import grow
from mmrank.trees.part import Part

SHARES = np.linspace(0.0, 1.0, 11)  # of the trees in the blend
logger = logging.getLogger(__name__)


def add_trees(run: Run, dataset: Dataset) -> Run:
    """The run with trees in its scorer, as its config has it; trees that it has already stay.

    They are kept as RUN/trees.json.

    Args:
      run: A trained run, without trees so far.
      dataset: The dataset that it was trained on; its test lists are not looked at.

    Raises:
      DataError: No validation list tells one order from another.
      MissingExtra: CatBoost is not installed.
      UserError: CatBoost refuses an option.
    """
    if run.config.model.name == NETWORK or run.model.blend is not None:
        return run
    options = run.config.model.trees
    told = run.arrays(dataset, dataset.rows("valid"))
    train, valid = _part(run, run.arrays(dataset, dataset.rows("train"))), _part(run, told)
    gains = np.exp2(valid.grades.astype(np.float64)) - 1.0
    lists = lists_with_a_gain(valid.offsets, gains)
    if not lists:
        raise DataError("the valid lists have no candidates of different grades to choose trees by")
    figure = _figure(run, told)

    logger.info("growing trees over %d numbers of %d rows", *train.features.shape[::-1])
    grown = grow(
        train,
        valid,
        figure,
        losses=options.losses,
        depths=options.depths,
        rounds=options.rounds,
        learning_rate=options.learning_rate,
        patience=options.patience,
        seed=run.config.seed,
    )
    of_trees = grown.forest.scores(valid.features).astype(np.float64)
    share, network, best = 1.0, 0.0, grown.figure
    scale = _spread(of_trees, lists)
    if run.config.model.name != TREES:
        of_network = run.lists_scorer()(told).astype(np.float64)
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
    """The index of the share of trees to take: the nearest to one half that is as good as the best.

    Few lists cannot tell one share from the next, and both halves together are steadier than
    either: so another share is taken only where one half is clearly worse than it.

    Args:
      reached: The figure of each of `SHARES`, by which the best is told.
      by_list: Of each of `SHARES`, NDCG@10 of the same lists.
    """
    best = by_list[int(np.argmax(reached))]
    good = [i for i, figures in enumerate(by_list) if not clearly_better(best, figures)]
    middle = len(SHARES) // 2
    return min(good, key=lambda i: (abs(i - middle), -reached[i]))


def _figure(run: Run, told: ListArrays) -> Callable[[np.ndarray], float]:
    """Scores of the valid lists → the figure that weights are chosen by too."""
    name = run.config.training.select_metric
    metric = make_metric(name)
    valid = for_metric(told, name, run.config.evaluation.relevant_grade)
    return lambda scores: validation_ndcg(scores, valid, metric)


def _part(run: Run, arrays: ListArrays) -> Part:
    return Part(plain_numbers(run.model, run.lists_scorer(), arrays), arrays.grades, arrays.offsets)


def _spread(scores: np.ndarray, lists: list[np.ndarray]) -> float:
    """The standard deviation of scores within lists, never 0."""
    inside = np.concatenate([scores[rows] - scores[rows].mean() for rows in lists])
    return float(max(inside.std(), 1e-6))
