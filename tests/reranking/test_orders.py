"""Orders without learning, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.reranking import ORDERS, USERS, Page, Rewards, draw_page
from mmrank.reranking.page import all_orders

PAGES = [draw_page(6, np.random.default_rng(seed)) for seed in range(5)]


def ordered(name: str, page: Page, **options: float) -> np.ndarray:
    user = USERS.make("saturation")
    return ORDERS.make(name, options)(page, user, Rewards(), np.random.default_rng(0))


@pytest.mark.parametrize("name", sorted(ORDERS))
@pytest.mark.parametrize("page", PAGES[:2])
def test_every_candidate_has_one_position(name: str, page: Page) -> None:
    assert sorted(ordered(name, page).tolist()) == list(range(page.size))


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_mmr(page: Page, weight: float) -> None:
    low, high = page.score.min(), page.score.max()
    chosen: list[int] = []
    while len(chosen) < page.size:
        best, best_value = -1, -np.inf
        for i in range(page.size):
            if i in chosen:
                continue
            likeness = max((float(page.vector[i] @ page.vector[j]) for j in chosen), default=0.0)
            value = weight * (page.score[i] - low) / (high - low) - (1 - weight) * likeness
            if value > best_value:
                best, best_value = i, value
        chosen.append(best)
    assert ordered("mmr", page, relevance=weight).tolist() == chosen


@pytest.mark.parametrize("page", PAGES)
def test_relevance_alone_is_the_rankers_order(page: Page) -> None:
    assert ordered("mmr", page, relevance=1.0).tolist() == ordered("ranker", page).tolist()


@pytest.mark.parametrize("page", PAGES)
def test_no_order_is_better_than_the_exhaustive_one(page: Page) -> None:
    user = USERS.make("saturation")
    best = float(user.expected(page.take(ordered("exhaustive", page)), Rewards()))
    every = [float(user.expected(page.take(order), Rewards())) for order in all_orders(page.size)]
    assert best == pytest.approx(max(every), rel=1e-12)
    assert best >= float(user.expected(page.take(ordered("mmr", page)), Rewards()))


def test_equal_scores_and_one_candidate() -> None:
    page = PAGES[0].take(np.array([2]))
    for name in ORDERS:
        assert ordered(name, page).tolist() == [0]
