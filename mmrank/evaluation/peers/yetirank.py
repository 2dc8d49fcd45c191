"""CatBoost trees with CatBoost's ranking losses."""

from __future__ import annotations

import pathlib
import tempfile

import numpy as np

from mmrank.evaluation.peers.base import CUTOFF, Grown, Part, Peer, Settings, Space, threads, tuned
from mmrank.trees.progress import RoundProgress

ROUNDS, PATIENCE = 800, 60
SPACE: Space = {
    "loss_function": ("YetiRank", "YetiRank:mode=NDCG", "LambdaMart:metric=NDCG", "QueryRMSE"),
    "depth": (6, 4, 8),
    "learning_rate": (0.06, 0.03, 0.12),
    "l2_leaf_reg": (3.0, 10.0, 30.0),
    "rsm": (0.8, 0.5, 1.0),
    "random_strength": (1.0, 0.0, 5.0),
}


def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
    """Returns the tuned trees.

    The number of rounds is chosen by CatBoost's own NDCG@10 with gains 2^grade − 1. It counts a
    list without a relevant item as 1, which does not affect the choice.

    Args:
      train, valid: The training lists and the validation lists.
      trials: How many settings of `SPACE` are tried.
      seed: Seed of everything random.

    Source: Gulin, Kuralenok and Pavlov 2011 (YetiRank); Prokhorenkova et al. 2018 (CatBoost).
    """
    import catboost

    def data(part: Part) -> catboost.Pool:
        pool = catboost.Pool(part.features, part.grades, group_id=part.groups())
        return pool

    learned, held = data(train), data(valid)

    def grow(settings: Settings, seed: int) -> Grown:
        model = catboost.CatBoost(
            {
                **settings,
                "eval_metric": f"NDCG:top={CUTOFF};type=Exp",
                "iterations": ROUNDS,
                "use_best_model": True,
                "early_stopping_rounds": PATIENCE,
                "random_seed": seed,
                "thread_count": threads(),
                "allow_writing_files": False,
                "logging_level": "Silent",
            }
        )
        model.fit(learned, eval_set=held, callbacks=[RoundProgress("yetirank", ROUNDS)])
        return Grown(
            predict=lambda features, offsets: np.asarray(model.predict(features), np.float64),
            size=_size(model),
            learned={"rounds": model.tree_count_},
        )

    return tuned("yetirank", SPACE, valid, trials, seed, grow)


def _size(model: object) -> int:
    with tempfile.TemporaryDirectory(prefix="mmrank-") as folder:
        file = pathlib.Path(folder) / "model.cbm"
        model.save_model(str(file))  # type: ignore[attr-defined]
        return file.stat().st_size
