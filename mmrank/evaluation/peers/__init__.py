"""Peers: rankers of other libraries, trained and tuned on the lists that the ranker learned from.

Each peer reads the plain features that the ranker itself reads (`mmrank.plain_features`), is tuned
with the same number of trials, and never sees a test list. To add a peer, add one file and one
entry in `PEERS`. A library is imported only when one of its peers is trained.
"""

from __future__ import annotations

from mmrank.evaluation.peers import (
    gam,
    lambdamart,
    regression_trees,
    tfr_dnn,
    unbiased_lambdamart,
    xgboost,
    yetirank,
)
from mmrank.evaluation.peers.base import TRIALS, Fit, Part, Peer
from mmrank.registry import Entry, Registry

__all__ = ["PEERS", "TRIALS", "Fit", "Part", "Peer"]
LIGHTGBM = ("lightgbm", "trees")

# Each entry makes a function `Fit`.
PEERS = Registry(
    "peer",
    {
        "lambdamart": Entry.function(lambdamart.fit, needs=LIGHTGBM),
        "unbiased_lambdamart": Entry.function(unbiased_lambdamart.fit, needs=LIGHTGBM),
        "regression_trees": Entry.function(regression_trees.fit, needs=LIGHTGBM),
        "yetirank": Entry.function(yetirank.fit, needs=("catboost", "trees")),
        "xgboost": Entry.function(xgboost.fit, needs=("xgboost", "trees")),
        "tfr_dnn": Entry.function(tfr_dnn.fit),
        "gam": Entry.function(gam.fit),
    },
)
