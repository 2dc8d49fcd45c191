"""LambdaMART of LightGBM."""

from __future__ import annotations

from mmrank.evaluation.peers.base import Part, Peer, Space
from mmrank.evaluation.peers.lightgbm_trees import fit_trees

SPACE: Space = {
    "objective": ("lambdarank", "rank_xendcg"),
    "num_leaves": (15, 7, 31, 63),
    "learning_rate": (0.05, 0.02, 0.1),
    "min_data_in_leaf": (20, 5, 50, 100),
    "feature_fraction": (0.5, 0.8, 1.0),
    "bagging_fraction": (0.6, 0.8, 1.0),
    "lambda_l2": (5.0, 0.0, 1.0, 20.0),
    "lambdarank_truncation_level": (20, 10, 50),
}


def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
    """Returns tuned LambdaMART, or XE-NDCG if that is better on the validation lists.

    Args:
      train, valid: The training lists and the validation lists.
      trials: How many settings of `SPACE` are tried.
      seed: Seed of everything random.

    Source: Burges 2010; Bruch 2021, "An alternative cross entropy loss for learning-to-rank".
    """
    return fit_trees("lambdamart", SPACE, train, valid, trials, seed)
