"""Figures of single lists, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.training.listwise import clearly_better, lists_with_a_gain, ndcg_by_list


def test_ndcg_of_two_lists() -> None:
    scores = np.array([3.0, 2.0, 1.0, 1.0, 2.0])
    gains = np.array([0.0, 3.0, 1.0, 1.0, 0.0])
    lists = lists_with_a_gain(np.array([0, 3, 5]), gains)
    log3, log4 = np.log2(3), np.log2(4)
    expected = [(3 / log3 + 1 / log4) / (3 + 1 / log3), (1 / log3) / 1]
    np.testing.assert_allclose(ndcg_by_list(scores, gains, lists), expected)


def test_lists_with_equal_grades_are_excluded() -> None:
    offsets, gains = np.array([0, 2, 3, 5]), np.array([1.0, 1.0, 2.0, 0.0, 1.0])
    assert [rows.tolist() for rows in lists_with_a_gain(offsets, gains)] == [[3, 4]]


@pytest.mark.parametrize(
    ("difference", "better"),
    [
        ([0.1, 0.1, 0.1], True),  # no variance
        ([0.4, -0.2, 0.1], False),  # mean .1, error .17
        ([0.3, 0.0, 0.1], True),  # mean .13, error .09
        ([-0.1, -0.1], False),
        ([0.5], False),
        ([], False),
    ],
)
def test_clearly_better(difference: list[float], better: bool) -> None:
    other = np.full(len(difference), 0.5)
    assert clearly_better(other + difference, other) is better


def test_ties_of_logged_lists_do_not_keep_the_order_shown() -> None:
    """Clicks at the top of a page say nothing for scores that are all equal."""
    offsets, lists = np.arange(0, 2001, 5), 400
    gains = np.tile([1.0, 0.0, 0.0, 0.0, 0.0], lists)
    equal = np.zeros(len(gains))
    as_shown = ndcg_by_list(equal, gains, lists_with_a_gain(offsets, gains))
    assert as_shown.mean() == 1.0
    shuffled = lists_with_a_gain(offsets, gains, shuffle=1)
    assert all(sorted(rows) == list(range(rows.min(), rows.min() + 5)) for rows in shuffled)
    usual = (1 / np.log2(np.arange(2, 7))).mean()  # over the positions of the click
    assert abs(ndcg_by_list(equal, gains, shuffled).mean() - usual) < 0.03
    again = lists_with_a_gain(offsets, gains, shuffle=1)
    assert all((a == b).all() for a, b in zip(shuffled, again, strict=True))
