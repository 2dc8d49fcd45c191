"""TF-Ranking's canned feed-forward network."""

from __future__ import annotations

from mmrank.evaluation.peers.base import Part, Peer, Space

SPACE: Space = {
    "hidden": ((128, 64), (64, 32), (256, 128, 64), (512, 256, 128)),
    "dropout": (0.2, 0.0, 0.5),
    "batch_norm": (True, False),
    "transform": ("signed_log", "standard", "quantile"),
    "loss": ("softmax_loss", "approx_ndcg_loss", "pairwise_logistic_loss", "mean_squared_loss"),
    "learning_rate": (1e-3, 3e-4, 3e-3),
    "batch_lists": (64, 32, 128),
}


def fit(train: Part, valid: Part, trials: int, seed: int) -> Peer:
    """Returns the tuned network.

    Args:
      train, valid: The training lists and the validation lists.
      trials: How many settings of `SPACE` are tried.
      seed: Seed of everything random.
    """
    # TensorFlow takes seconds to load, so it is imported only when a network is trained.
    from mmrank.evaluation.peers.networks import fit_network

    return fit_network("tfr_dnn", "dnn", SPACE, train, valid, trials, seed)
