"""Symmetric trees grown by CatBoost, as many as order other lists best."""

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

STRIDE = 5  # trees between two looks at the validation lists
logger = logging.getLogger(__name__)
Figure = Callable[[np.ndarray], float]


@dataclasses.dataclass(frozen=True, eq=False)
class Grown:
    """Trees, how they were chosen, and what they reach.

    Attributes:
      forest: The trees.
      loss, depth: Of the choices.
      figure: Of the lists that they were chosen by.
    """

    forest: Forest
    loss: str
    depth: int
    figure: float


def check_installed() -> None:
    """Checks that CatBoost is there.

    Raises:
      MissingExtra: It is not; the message says how to install it.
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
    """The trees, of some losses and depths, that serve the validation lists best.

    Args:
      train: What is learned from.
      valid: What trees are chosen by, and how many.
      figure: Scores of the rows of `valid` → how good their order is; more is better.
      losses: CatBoost's names of losses.
      depths: Levels of a tree.
      rounds: Trees at most.
      learning_rate: Share of each tree's answer that is taken.
      patience: Rounds without a better NDCG@10 before no more are grown.
      seed: Of what CatBoost draws.

    Raises:
      MissingExtra: CatBoost is not installed.
      UserError: CatBoost does not know a loss, or refuses what it is given.
    """
    check_installed()
    import catboost

    learned, told = (
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
                model.fit(learned, eval_set=told, early_stopping_rounds=patience)
            except catboost.CatBoostError as error:
                raise UserError(f"model.trees: loss {loss}, depth {depth}: {error}") from error
            counts = range(STRIDE, model.tree_count_ + STRIDE, STRIDE)
            stages = model.staged_predict(told, eval_period=STRIDE)
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
    """The first trees of a model of CatBoost."""
    model.shrink(count)  # type: ignore[attr-defined]
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "model.json"
        model.save_model(str(file), format="json")  # type: ignore[attr-defined]
        return read_catboost(file)
