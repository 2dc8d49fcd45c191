"""What every peer must do: find what tells the grades, say what it chose, and be repeatable."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmrank.evaluation import peers
from mmrank.evaluation.metrics import per_list
from mmrank.evaluation.peers import PEERS, Part, check_installed
from mmrank.evaluation.peers.base import METRIC
from mmrank.outputs import MissingExtra

Make = Callable[[int, int], Part]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads that wait for one another are slow where several tests share the cores."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_finds_what_tells_the_grades(name: str, part: Make) -> None:
    train, valid, unseen = part(120, 0), part(30, 1), part(30, 2)
    peer = PEERS[name].fit(train, valid, 1, 0)
    scores = peer.predict(unseen.features, unseen.offsets)
    assert scores.shape == (len(unseen.grades),)
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    ndcg = per_list(scores, unseen.grades, unseen.offsets, metrics=(METRIC,))[METRIC]
    by_chance = per_list(np.zeros(len(scores)), unseen.grades, unseen.offsets, metrics=(METRIC,))[
        METRIC
    ]
    assert np.nanmean(by_chance) < 0.8
    assert np.nanmean(ndcg) > 0.93

    assert peer.trials == 1
    assert {n: peer.choice[n] for n in peer.space} == {n: v[0] for n, v in peer.space.items()}
    held = per_list(
        peer.predict(valid.features, valid.offsets), valid.grades, valid.offsets, metrics=(METRIC,)
    )[METRIC]
    assert peer.validation == pytest.approx(np.nanmean(held), abs=0.01)  # but for ties
    assert peer.size > 0
    assert 0 < peer.trial_seconds <= peer.seconds


@pytest.mark.parametrize("name", ["lambdamart", "regression_trees", "yetirank", "xgboost"])
def test_trees_are_repeatable(name: str, part: Make) -> None:
    train, valid = part(40, 0), part(15, 1)
    first, again = (PEERS[name].fit(train, valid, 2, 5) for _ in range(2))
    np.testing.assert_array_equal(
        first.predict(valid.features, valid.offsets), again.predict(valid.features, valid.offsets)
    )
    assert first.choice == again.choice


def test_a_missing_package_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = {"lambdamart": peers.PeerKind(PEERS["lambdamart"].fit, "no_such_package")}
    monkeypatch.setattr(peers, "PEERS", gone)
    with pytest.raises(MissingExtra, match=r"peer lambdamart needs no_such_package: pip install"):
        check_installed("lambdamart")
