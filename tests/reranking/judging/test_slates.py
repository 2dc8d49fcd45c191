"""Weights of the pseudo-inverse: exactly unbiased for sums over positions, and where not given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmrank.data.tables import DataError
from mmrank.reranking.judging.slates import second_moment, slate_weights
from mmrank.reranking.judging.support import exploration_of
from mmrank.reranking.page import all_orders

SWAP = {"kind": "pair_swap", "epsilon": 0.3, "open": [True] * 4}
CLOSED = {"kind": "pair_swap", "epsilon": 0.3, "open": [True, True, False, True]}
EPSILON = {"kind": "epsilon", "epsilon": 0.4, "open": [True] * 4}
BOLTZMANN = {"kind": "boltzmann", "temperature": 0.8, "open": [True] * 4}
BASE = np.array([2, 0, 3, 1])


def by_definition(record: dict[str, Any], judged: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of all orders, and q' Γ⁺ 1_s by loops over what may be shown."""
    made, opened = exploration_of(record)
    orders, k = all_orders(4), 4
    probability = np.array([made.cumulative(BASE, opened, order)[-1] for order in orders])
    indicator = np.zeros((len(orders), k * k))
    for row, order in enumerate(orders):
        for position, candidate in enumerate(order):
            indicator[row, candidate * k + position] = 1.0
    gamma = sum(p * np.outer(v, v) for p, v in zip(probability, indicator, strict=True))
    q = indicator[[row for row, o in enumerate(orders) if (o == judged).all()][0]]
    return probability, indicator @ np.linalg.pinv(gamma, rcond=1e-10) @ q


@pytest.mark.parametrize("record", [SWAP, CLOSED, EPSILON, BOLTZMANN])
def test_weights_by_definition(record: dict[str, Any]) -> None:
    """They add up every additive reward to what the judged order earns, with no sampling."""
    orders = all_orders(4)
    judged = BASE[[1, 0, 2, 3]]
    probability, wanted = by_definition(record, judged)
    n = len(orders)
    found = slate_weights(
        [record] * n, np.tile(BASE, (n, 1)), orders, np.tile(judged, (n, 1)), np.full(n, 4)
    )
    shown = probability > 0
    np.testing.assert_allclose(found[shown], wanted[shown], atol=1e-8)
    worth = np.random.default_rng(1).normal(size=(4, 4))  # of each candidate at each position
    rewards = np.array([worth[order, np.arange(4)].sum() for order in orders])
    value = (probability * found * rewards)[shown].sum()
    assert value == pytest.approx(worth[judged, np.arange(4)].sum())


def test_uniform_orders_have_a_known_weight() -> None:
    """2 − k + (k − 1) · (number of positions at which the two orders agree)."""
    orders = all_orders(5)
    judged = np.tile(np.arange(5), (len(orders), 1))
    record = {"kind": "epsilon", "epsilon": 1.0, "open": [True] * 5}
    found = slate_weights([record] * len(orders), judged, orders, judged, np.full(len(orders), 5))
    np.testing.assert_allclose(found, 2 - 5 + 4 * (orders == judged).sum(-1), atol=1e-9)


def test_several_swaps_can_be_judged_if_they_do_not_overlap() -> None:
    """Their page is the sum of the pages with one swap, less that without."""
    judged = {"both": [1, 0, 3, 2], "overlapping": [1, 2, 0, 3], "none": [0, 1, 2, 3]}
    base = np.arange(4)[np.newaxis]
    weights = {
        name: slate_weights([SWAP], base, base, np.array([order]), np.array([4]))[0]
        for name, order in judged.items()
    }
    # The base order has probability .7, and each swap .1.
    assert weights["none"] == pytest.approx(1 / 0.7)
    assert weights["both"] == pytest.approx(-1 / 0.7)
    assert np.isnan(weights["overlapping"])
    closed = slate_weights([CLOSED], base, base, np.array([judged["both"]]), np.array([4]))
    assert closed[0] == pytest.approx(-1 / 0.7)
    assert np.isnan(slate_weights([CLOSED], base, base, np.array([[0, 2, 1, 3]]), np.array([4]))[0])


def test_pages_of_other_lengths_and_without_exploration() -> None:
    base = np.tile(np.arange(4), (3, 1))
    swapped = np.array([1, 0, 2, 3])
    shown = np.stack([swapped, swapped, base[0]])
    judged = np.stack([swapped, swapped, base[0]])
    two = {"kind": "pair_swap", "epsilon": 0.3, "open": [True] * 2}
    found = slate_weights([SWAP, two, None], base, shown, judged, np.array([4, 2, 4]))
    np.testing.assert_allclose(found, [10.0, 1 / 0.3, 1.0])


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_moment_of_random_orders(size: int) -> None:
    record = {"kind": "epsilon", "epsilon": 1.0, "open": [True] * size}
    orders = all_orders(size)
    wanted = np.zeros((size * size, size * size))
    for order in orders:
        at = np.arange(size) * size + order
        wanted[np.ix_(at, at)] += 1 / len(orders)
    np.testing.assert_allclose(second_moment(record, size), wanted, atol=1e-12)


def test_what_cannot_be_enumerated() -> None:
    with pytest.raises(DataError, match="that boltzmann shows of 9 candidates are too many"):
        second_moment({"kind": "boltzmann", "temperature": 1.0, "open": [True] * 9}, 9)
    long = np.arange(41)[np.newaxis]
    with pytest.raises(DataError, match="pages of 41 candidates, but at most 40"):
        slate_weights([None], long, long, long, np.array([41]))
