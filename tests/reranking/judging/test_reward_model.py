"""Predictions of rewards: features, folds, and padding."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.reranking import USERS, Rewards, draw_page
from mmrank.reranking.exploration import EXPLORATIONS
from mmrank.reranking.judging import reward_model
from mmrank.reranking.judging.reward_model import FEATURES, cross_fitted, position_features
from mmrank.reranking.page import Page
from mmrank.reranking.played import draw_pages, played_log
from mmrank.reranking.rearranged import rearranged


def test_features() -> None:
    pages = draw_pages(lambda rng: draw_page(3, rng), 5, seed=1)
    orders = np.array([[2, 0, 1]] * 5)
    made = position_features(pages, orders, np.full(5, 3))
    assert made.shape == (5, 3, len(FEATURES))
    for row in range(5):
        level = np.log(pages.price[row])
        for position, candidate in enumerate([2, 0, 1]):
            above = [2, 0, 1][:position]
            cosine = pages.vector[row] @ pages.vector[row, candidate]
            wanted = {
                "position": position,
                "length": 3,
                "score": pages.score[row, candidate] - pages.score[row].mean(),
                "attraction": pages.attraction[row, candidate],
                "purchase": pages.purchase[row, candidate],
                "log_price": level[candidate] - level.mean(),
                "dwell": pages.dwell[row, candidate],
                "alike": np.maximum(cosine, 0)[above].sum(),
                "log_price_above": max(level[above] - level.mean()) if above else 0.0,
                "attraction_above": pages.attraction[row, above].sum(),
            }
            np.testing.assert_allclose(
                made[row, position], [wanted[n] for n in FEATURES], atol=1e-6
            )


def test_padding_changes_nothing() -> None:
    pages = draw_pages(lambda rng: draw_page(3, rng), 60, seed=1)
    padding = {"price": 1.0, "vector": 0.0}
    wide = Page(
        **{
            name: np.concatenate([values, np.full_like(values[:, :2], padding.get(name, 9.0))], 1)
            for name, values in pages.arrays().items()
        }
    )
    rng, length = np.random.default_rng(0), np.full(60, 3)
    order, rewards = np.tile(np.arange(5), (60, 1)), rng.random((60, 5))
    narrow = cross_fitted(pages, length, order[:, :3], rewards[:, :3], order[:, :3])
    padded = cross_fitted(wide, length, order, rewards, order)
    np.testing.assert_allclose(padded[:, :3], narrow)
    assert not padded[:, 3:].any()


def test_no_page_is_predicted_by_a_model_that_saw_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learner that remembers the pages by their score; in the others it finds none of them."""

    class Remembers:
        def __init__(self, **options: object):
            pass

        def fit(self, x: np.ndarray, y: np.ndarray) -> Remembers:
            self.seen = {tuple(row) for row in x}
            return self

        def predict(self, x: np.ndarray) -> np.ndarray:
            return np.array([tuple(row) in self.seen for row in x], float)

    monkeypatch.setattr(reward_model, "HistGradientBoostingRegressor", Remembers)
    pages = draw_pages(lambda rng: draw_page(3, rng), 31, seed=1)
    order = np.tile(np.arange(3), (31, 1))
    found = cross_fitted(pages, np.full(31, 3), order, np.ones((31, 3)), order)
    assert not found.any()


def test_predictions_know_the_order() -> None:
    """Of orders that were not shown, what is expected is distinguished from the logged order."""
    pages = draw_pages(lambda rng: draw_page(4, rng), 3000, seed=1)
    user = USERS.make("position_based")
    log = played_log(pages, EXPLORATIONS.make("epsilon", {"epsilon": 1.0}), user, seed=1)
    judged = np.tile([3, 2, 1, 0], (3000, 1))
    rewards = log.rewards(Rewards(purchase=0.0))
    found = cross_fitted(pages, log.length, log.order, rewards, judged).sum(-1)
    truth = user.expected(rearranged(pages, judged), Rewards(purchase=0.0))
    assert np.corrcoef(found, truth)[0, 1] > 0.8
    assert found.mean() == pytest.approx(truth.mean(), rel=0.1)
