"""Trees of LightGBM that learn the grades themselves, by squared error."""

from __future__ import annotations

from mmrank.evaluation.peers.base import Part, Peer, Space
from mmrank.evaluation.peers.lambdamart import SPACE as RANKING
from mmrank.evaluation.peers.lightgbm_trees import REGRESSION, fit_trees

SPACE: Space = {
    **{n: v for n, v in RANKING.items() if n != "lambdarank_truncation_level"},
    "objective": (REGRESSION,),
}


def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
    """Trees for the grade of each candidate, which know nothing of lists but when to stop.

    Args:
      train, valid: What is learned from, and what is chosen by.
      trials: How many settings of `SPACE` are tried.
      seed: Of all that is random.
    """
    return fit_trees("regression_trees", SPACE, train, valid, trials, seed)
