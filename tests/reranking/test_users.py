"""What users do on a page: probabilities by plain loops, and sessions that follow them."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.config import ConfigError
from mmrank.reranking import USERS, Page, Rewards, UserModel, draw_page
from mmrank.reranking.page import all_orders

NAMES = sorted(USERS)
REWARDS = Rewards(click=1.0, dwell=0.1, purchase=5.0)


@pytest.fixture
def page() -> Page:
    return draw_page(5, np.random.default_rng(3))


def expected(user: UserModel, page: Page) -> float:
    """The expected reward by the formulas of each model, position by position."""
    name = type(user).__name__
    examined, total, seen = 1.0, 0.0, []
    for k in range(page.size):
        a, b = page.attraction[k], page.purchase[k]
        if name == "Saturation":
            cosines = [max(float(page.vector[k] @ page.vector[j]), 0.0) for j in range(k)]
            a *= (1 - user.alpha) ** sum(cosines)
        if name == "Anchoring" and seen:
            reference = np.exp(np.mean(np.log(seen)))
            odds = b / (1 - b) * (reference / page.price[k]) ** user.strength
            b = odds / (1 + odds)
        seen.append(page.price[k])
        total += examined * a * (1.0 + 0.1 * page.dwell[k] + 5.0 * b)
        if name == "Cascade":
            examined *= user.gamma * (a * (1 - page.satisfaction[k]) + (1 - a))
        elif name == "EarlyLeave":
            examined *= a + (1 - a) * (1 - user.leave * (1 - page.attraction[k]))
        else:
            examined = (k + 2.0) ** -user.eta
    return total


@pytest.mark.parametrize("name", NAMES)
def test_the_expected_reward_is_that_of_the_formulas(name: str, page: Page) -> None:
    user = USERS.make(name)
    assert user.expected(page, REWARDS) == pytest.approx(expected(user, page), rel=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_many_orders_at_once_give_each_ones_reward(name: str, page: Page) -> None:
    user, orders = USERS.make(name), all_orders(page.size)[::11]
    together = user.expected(page.take(orders), REWARDS)
    alone = [expected(user, page.take(order)) for order in orders]
    np.testing.assert_allclose(together, alone, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_sessions_have_the_expected_reward(name: str, page: Page) -> None:
    user, rng = USERS.make(name), np.random.default_rng(4)
    drawn = [user.session(page, rng) for _ in range(8000)]
    rewards = np.array([REWARDS.of(session) for session in drawn])
    error = rewards.std() / np.sqrt(len(rewards))
    assert abs(rewards.mean() - user.expected(page, REWARDS)) < 4 * error
    looked = np.mean([session.examined for session in drawn], 0)
    np.testing.assert_allclose(looked, user.examination(page), atol=0.03)
    for session in drawn[:100]:
        assert (session.clicks <= session.examined).all()
        assert (session.purchases <= session.clicks).all()
        assert ((session.dwell > 0) == session.clicks).all()


@pytest.mark.parametrize("name", NAMES)
def test_probabilities_are_probabilities(name: str) -> None:
    rng = np.random.default_rng(5)
    user = USERS.make(name)
    for _ in range(50):
        page = draw_page(8, rng)
        for values in (user.attraction(page), user.purchase(page), user.examination(page)):
            assert (values >= 0).all()
            assert (values <= 1).all()
        assert (np.diff(user.examination(page)) <= 0).all()


def test_where_order_matters_sorting_is_not_the_best() -> None:
    """Only position-based users are best served by the order of each candidate's own worth."""
    rng = np.random.default_rng(6)
    rewards = Rewards()
    gains = dict.fromkeys(NAMES, 0.0)
    for _ in range(40):
        page = draw_page(5, rng)
        worth = page.attraction * (rewards.click + rewards.purchase * page.purchase)
        by_worth = np.argsort(-worth)
        for name in NAMES:
            user = USERS.make(name)
            best = user.expected(page.take(all_orders(5)), rewards).max()
            gains[name] += best / float(user.expected(page.take(by_worth), rewards)) - 1
    assert gains["position_based"] == pytest.approx(0, abs=1e-9)
    for name in ("saturation", "anchoring", "early_leave"):
        assert gains[name] / 40 > 0.002, gains


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match="unknown user model 'cascad'; did you mean 'cascade'"):
        USERS.make("cascad")
    with pytest.raises(ConfigError, match="gamma"):
        USERS.make("cascade", {"gamma": 1.5})
