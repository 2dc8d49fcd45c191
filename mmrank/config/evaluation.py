"""The section `evaluation` of a config: what a run reports at its end."""

from __future__ import annotations

import dataclasses

from mmrank.ranges import Count, Positive


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What is reported at the end of a run.

    Attributes:
      split: The split that the final table reports.
      baselines: Scorers compared on the same lists: random, popularity, bm25, dense; with events
        also itemknn, userknn, pmi, als and gmf; and peers that are trained on the train lists and
        tuned on the valid lists: lambdamart, unbiased_lambdamart, regression_trees, yetirank,
        xgboost, tfr_dnn, gam.
      peer_trials: How many settings of each peer are tried on the valid lists.
      dense: TF-Hub text encoder of the baseline dense; null for the ranker's own.
      without: Features, or kinds for all features of a kind except those of the query. The model is
        also evaluated with each of these absent, and the difference shows what each is worth. A
        kind that no feature of the schema has is ignored.
      no_relevant: The metric of a list without a relevant item: skip (the list is left out), zero
        or one.
      relevant_grade: The lowest grade that counts as relevant for all metrics but NDCG.
      calibration: How the tasks' probabilities are calibrated on the validation lists: none, platt
        or temperature.
    """

    split: str = "test"
    baselines: tuple[str, ...] = ("random", "popularity", "bm25")
    peer_trials: Count = 12
    dense: str | None = None
    without: tuple[str, ...] = ()
    no_relevant: str = "skip"
    relevant_grade: Positive = 1.0
    calibration: str = "none"
