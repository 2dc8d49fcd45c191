"""Rankers of other libraries, trained and tuned on the lists that the ranker learned from.

Each reads the plain features that the ranker itself reads (`mmrank.plain_features`), is tuned by
the same number of trials, and never sees a test list. A new one is one file and one entry in
`PEERS`. What a library takes to load is loaded when a peer is trained.
"""

from __future__ import annotations

import dataclasses

from mmrank.evaluation.peers import (
    gam,
    lambdamart,
    regression_trees,
    tfr_dnn,
    xgboost,
    yetirank,
)
from mmrank.evaluation.peers.base import TRIALS, Fit, Part, Peer
from mmrank.outputs import require_extra

__all__ = ["PEERS", "TRIALS", "Part", "Peer", "PeerKind", "check_installed"]
EXTRA = "trees"


@dataclasses.dataclass(frozen=True)
class PeerKind:
    """How a peer is made.

    Attributes:
      fit: Trains and tunes it.
      module: The package that it needs beside the core's; None for none.
    """

    fit: Fit
    module: str | None = None


PEERS: dict[str, PeerKind] = {
    "lambdamart": PeerKind(lambdamart.fit, "lightgbm"),
    "regression_trees": PeerKind(regression_trees.fit, "lightgbm"),
    "yetirank": PeerKind(yetirank.fit, "catboost"),
    "xgboost": PeerKind(xgboost.fit, "xgboost"),
    "tfr_dnn": PeerKind(tfr_dnn.fit),
    "gam": PeerKind(gam.fit),
}


def check_installed(name: str) -> None:
    """Checks that the package of a peer is installed.

    Raises:
      MissingExtra: It is not; the message names the install command.
    """
    module = PEERS[name].module
    if module is not None:
        require_extra(f"the peer {name}", module, EXTRA)
