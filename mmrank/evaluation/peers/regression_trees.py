"""LightGBM trees that predict the grades themselves, trained by squared error."""

from __future__ import annotations

from mmrank.evaluation.peers.base import Part, Peer, Space
from mmrank.evaluation.peers.lambdamart import SPACE as RANKING
from mmrank.evaluation.peers.lightgbm_trees import REGRESSION, fit_trees

SPACE: Space = {
    **{n: v for n, v in RANKING.items() if n != "lambdarank_truncation_level"},
    "objective": (REGRESSION,),
}


def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
    """Returns tuned trees for the grade of each candidate; lists matter only for early stopping.

    Args:
      train, valid: The training lists and the validation lists.
      trials: How many settings of `SPACE` are tried.
      seed: Seed of everything random.
    """
    return fit_trees("regression_trees", SPACE, train, valid, trials, seed)
