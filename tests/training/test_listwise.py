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
