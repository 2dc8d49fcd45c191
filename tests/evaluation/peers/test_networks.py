"""Inputs of networks: separate features of lists, and scores independent of other lists."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mmrank.evaluation.peers import PEERS, Part
from mmrank.evaluation.peers.networks import list_features


def test_list_features_are_equal_within_every_list() -> None:
    offsets = np.array([0, 2, 3, 5])
    features = np.array([[1, 7, 0], [1, 8, 0], [2, 9, 0], [3, 1, 0], [3, 1, 1]])
    assert list_features(features, offsets) == [0]
    assert list_features(features[:4], np.array([0, 2, 3, 4])) == [0, 2]


def test_scores_do_not_depend_on_other_lists_of_the_batch(part: Callable[[int, int], Part]) -> None:
    """The list is scored alone, and next to a longer list, so that it is padded."""
    train, valid = part(20, 0), part(10, 1)
    peer = PEERS.make("tfr_dnn")(train, valid, 1, 0)
    features, offsets = valid.features[:20], np.array([0, 3, 20])
    together = peer.predict(features, offsets)
    np.testing.assert_allclose(
        together[:3], peer.predict(features[:3], offsets[:2]), rtol=1e-5, atol=1e-6
    )
    assert len(set(together.round(6))) > 10
