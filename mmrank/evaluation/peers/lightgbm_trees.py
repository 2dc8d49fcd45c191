"""Trees of LightGBM with any of its objectives, stopped by NDCG@10 of the validation lists."""

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

ROUNDS, PATIENCE = 800, 60
MOST_CANDIDATES = 10_000  # of a list, to LightGBM; longer ones are parted in training
REGRESSION = "regression"


def fit_trees(name: str, space: Space, train: Part, valid: Part, trials: int, seed: int) -> Peer:
    """The tuned trees.

    A ranking objective takes whole numbers for grades: theirs are the numbers of the grades in
    ascending order, whose gains are 2^grade − 1 all the same.

    Args:
      name: The peer's, for the log.
      space: LightGBM's parameters, `objective` among them.
      train, valid: What is learned from, and what rounds and settings are chosen by.
      trials: How many settings are tried.
      seed: Of all that is random.

    Source: Ke et al. 2017 (LightGBM); Burges 2010 (LambdaMART).
    """
    import lightgbm

    levels = np.unique(np.concatenate([train.grades, valid.grades]))
    ndcg = Ndcg(valid.grades, valid.offsets)

    def data(part: Part, ranks: bool, reference: Any = None) -> Any:
        label = np.searchsorted(levels, part.grades) if ranks else part.grades
        return lightgbm.Dataset(
            part.features, label, group=_groups(part), reference=reference, free_raw_data=False
        )

    kept: dict[bool, tuple[Any, Any]] = {}

    def sets(ranks: bool) -> tuple[Any, Any]:
        """Binned once for all trials."""
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
        model = lightgbm.train(
            given,
            learned,
            ROUNDS,
            valid_sets=[held],
            feval=lambda scores, _: (METRIC, ndcg(scores), True),
            callbacks=[lightgbm.early_stopping(PATIENCE, verbose=False)],
        )
        return Grown(
            predict=lambda features, offsets: np.asarray(model.predict(features), np.float64),
            size=len(model.model_to_string(num_iteration=model.best_iteration).encode()),
            learned={"rounds": model.best_iteration},
        )

    return tuned(name, space, valid, trials, seed, grow)


def _groups(part: Part) -> np.ndarray:
    """The sizes of the lists, those too long for LightGBM in parts."""
    return np.unique(part.groups(MOST_CANDIDATES), return_counts=True)[1]
