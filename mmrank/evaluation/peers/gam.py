"""TF-Ranking's generalised additive model: one small network for each feature, and their sum."""

from __future__ import annotations

from mmrank.evaluation.peers.base import Part, Peer, Space

SPACE: Space = {
    "hidden": ((16, 8), (8,), (32, 16)),
    "dropout": (0.0, 0.2),
    "batch_norm": (True, False),
    "transform": ("signed_log", "standard", "quantile"),
    "loss": ("softmax_loss", "approx_ndcg_loss", "pairwise_logistic_loss", "mean_squared_loss"),
    "learning_rate": (3e-3, 1e-3, 1e-2),
    "batch_lists": (128, 64),
}


def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
    """Returns the tuned model. Features that are equal within every list weigh the others.

    Args:
      train, valid: The training lists and the validation lists.
      trials: How many settings of `SPACE` are tried.
      seed: Seed of everything random.
    """
    # TensorFlow takes seconds to load, so it is imported only when a network is trained.
    from mmrank.evaluation.peers.networks import fit_network

    return fit_network("gam", "gam", SPACE, train, valid, trials, seed)
