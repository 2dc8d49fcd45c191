"""XGBoost trees with the objective rank:ndcg."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmrank.evaluation.peers.base import (
    METRIC,
    Grown,
    Ndcg,
    Part,
    Peer,
    Settings,
    Space,
    threads,
    tuned,
)
from mmrank.trees.progress import RoundProgress

ROUNDS, PATIENCE = 800, 60
SPACE: Space = {
    "max_depth": (4, 3, 6, 8),
    "eta": (0.05, 0.02, 0.1),
    "min_child_weight": (1.0, 0.1, 10.0),
    "subsample": (0.8, 0.6, 1.0),
    "colsample_bytree": (0.5, 0.8, 1.0),
    "lambda": (5.0, 1.0, 20.0),
    "lambdarank_pair_method": ("topk", "mean"),
    "lambdarank_num_pair_per_sample": (8, 4, 16),
}


def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
    """Returns the tuned trees.

    The labels are the gains 2^grade − 1, and `ndcg_exp_gain` is False, so that XGBoost uses them as
    they are. XGBoost's own exponential gain accepts only whole grades.

    Args:
      train, valid: The training lists and the validation lists.
      trials: How many settings of `SPACE` are tried.
      seed: Seed of everything random.

    Source: Chen and Guestrin 2016; Burges 2010.
    """
    import xgboost

    def data(part: Part) -> xgboost.QuantileDMatrix:
        return xgboost.QuantileDMatrix(
            part.features,
            np.exp2(part.grades) - 1.0,
            group=np.diff(part.offsets),
            ref=None if part is train else learned,
        )

    learned = data(train)
    held = data(valid)
    ndcg = Ndcg(valid.grades, valid.offsets)

    def grow(settings: Settings, seed: int) -> Grown:
        given = {
            **settings,
            "objective": "rank:ndcg",
            "ndcg_exp_gain": False,
            "tree_method": "hist",
            "disable_default_eval_metric": True,
            "seed": seed,
            "nthread": threads(),
            "verbosity": 0,
        }
        progress = RoundProgress("xgboost", ROUNDS)

        class Shown(xgboost.callback.TrainingCallback):  # XGBoost takes no other type
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                progress.done(epoch + 1)
                return False  # go on

        model = xgboost.train(
            given,
            learned,
            ROUNDS,
            evals=[(held, "valid")],
            custom_metric=lambda scores, _: (METRIC, ndcg(scores)),
            maximize=True,
            early_stopping_rounds=PATIENCE,
            verbose_eval=False,
            callbacks=[Shown()],
        )
        best = model[: model.best_iteration + 1]
        return Grown(
            predict=lambda features, offsets: best.inplace_predict(features).astype(np.float64),
            size=len(best.save_raw()),
            learned={"rounds": model.best_iteration + 1},
        )

    return tuned("xgboost", SPACE, valid, trials, seed, grow)
