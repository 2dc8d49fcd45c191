"""Q-learning reaches what dynamic programming finds, and that is the best page."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from mmrank.reranking import USERS, Rewards, draw_page, learn_table, solve_table
from mmrank.reranking.moves import moved
from mmrank.reranking.page import all_orders

REWARDS = Rewards()


@pytest.mark.parametrize("name", sorted(USERS))
@pytest.mark.parametrize("size", [2, 3, 4])
def test_with_moves_enough_the_solution_is_the_best_page(name: str, size: int) -> None:
    """Any order is size · (size − 1) / 2 swaps of neighbours away."""
    page, user = draw_page(size, np.random.default_rng(size)), USERS.make(name)
    solved = solve_table(page, user, REWARDS, size * (size - 1) // 2)
    best = user.expected(page.take(all_orders(size)), REWARDS).max()
    reached = float(user.expected(page.take(solved.order()), REWARDS))
    assert reached == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("name", ["saturation", "anchoring"])
def test_with_few_moves_the_solution_is_the_best_of_all_plays(name: str) -> None:
    page, user, most = draw_page(4, np.random.default_rng(7)), USERS.make(name), 2
    reached = []
    for play in itertools.product(range(4), repeat=most):
        order = np.arange(4)
        for action in play:
            if action == 0:
                break
            order = moved(order, action)
        reached.append(float(user.expected(page.take(order), REWARDS)))
    solved = solve_table(page, user, REWARDS, most)
    start = solved.values[most, (0, 1, 2, 3)]
    assert start.max() == pytest.approx(max(reached), rel=1e-12)
    assert float(user.expected(page.take(solved.order()), REWARDS)) == pytest.approx(max(reached))


@pytest.mark.parametrize("name", sorted(USERS))
def test_learning_reaches_the_optimum(name: str) -> None:
    page, user, most = draw_page(3, np.random.default_rng(2)), USERS.make(name), 4
    solved = solve_table(page, user, REWARDS, most)
    learned = learn_table(page, user, REWARDS, most, episodes=6000, seed=1)
    start = (most, (0, 1, 2))
    np.testing.assert_allclose(learned.values[start], solved.values[start], rtol=2e-3)
    best = float(user.expected(page.take(solved.order()), REWARDS))
    assert float(user.expected(page.take(learned.order()), REWARDS)) == pytest.approx(best)


def test_learning_from_sessions_finds_the_better_of_two_orders() -> None:
    user = USERS.make("cascade", {"gamma": 0.3})
    page = draw_page(2, np.random.default_rng(3))
    best = solve_table(page, user, REWARDS, 1).order()
    page = page.take(best[::-1])  # the worse order is shown first
    solved = solve_table(page, user, REWARDS, 1)
    how = {"episodes": 10_000, "seed": 1, "sampled": True, "epsilon": 0.5}
    learned = learn_table(page, user, REWARDS, 1, **how)
    start = (1, (0, 1))
    np.testing.assert_allclose(learned.values[start], solved.values[start], atol=0.15)
    assert learned.order().tolist() == [1, 0]


def test_a_seed_repeats_the_values() -> None:
    page, user = draw_page(3, np.random.default_rng(2)), USERS.make("saturation")
    one, two = (learn_table(page, user, REWARDS, 3, episodes=50, seed=4) for _ in range(2))
    assert all((one.values[state] == two.values[state]).all() for state in one.values)
