"""Symmetric trees grown by CatBoost, as many as rank the validation lists best."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from mmrank.outputs import UserError, require_extra
from mmrank.trees.forest import Forest, read_catboost
from mmrank.trees.part import Part
from mmrank.trees.progress import RoundProgress

STRIDE = 5  # trees between two measurements on the validation lists
logger = logging.getLogger(__name__)
Figure = Callable[[np.ndarray], float]


@dataclasses.dataclass(frozen=True, eq=False)
class Grown:
    """Trees, how they were chosen, and their quality.

    Attributes:
      forest: The trees.
      loss, depth: The chosen loss and depth.
      figure: The quality on the lists by which they were chosen.
    """

    forest: Forest
    loss: str
    depth: int
    figure: float


def check_installed() -> None:
    """Checks that CatBoost is installed.

    Raises:
      MissingExtra: It is not installed; the message says how to install it.
    """
    require_extra("trees", "catboost", "trees")


def grow(
    train: Part,
    valid: Part,
    figure: Figure,
    *,
    losses: Sequence[str],
    depths: Sequence[int],
    rounds: int,
    learning_rate: float,
    patience: int,
    seed: int = 0,
) -> Grown:
    """Returns the trees that rank the validation lists best, over some losses and depths.

    Args:
      train: The lists that the trees learn from.
      valid: The lists by which loss, depth and number of trees are chosen.
      figure: Scores of the rows of `valid` → the quality of their order; higher is better.
      losses: CatBoost's names of losses.
      depths: Levels of a tree.
      rounds: Maximum number of trees.
      learning_rate: Factor on each tree's values.
      patience: Rounds without a better NDCG@10 after which growing stops.
      seed: Seed of CatBoost's random draws.

    Raises:
      MissingExtra: CatBoost is not installed.
      UserError: CatBoost does not know a loss, or rejects its input.
    """
    check_installed()
    import catboost

    learned, held_out = (
        catboost.Pool(part.features, part.grades, group_id=part.groups()) for part in (train, valid)
    )
    best: Grown | None = None
    for loss in losses:
        for depth in depths:
            model = catboost.CatBoost(
                {
                    "loss_function": loss,
                    "eval_metric": "NDCG:top=10;type=Exp",
                    "iterations": rounds,
                    "depth": depth,
                    "learning_rate": learning_rate,
                    "random_seed": seed,
                    "verbose": False,
                    "allow_writing_files": False,
                    "use_best_model": False,
                }
            )
            try:
                model.fit(
                    learned,
                    eval_set=held_out,
                    early_stopping_rounds=patience,
                    callbacks=[RoundProgress(f"trees: {loss}, depth {depth}", rounds)],
                )
            except catboost.CatBoostError as error:
                raise UserError(f"model.trees: loss {loss}, depth {depth}: {error}") from error
            counts = range(STRIDE, model.tree_count_ + STRIDE, STRIDE)
            stages = model.staged_predict(held_out, eval_period=STRIDE)
            reached = {
                min(count, model.tree_count_): figure(np.asarray(scores))
                for count, scores in zip(counts, stages, strict=False)
            }
            if not reached:
                continue
            count = max(reached, key=lambda n: reached[n])
            logger.info(
                "trees: %s, depth %d: %d of %d trees, validation %.4f",
                loss,
                depth,
                count,
                model.tree_count_,
                reached[count],
            )
            if best is None or reached[count] > best.figure:
                best = Grown(_forest(model, count), loss, depth, reached[count])
    if best is None:
        raise UserError("model.trees: no tree could be grown; are all features the same?")
    return best


def _forest(model: object, count: int) -> Forest:
    """The first `count` trees of a CatBoost model."""
    model.shrink(count)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.json"
        model.save_model(str(file), format="json")  # type: ignore[attr-defined]
        return read_catboost(file)
