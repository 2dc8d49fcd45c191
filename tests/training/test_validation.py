"""Figures of the validation lists: by formula, with ties, of a run with trees."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest

from mmrank.ranking.metrics import make_metric
from mmrank.training.state import State
from mmrank.training.targets import for_metric
from mmrank.training.validation import all_tie, best_figure, validation_ndcg


@dataclasses.dataclass(frozen=True)
class Lists:
    """The attributes of ListArrays that the validation figures read."""

    offsets: np.ndarray
    grades: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        return np.diff(self.offsets)


def test_ties_are_a_warning_only_if_all_lists_tie():
    lists = Lists(np.array([0, 2, 5]), np.zeros(5))
    assert all_tie(np.array([1, 1, 2, 2, 2.0]), lists)
    assert not all_tie(np.array([1, 1, 2, 2, 2.1]), lists)


def test_validation_ndcg_by_formula():
    """In lists of 2 and 20 the relevant item is at rank 1 and at rank 3.

    A third list has no relevant item and does not count in the mean.
    """
    grades = np.zeros(25, np.float32)
    grades[[0, 5]] = 1
    scores = np.zeros(25, np.float32) - np.arange(25)
    scores[1] = -50
    scores[5] = -3.5  # behind rows 2 and 3
    lists = Lists(np.array([0, 2, 22, 25]), grades)
    assert validation_ndcg(scores, lists) == pytest.approx((1 + 1 / np.log2(4)) / 2, abs=1e-6)
    ties = [validation_ndcg(np.zeros(25, np.float32), lists) for _ in range(2)]
    assert ties[0] == ties[1]


def test_another_metric_reads_the_relevant_grade():
    """Grades 1, 2, 0 in this order: if the lowest relevant grade is 2, the first is at rank 2."""
    lists = Lists(np.array([0, 3]), np.array([1, 2, 0], np.float32))
    scores = np.array([3.0, 2.0, 1.0])
    for relevant, mrr, precision in ((1.0, 1.0, 1.0), (2.0, 1 / 2, 1 / 2)):
        for name, expected in (("mrr", mrr), ("precision@2", precision)):
            read = for_metric(lists, name, relevant)
            given = validation_ndcg(scores, read, make_metric(name))
            assert given == pytest.approx(expected, abs=1e-6)
    assert for_metric(lists, "ndcg@3", 2.0) is lists


def test_a_run_is_selected_by_the_figure_of_its_trees_if_it_has_any():
    state = State(data="shop", best=0.25)
    for blend, expected in ((None, 0.25), (types.SimpleNamespace(figure=0.5), 0.5)):
        run = types.SimpleNamespace(model=types.SimpleNamespace(blend=blend))
        assert best_figure(run, state) == expected
