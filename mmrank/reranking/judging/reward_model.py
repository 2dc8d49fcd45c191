"""A model of what each position earns, for estimators that need predictions."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from mmrank.reranking.page import Page
from mmrank.reranking.rearranged import rearranged

__all__ = ["FEATURES", "cross_fitted", "position_features"]

FEATURES = (
    "position", "length", "score", "attraction", "purchase", "log_price", "dwell", "alike",
    "log_price_above", "attraction_above",
)  # fmt: skip
TREES, LEAVES, BINS, LEARNING_RATE, LEAST_ROWS = 50, 8, 63, 0.1, 40


def position_features(pages: Page, orders: np.ndarray, length: np.ndarray) -> np.ndarray:
    """Returns what is known of each position of pages in some orders, [n, k, features].

    `score` and `log_price` are less their page's mean; `alike` is the likeness to what is above;
    the last two are the highest price and the sum of attraction above, 0 at the first position.

    Args:
      pages: The pages, [n, k].
      orders: Which candidate is at each position, [n, k] int.
      length: Number of candidates of each page, [n] int.

    Masking: candidates beyond `length` have no influence on those before.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking.page import Page
      >>> half = np.full([1, 2], 0.5)
      >>> page = Page(half, half, half, half, half, np.array([[1.0, 4.0]]), np.ones([1, 2, 1]))
      >>> made = position_features(page, np.array([[1, 0]]), np.array([2]))
      >>> made[0, :, FEATURES.index("attraction_above")].tolist()
      [0.0, 0.5]
    """
    shown = rearranged(pages, orders)
    position = np.arange(shown.size)
    there = position < length[:, np.newaxis]

    def centred(values: np.ndarray) -> np.ndarray:
        mean = (values * there).sum(-1, keepdims=True) / length[:, np.newaxis]
        return np.where(there, values - mean, 0.0)

    def above(values: np.ndarray) -> np.ndarray:
        return np.concatenate([np.zeros((len(values), 1)), values[:, :-1]], -1)

    price = centred(np.log(shown.price))
    columns = [
        np.broadcast_to(position, there.shape),
        np.broadcast_to(length[:, np.newaxis], there.shape),
        centred(shown.score),
        shown.attraction,
        shown.purchase,
        price,
        shown.dwell,
        shown.above(),
        above(np.maximum.accumulate(price, -1)),
        above(np.cumsum(shown.attraction, -1)),
    ]
    return np.stack([column.astype(np.float64) for column in columns], -1)


def cross_fitted(
    pages: Page,
    length: np.ndarray,
    shown: np.ndarray,
    rewards: np.ndarray,
    judged: np.ndarray,
    *,
    folds: int = 3,
    seed: int = 0,
) -> np.ndarray:
    """Returns the predicted reward of each position of the judged orders, 0 for padding, [n, k].

    Boosted trees learn what the positions of the shown orders earned. Pages are divided into folds
    at random, and a page is predicted by trees that were fitted to the other folds.

    Source: Chernozhukov et al., "Double/debiased machine learning for treatment and structural
      parameters" (The Econometrics Journal 21, 2018), for the cross-fitting.

    Args:
      pages: The pages, [n, k].
      length: Number of candidates of each page, [n] int.
      shown: The orders shown, [n, k] int.
      rewards: What each position earned, [n, k].
      judged: The orders to predict, [n, k] int.
      folds: Number of folds.
      seed: Seed of the folds.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking.page import Page
      >>> half, as_ranked = np.full([10, 2], 0.5), np.tile([0, 1], (10, 1))
      >>> pages = Page(half, half, half, half, half, half, np.ones([10, 2, 1]))
      >>> cross_fitted(pages, np.full(10, 2), as_ranked, half, as_ranked)[0].round(6).tolist()
      [0.5, 0.5]
    """
    there = np.arange(pages.size) < length[:, np.newaxis]
    known = position_features(pages, shown, length)
    asked = position_features(pages, judged, length)
    fold = np.random.default_rng(seed).permutation(len(length)) % folds
    predicted = np.zeros(there.shape)
    for number in np.unique(fold):
        rows = there & (fold == number)[:, np.newaxis]
        fitted = there & ~rows
        trees = HistGradientBoostingRegressor(
            max_iter=TREES,
            max_leaf_nodes=LEAVES,
            max_bins=BINS,
            learning_rate=LEARNING_RATE,
            min_samples_leaf=LEAST_ROWS,
            early_stopping=False,
            random_state=seed,
        )
        # With several threads, trees as small as these take longer.
        with threadpool_limits(1, user_api="openmp"):
            predicted[rows] = trees.fit(known[fitted], rewards[fitted]).predict(asked[rows])
    return predicted
