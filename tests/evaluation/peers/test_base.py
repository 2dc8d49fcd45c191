"""The search over settings, and the NDCG that it maximises."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.evaluation.metrics import per_list
from mmrank.evaluation.peers.base import METRIC, Grown, Ndcg, Part, draws, tuned

SPACE = {"leaves": (7, 15, 31), "rate": (0.1, 0.05)}


def test_ndcg_is_that_of_the_metrics() -> None:
    random = np.random.default_rng(0)
    sizes = random.integers(1, 30, 200)
    offsets = np.r_[0, np.cumsum(sizes)]
    grades = random.integers(0, 4, offsets[-1]) * (random.random(offsets[-1]) < 0.3) / 3 * 2
    scores = random.normal(size=offsets[-1])
    expected = np.nanmean(per_list(scores, grades, offsets, metrics=(METRIC,))[METRIC])
    ndcg = Ndcg(grades, offsets)
    assert ndcg(scores) == pytest.approx(expected, abs=1e-12)
    assert ndcg(scores * 3) == pytest.approx(expected, abs=1e-12)


def test_equal_scores_do_not_keep_the_order_of_the_rows() -> None:
    """The best candidate is in the first row; at random it is at one of four positions."""
    grades = np.tile([1.0, 0.0, 0.0, 0.0], 4000)
    offsets = np.arange(0, 16001, 4)
    random_ndcg = np.mean(1 / np.log2([2, 3, 4, 5]))
    assert Ndcg(grades, offsets)(np.zeros(16000)) == pytest.approx(random_ndcg, abs=0.01)


def test_lists_without_a_relevant_candidate_are_excluded() -> None:
    ndcg = Ndcg(np.array([0.0, 0.0, 1.0, 0.0]), np.array([0, 2, 4]))
    assert ndcg(np.array([0.0, 0.0, 0.0, 1.0])) == pytest.approx(1 / np.log2(3))
    assert not Ndcg(np.zeros(4), np.array([0, 2, 4])).any


def test_draws_begin_with_the_first_and_never_repeat() -> None:
    drawn = draws(SPACE, 4, seed=1)
    assert drawn[0] == {"leaves": 7, "rate": 0.1}
    assert len({tuple(d.values()) for d in drawn}) == 4
    assert drawn == draws(SPACE, 4, seed=1)
    assert drawn != draws(SPACE, 4, seed=2)
    assert all(d[name] in values for d in drawn for name, values in SPACE.items())


def test_a_small_space_is_searched_completely() -> None:
    assert len({tuple(d.values()) for d in draws(SPACE, 99, seed=0)}) == 6
    with pytest.raises(ValueError, match="trials: expected 1 or more, got 0"):
        draws(SPACE, 0, seed=0)


def test_the_best_on_the_validation_lists_is_chosen() -> None:
    """The scores are right only for 31 leaves."""
    valid = Part(np.zeros((4, 1), np.float32), np.array([0.0, 1, 0, 1]), np.array([0, 2, 4]))
    right = np.array([0.0, 1, 0, 1])

    def grow(settings, seed):
        sign = 1 if settings["leaves"] == 31 else -1
        return Grown(lambda features, offsets: sign * right, 7, {"rounds": settings["leaves"]})

    peer = tuned("test", SPACE, valid, 6, 0, grow)
    assert peer.choice["leaves"] == peer.choice["rounds"] == 31
    assert (peer.validation, peer.trials, peer.size) == (1.0, 6, 7)
