"""LambdaMART of LightGBM that corrects clicks for position bias."""

from __future__ import annotations

from mmrank.data.tables import DataError
from mmrank.evaluation.peers.base import Part, Peer, Space
from mmrank.evaluation.peers.lambdamart import SPACE as RANKING
from mmrank.evaluation.peers.lightgbm_trees import fit_trees

SPACE: Space = {
    **RANKING,
    "objective": ("lambdarank",),
    "lambdarank_position_bias_regularization": (0.0, 1.0, 10.0),
}


def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
    """Returns tuned LambdaMART that also learns a bias factor for each position.

    The factors are learned together with the trees, and scoring ignores them.

    Args:
      train: The training lists, with positions.
      valid: The validation lists; the positions of their rows are not used.
      trials: How many settings of `SPACE` are tried.
      seed: Seed of everything random.

    Raises:
      DataError: The training rows have no positions.

    Source: Hu et al. 2019, "Unbiased LambdaMART", in LightGBM's variant.
    """
    if train.positions is None:
        raise DataError(
            "the peer unbiased_lambdamart learns from clicks and their positions, but these "
            "lists have none or are learned from grades; remove it from the baselines, or add the "
            "label position to the schema and learn a click"
        )
    return fit_trees("unbiased_lambdamart", SPACE, train, valid, trials, seed, positions=True)
