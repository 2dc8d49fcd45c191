"""Exploration: probabilities against sums over all orders, samples against probabilities."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import chi2

from mmrank.config import ConfigError
from mmrank.reranking.exploration import EXPLORATIONS, Exploration, conditional_of

KINDS = {
    "pair_swap": {"epsilon": 0.6},
    "epsilon": {"epsilon": 0.7},
    "boltzmann": {"temperature": 1},
}
SAMPLES = 20_000


def made(kind: str) -> Exploration:
    exploration = EXPLORATIONS.make(kind, KINDS[kind])
    assert isinstance(exploration, Exploration)
    return exploration


def all_open(size: int) -> np.ndarray:
    return np.ones(size, bool)


def test_all_kinds_are_tested() -> None:
    assert set(KINDS) == set(EXPLORATIONS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_cumulative_of_a_prefix_is_the_sum_over_orders_that_begin_with_it(
    kind: str, size: int
) -> None:
    exploration, base = made(kind), np.random.default_rng(size).permutation(size)
    orders = [np.array(order) for order in itertools.permutations(range(size))]
    cumulative = {
        tuple(order): exploration.cumulative(base, all_open(size), order) for order in orders
    }
    assert sum(values[-1] for values in cumulative.values()) == pytest.approx(1)
    for length in range(1, size + 1):
        for order, values in cumulative.items():
            whole = sum(v[-1] for o, v in cumulative.items() if o[:length] == order[:length])
            assert values[length - 1] == pytest.approx(whole)


@pytest.mark.parametrize("kind", KINDS)
def test_sampled_frequencies_agree_with_the_probabilities(kind: str) -> None:
    exploration, base, rng = made(kind), np.array([2, 0, 1]), np.random.default_rng(3)
    counts = dict.fromkeys(itertools.permutations(range(3)), 0)
    for _ in range(SAMPLES):
        counts[tuple(exploration.order(base, all_open(3), rng).tolist())] += 1
    statistic, possible = 0.0, 0
    for order, count in counts.items():
        probability = exploration.cumulative(base, all_open(3), np.array(order))[-1]
        if probability == 0:
            assert count == 0
            continue
        expected = SAMPLES * probability
        statistic += (count - expected) ** 2 / expected
        possible += 1
    assert chi2.sf(statistic, possible - 1) > 0.001


@pytest.mark.parametrize("kind", KINDS)
def test_conditional_probabilities_multiply_to_that_of_the_order(kind: str) -> None:
    exploration, base, rng = made(kind), np.arange(6), np.random.default_rng(4)
    for _ in range(20):
        order = exploration.order(base, all_open(6), rng)
        cumulative = exploration.cumulative(base, all_open(6), order)
        assert conditional_of(cumulative).prod() == pytest.approx(cumulative[-1])
        assert cumulative[-1] > 0


def test_conditional_below_what_is_impossible_is_zero() -> None:
    assert conditional_of(np.array([0.5, 0.0, 0.0])).tolist() == [0.5, 0.0, 0.0]


@pytest.mark.parametrize("temperature", [0.05, 0.3, 5.0])
def test_boltzmann_is_the_plackett_luce_model(temperature: float) -> None:
    rng = np.random.default_rng(5)
    base, order = rng.permutation(5), rng.permutation(5)
    index = {int(candidate): at for at, candidate in enumerate(base)}
    left, product, wanted = [int(candidate) for candidate in order], 1.0, []
    while left:
        weights = [math.exp(-index[candidate] / temperature) for candidate in left]
        product *= weights[0] / sum(weights)
        wanted.append(product)
        left.pop(0)
    exploration = EXPLORATIONS.make("boltzmann", {"temperature": temperature})
    np.testing.assert_allclose(exploration.cumulative(base, all_open(5), order), wanted, rtol=1e-9)


def test_pair_swap_makes_only_open_swaps() -> None:
    base, opened = np.array([3, 1, 0, 2]), np.array([True, False, True, False])
    exploration, rng = made("pair_swap"), np.random.default_rng(6)
    shown = {tuple(exploration.order(base, opened, rng).tolist()) for _ in range(200)}
    assert shown == {(3, 1, 0, 2), (3, 0, 1, 2)}
    assert exploration.cumulative(base, opened, base)[-1] == pytest.approx(0.4)
    swapped = np.array([3, 0, 1, 2])
    np.testing.assert_allclose(exploration.cumulative(base, opened, swapped), [1, 0.6, 0.6, 0.6])
    closed = np.array([1, 3, 0, 2])
    assert exploration.cumulative(base, opened, closed).tolist() == [0, 0, 0, 0]


def test_pair_swap_without_an_open_swap_shows_the_base_order() -> None:
    base, opened = np.array([1, 0, 2]), np.array([True, False, False])
    exploration = made("pair_swap")
    assert exploration.order(base, opened, np.random.default_rng(7)).tolist() == [1, 0, 2]
    assert exploration.cumulative(base, opened, base).tolist() == [1, 1, 1]


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"pair_swap"}))
def test_closed_moves_are_refused_by_what_does_not_respect_them(kind: str) -> None:
    exploration, opened = made(kind), np.array([True, False, True])
    assert not exploration.respects_guards
    with pytest.raises(ValueError, match="closed"):
        exploration.order(np.arange(3), opened, np.random.default_rng(8))
    with pytest.raises(ValueError, match="closed"):
        exploration.cumulative(np.arange(3), opened, np.arange(3))


@pytest.mark.parametrize("kind", KINDS)
def test_the_base_order_stays_as_it_is(kind: str) -> None:
    base, rng = np.arange(5), np.random.default_rng(9)
    for _ in range(20):
        made(kind).order(base, all_open(5), rng)[:] = 0
    assert base.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_reproduces_the_order(kind: str) -> None:
    first, second = (
        [made(kind).order(np.arange(6), all_open(6), rng).tolist() for _ in range(10)]
        for rng in (np.random.default_rng(10), np.random.default_rng(10))
    )
    assert first == second


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("pair_swap", {"epsilon": 0}),
        ("epsilon", {"epsilon": 1.1}),
        ("boltzmann", {"temperature": 0}),
        ("boltzmann", {"epsilon": 0.1}),
        ("pair_swaps", {}),
    ],
)
def test_wrong_options(kind: str, options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=kind):
        EXPLORATIONS.make(kind, options)
