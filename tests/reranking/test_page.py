"""Pages and orders of their candidates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mmrank.reranking import draw_page
from mmrank.reranking.page import MOST_TRIED, all_orders, best_order


def test_orders_are_all_permutations_and_the_first_is_that_shown() -> None:
    orders = all_orders(4)
    assert orders.shape == (24, 4)
    assert len({tuple(o) for o in orders.tolist()}) == 24
    assert orders[0].tolist() == [0, 1, 2, 3]
    for size in (0, MOST_TRIED + 1):
        with pytest.raises(ValueError, match="all orders can be tried"):
            all_orders(size)


def test_taking_an_order_moves_every_value() -> None:
    page, order = draw_page(5, np.random.default_rng(1)), np.array([4, 0, 2, 1, 3])
    taken = page.take(order)
    after = taken.arrays()
    for name, before in page.arrays().items():
        for k in range(5):
            np.testing.assert_array_equal(after[name][k], before[order[k]])

    many = page.take(np.stack([order, order[::-1]]))
    np.testing.assert_array_equal(many.price[0], taken.price)
    with pytest.raises(ValueError, match="only one page"):
        many.take(order)


def test_the_truth_of_a_page_moves_with_it() -> None:
    truth = draw_page(3, np.random.default_rng(1))
    page = dataclasses.replace(draw_page(3, np.random.default_rng(2)), truth=truth)
    order = np.array([2, 0, 1])
    np.testing.assert_array_equal(page.take(order).real.price, truth.price[order])
    np.testing.assert_array_equal(truth.real.price, truth.price)
    with pytest.raises(ValueError, match="truth: shape"):
        dataclasses.replace(draw_page(4, np.random.default_rng(2)), truth=truth)


def test_likeness_counts_only_what_is_above() -> None:
    page = draw_page(4, np.random.default_rng(2))
    expected = [
        sum(max(float(page.vector[k] @ page.vector[j]), 0.0) for j in range(k)) for k in range(4)
    ]
    np.testing.assert_allclose(page.above(), expected, rtol=1e-12)


def test_the_best_order() -> None:
    rewards = np.zeros(6)
    rewards[4] = 1.0
    assert best_order(rewards).tolist() == all_orders(3)[4].tolist()


def test_wrong_values() -> None:
    page = draw_page(3, np.random.default_rng(1))
    with pytest.raises(ValueError, match="dwell: shape"):
        dataclasses.replace(page, dwell=np.ones(2))
    with pytest.raises(ValueError, match="price: must be above 0"):
        dataclasses.replace(page, price=np.zeros(3))
    with pytest.raises(ValueError, match="vector: 1 dimensions"):
        dataclasses.replace(page, vector=np.ones(3))
