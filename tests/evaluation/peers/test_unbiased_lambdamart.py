"""Clicks on pages that a ranker ordered: effects of the position are not learned as relevance."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mmrank.data.tables import DataError
from mmrank.evaluation.metrics import per_list
from mmrank.evaluation.peers import PEERS, Part

LENGTH = 8


def pages(lists: int, seed: int) -> tuple[Part, np.ndarray]:
    """Clicks on pages sorted by noise plus a useless feature, and the true relevance."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(lists, LENGTH, 2)).astype(np.float32)
    order = np.argsort(-features[..., 1] - random.normal(size=(lists, LENGTH)), axis=1)
    features = np.take_along_axis(features, order[..., None], 1)
    relevant = random.random((lists, LENGTH)) < 1 / (1 + np.exp(-2 * features[..., 0]))
    positions = np.arange(LENGTH) + 1
    clicks = relevant & (random.random((lists, LENGTH)) < 1 / positions)
    offsets = np.arange(0, lists * LENGTH + 1, LENGTH)
    part = Part(
        features.reshape(-1, 2),
        clicks.reshape(-1).astype(float),
        offsets,
        np.tile(positions, lists),
    )
    return part, relevant.reshape(-1).astype(float)


def test_positions_are_not_learned_as_relevance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train, _ = pages(2000, 0)
    valid, _ = pages(500, 1)
    unseen, relevant = pages(300, 2)
    ndcg = {}
    for name in ("lambdamart", "unbiased_lambdamart"):
        peer = PEERS.make(name)(train, valid, 1, 0)
        scores = peer.predict(unseen.features, unseen.offsets)
        values = per_list(scores, relevant, unseen.offsets, metrics=("ndcg@10",))["ndcg@10"]
        ndcg[name] = np.nanmean(values)
    assert ndcg["unbiased_lambdamart"] > ndcg["lambdamart"] + 0.02, ndcg


def test_lists_without_positions_are_refused() -> None:
    part, _ = pages(20, 0)
    without = dataclasses.replace(part, positions=None)
    with pytest.raises(DataError, match="learns from clicks and their positions"):
        PEERS.make("unbiased_lambdamart")(without, part, 1, 0)
