"""Every peer learns the feature that sets the grades, reports its choice, and is repeatable."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable

import numpy as np
import pytest

from mmrank.evaluation.metrics import per_list
from mmrank.evaluation.peers import PEERS, Part
from mmrank.evaluation.peers.base import METRIC
from mmrank.outputs import MissingExtra

Make = Callable[[int, int], Part]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several threads wait for one another and are slow when parallel tests share the cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_learns_the_feature_of_the_grades(
    name: str, part: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    train, valid, unseen = part(120, 0), part(30, 1), part(30, 2)
    monkeypatch.setattr("mmrank.trees.progress.SECONDS", 0.0)
    with caplog.at_level("INFO"):
        peer = PEERS.make(name)(train, valid, 1, 0)
    shown = [m for m in caplog.messages if "of at most" in m]
    assert len(shown) >= max(peer.choice.get("rounds", 0), peer.choice.get("epochs", 0))
    assert re.match(rf"{name}: (round|epoch) 1 of at most \d+ after \d+ s$", shown[0])
    scores = peer.predict(unseen.features, unseen.offsets)
    assert scores.shape == (len(unseen.grades),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    ndcg = per_list(scores, unseen.grades, unseen.offsets, metrics=(METRIC,))[METRIC]
    at_random = per_list(np.zeros(len(scores)), unseen.grades, unseen.offsets, metrics=(METRIC,))[
        METRIC
    ]
    assert np.nanmean(at_random) < 0.8
    assert np.nanmean(ndcg) > 0.93

    assert peer.trials == 1
    assert {n: peer.choice[n] for n in peer.space} == {n: v[0] for n, v in peer.space.items()}
    held = per_list(
        peer.predict(valid.features, valid.offsets), valid.grades, valid.offsets, metrics=(METRIC,)
    )[METRIC]
    assert peer.validation == pytest.approx(np.nanmean(held), abs=0.01)  # except for ties
    assert peer.size > 0
    assert 0 < peer.trial_seconds <= peer.seconds


@pytest.mark.parametrize("name", ["lambdamart", "regression_trees", "yetirank", "xgboost"])
def test_trees_are_repeatable(name: str, part: Make) -> None:
    train, valid = part(40, 0), part(15, 1)
    first, again = (PEERS.make(name)(train, valid, 2, 5) for _ in range(2))
    np.testing.assert_array_equal(
        first.predict(valid.features, valid.offsets), again.predict(valid.features, valid.offsets)
    )
    assert first.choice == again.choice


def test_a_missing_package_is_a_one_line_error(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = dataclasses.replace(PEERS["lambdamart"], needs=("no_such_package", "trees"))
    monkeypatch.setitem(PEERS, "lambdamart", gone)
    with pytest.raises(MissingExtra, match=r"peer lambdamart needs no_such_package: pip install"):
        PEERS.check_installed("lambdamart")
