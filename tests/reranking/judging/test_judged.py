"""A played log for the estimators: probabilities, coverage, verdicts and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmrank.config import ConfigError
from mmrank.data.tables import DataError
from mmrank.reranking import USERS, Rewards, draw_page
from mmrank.reranking.exploration import EXPLORATIONS
from mmrank.reranking.judging import LoggedPages, estimate, overlap_of, verdicts
from mmrank.reranking.judging.judged import judged_pages, padded_orders
from mmrank.reranking.judging.support import probabilities
from mmrank.reranking.played import draw_pages, played_log
from mmrank.reranking.sessions import Sessions

OPEN = [True] * 3
RECORDS = {
    "pair_swap": {"kind": "pair_swap", "epsilon": 0.4},
    "epsilon": {"kind": "epsilon", "epsilon": 0.6},
    "boltzmann": {"kind": "boltzmann", "temperature": 1.5},
}
SWAPPED = np.array([1, 0, 2])


def played(kind: str, n: int = 600) -> tuple[Sessions, list[dict[str, Any]]]:
    pages = draw_pages(lambda rng: draw_page(3, rng), n, seed=1)
    options = {k: v for k, v in RECORDS[kind].items() if k != "kind"}
    exploration = EXPLORATIONS.make(kind, options)
    sessions = played_log(pages, exploration, USERS.make("cascade"), seed=1)
    return sessions, [{**RECORDS[kind], "open": OPEN}] * n


@pytest.mark.parametrize("kind", sorted(RECORDS))
def test_a_log_for_every_estimator(kind: str) -> None:
    sessions, records = played(kind)
    orders = np.tile(SWAPPED, (600, 1))
    made = judged_pages(sessions, records, orders, Rewards())
    assert made.covered is not None
    assert made.covered.all()
    exploration = EXPLORATIONS.make(kind, {k: v for k, v in RECORDS[kind].items() if k != "kind"})
    probability = exploration.cumulative(np.arange(3), np.array(OPEN), SWAPPED)[-1]
    same = (sessions.order == SWAPPED).all(-1)
    np.testing.assert_allclose(made.weights(), np.where(same, 1 / probability, 0.0))
    np.testing.assert_allclose(made.rewards, sessions.clicks + 5.0 * sessions.purchases)
    predicted, expected = made.model()
    np.testing.assert_array_equal(predicted, expected)
    assert (np.diff(predicted, axis=-1) < 0).mean() > 0.9  # what is left to earn, from the top


def test_only_what_is_asked_for_is_computed() -> None:
    sessions, records = played("pair_swap", 60)
    made = judged_pages(sessions, records, sessions.base, Rewards(), ["inverse_propensity"])
    assert made.predicted is None
    assert made.slate is None
    slates = judged_pages(sessions, records, sessions.base, Rewards(), ["pseudo_inverse"])
    assert slates.predicted is None
    assert slates.slate is not None


def test_pages_without_exploration() -> None:
    sessions, records = played("pair_swap", 60)
    as_base = probabilities([None] * 60, sessions.base, sessions.base, sessions.length)
    assert as_base.tolist() == [1.0] * 60
    with pytest.raises(DataError, match="pages have another probability.* first is page 1, with"):
        judged_pages(sessions, [None] * 60, sessions.base, Rewards())
    unknown = [{**record, "kind": "thompson"} for record in records]
    with pytest.raises(ConfigError, match="unknown exploration 'thompson'"):
        judged_pages(sessions, unknown, sessions.base, Rewards())
    closed = [{**RECORDS["epsilon"], "open": [True, False, True]}] * 60
    with pytest.raises(DataError, match="exploration epsilon: moves are closed by guards"):
        judged_pages(sessions, closed, sessions.base, Rewards())


def test_verdicts_are_the_estimates_and_their_differences() -> None:
    sessions, records = played("pair_swap")
    made = judged_pages(sessions, records, np.tile(SWAPPED, (600, 1)), Rewards())
    base = judged_pages(sessions, records, sessions.base, Rewards())
    names = ["self_normalised", "doubly_robust", "cascade_doubly_robust", "direct"]
    logged = verdicts(made, names, resamples=100)
    against = verdicts(made, names, base, resamples=100)
    for name, one, other in zip(names, logged, against, strict=True):
        alone, theirs = (estimate(pages, name, resamples=100) for pages in (made, base))
        assert one.reward is not None
        assert one.reward.mean == other.reward.mean == alone.mean
        if name != "direct":
            assert one.reward == other.reward == alone  # on the same resamples
            assert other.difference.low < other.difference.mean < other.difference.high
        mean = made.rewards.sum(-1).mean()
        assert one.difference.mean == pytest.approx(alone.mean - mean)
        assert other.difference.mean == pytest.approx(alone.mean - theirs.mean)
    [itself] = verdicts(base, ["self_normalised"], base, resamples=50)
    assert (itself.difference.low, itself.difference.high) == (0.0, 0.0)


def test_estimators_refuse_by_their_own_weights() -> None:
    sessions, records = played("pair_swap")
    far = np.tile([2, 0, 1], (600, 1))
    made = judged_pages(sessions, records, far, Rewards())
    said = verdicts(made, ["direct", "pseudo_inverse"])
    assert "100.0% of the policy's pages could not be shown" in said[0].refusal
    assert "100.0% of the policy's pages are not a sum" in said[1].refusal
    assert all(each.reward is None and each.difference is None for each in said)
    base = judged_pages(sessions, records, sessions.base, Rewards())
    [against] = verdicts(base, ["inverse_propensity"], made)
    assert against.refusal.startswith("the policy that it is compared with: 100.0%")


def test_overlap_without_known_support() -> None:
    one = np.ones([100, 1])
    assert np.isnan(overlap_of(LoggedPages(one, one, one)).covered)
    some = np.arange(100) >= 2
    assert (
        "2.0% of the policy's pages" in overlap_of(LoggedPages(one, one, one, covered=some)).refusal
    )
    assert not overlap_of(LoggedPages(one, one, one, covered=np.arange(100) >= 1)).refusal
    with pytest.raises(ValueError, match="covered: shape"):
        LoggedPages(one, one, one, covered=np.ones([3], bool))


def test_a_page_without_a_weight_counts_nothing() -> None:
    one, slate = np.ones([200, 1]), np.ones(200)
    slate[7] = np.nan
    pages = LoggedPages(one, one, one, slate=slate)
    [said] = verdicts(pages, ["pseudo_inverse"])
    assert said.reward is not None
    assert said.reward.mean == 199 / 200
    slate[8:10] = np.nan
    assert "1.5% of the policy's pages are not a sum" in overlap_of(pages, "pseudo_inverse").refusal


def test_orders_of_other_lengths() -> None:
    orders = padded_orders([np.array([1, 0]), np.array([0])], 3)
    assert orders.tolist() == [[1, 0, 2], [0, 1, 2]]
