"""Trains LightGBM trees with any objective, with early stopping by NDCG@10 on validation lists."""

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
MOST_CANDIDATES = 10_000  # LightGBM's limit for a list; longer lists are split for training
REGRESSION = "regression"


def fit_trees(
    name: str,
    space: Space,
    train: Part,
    valid: Part,
    trials: int,
    seed: int,
    *,
    positions: bool = False,
) -> Peer:
    """Returns the tuned trees.

    LightGBM's ranking objectives accept only whole numbers as labels. Each grade is replaced by its
    index among the distinct grades in ascending order. The gain of a label remains 2^grade − 1.

    Args:
      name: The peer's name, for the log.
      space: LightGBM's parameters, including `objective`.
      train, valid: The training lists, and the lists by which rounds and settings are chosen.
      trials: How many settings are tried.
      seed: Seed of everything random.
      positions: Whether LightGBM receives the positions of the training rows, to model their
        effect on the labels.

    Source: Ke et al. 2017 (LightGBM); Burges 2010 (LambdaMART).
    """
    import lightgbm

    levels = np.unique(np.concatenate([train.grades, valid.grades]))
    ndcg = Ndcg(valid.grades, valid.offsets)

    def data(part: Part, ranks: bool, reference: Any = None) -> Any:
        shown_at = part.positions if positions and reference is None else None
        label = np.searchsorted(levels, part.grades) if ranks else part.grades
        return lightgbm.Dataset(
            part.features,
            label,
            group=_groups(part),
            reference=reference,
            position=shown_at,
            free_raw_data=False,
        )

    kept: dict[bool, tuple[Any, Any]] = {}

    def sets(ranks: bool) -> tuple[Any, Any]:
        """Returns the training and validation sets; features are binned once for all trials."""
        if ranks not in kept:
            learned = data(train, ranks)
            kept[ranks] = learned, data(valid, ranks, learned)
        return kept[ranks]

    def grow(settings: Settings, seed: int) -> Grown:
        ranks = settings["objective"] != REGRESSION
        given: dict[str, Any] = {
            **settings,
            "bagging_freq": 1,
            "metric": "None",
            "verbose": -1,
            "seed": seed,
            "deterministic": True,
            "force_col_wise": True,
            "feature_pre_filter": False,
            "num_threads": threads(),
        }
        if ranks:
            given["label_gain"] = (np.exp2(levels) - 1.0).tolist()
        learned, held = sets(ranks)
        progress = RoundProgress(name, ROUNDS)
        model = lightgbm.train(
            given,
            learned,
            ROUNDS,
            valid_sets=[held],
            feval=lambda scores, _: (METRIC, ndcg(scores), True),
            callbacks=[
                lightgbm.early_stopping(PATIENCE, verbose=False),
                lambda state: progress.done(state.iteration + 1),
            ],
        )
        return Grown(
            predict=lambda features, offsets: np.asarray(model.predict(features), np.float64),
            size=len(model.model_to_string(num_iteration=model.best_iteration).encode()),
            learned={"rounds": model.best_iteration},
        )

    return tuned(name, space, valid, trials, seed, grow)


def _groups(part: Part) -> np.ndarray:
    """Returns the sizes of the lists; a list that is too long for LightGBM is split into parts."""
    return np.unique(part.groups(MOST_CANDIDATES), return_counts=True)[1]
