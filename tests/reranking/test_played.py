"""Logs of simulated users: probabilities that are kept to, and rewards of the expected mean."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.reranking import USERS, Page, Rewards, draw_page
from mmrank.reranking.exploration import PairSwap
from mmrank.reranking.moves import moved
from mmrank.reranking.played import draw_pages, play, played_log
from mmrank.reranking.rearranged import rearranged


@pytest.fixture(scope="module")
def pages() -> Page:
    return draw_pages(lambda rng: draw_page(4, rng), 4000, seed=1)


def test_pages_are_those_of_the_draw(pages: Page) -> None:
    rng = np.random.default_rng(1)
    for row in range(3):
        page = draw_page(4, rng)
        for name in ("score", "attraction", "price", "vector"):
            np.testing.assert_array_equal(getattr(pages, name)[row], getattr(page, name))


@pytest.mark.parametrize("name", sorted(USERS))
def test_sessions_of_many_pages_have_the_expected_reward(name: str, pages: Page) -> None:
    user, rewards = USERS.make(name), Rewards(click=1.0, dwell=0.1, purchase=5.0)
    orders = np.random.default_rng(2).permuted(np.tile(np.arange(4), (4000, 1)), axis=1)
    clicks, dwell, purchases = play(pages, orders, user, np.random.default_rng(3))
    got = (clicks + 0.1 * dwell + 5.0 * purchases).sum(-1)
    expected = user.expected(rearranged(pages, orders), rewards)
    error = got - expected
    assert abs(error.mean()) < 4 * error.std() / np.sqrt(len(error))
    assert (purchases <= clicks).all()
    assert ((dwell > 0) == clicks).all()


def test_the_log_keeps_to_its_probabilities(pages: Page) -> None:
    log = played_log(pages, PairSwap(epsilon=0.3), USERS.make("cascade"), seed=4)
    np.testing.assert_allclose(log.conditional.prod(-1), log.probability)
    assert (log.base == np.arange(4)).all()
    for action, probability in enumerate([0.7, 0.1, 0.1, 0.1]):
        shown = (log.order == moved(np.arange(4), action)).all(-1)
        np.testing.assert_allclose(log.probability[shown], probability)
        assert abs(shown.mean() - probability) < 4 * np.sqrt(probability / len(shown))


def test_users_read_the_true_page(pages: Page) -> None:
    """Where a page has a truth, users see that and not what the ranker predicts."""
    nothing = np.zeros_like(pages.attraction)
    believed = Page(
        pages.score, nothing, pages.satisfaction, pages.purchase, pages.dwell, pages.price,
        pages.vector, truth=pages,
    )  # fmt: skip
    shown = np.tile(np.arange(4), (4000, 1))
    clicks, _, _ = play(believed, shown, USERS.make("cascade"), np.random.default_rng(1))
    assert clicks.any()
    assert rearranged(believed, shown[:, ::-1]).real.price[0, 0] == pages.price[0, -1]
