"""A log of shown pages with the probabilities that another policy gives to them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from mmrank.data.tables import DataError
from mmrank.reranking.judging.estimators import ESTIMATORS
from mmrank.reranking.judging.pages import LoggedPages
from mmrank.reranking.judging.reward_model import cross_fitted
from mmrank.reranking.judging.slates import slate_weights
from mmrank.reranking.judging.support import Record, probabilities
from mmrank.reranking.sessions import Sessions
from mmrank.reranking.users import Rewards

__all__ = ["judged_pages", "padded_orders"]

_WITHOUT_MODEL = {"inverse_propensity", "self_normalised", "pseudo_inverse"}


def padded_orders(orders: Sequence[np.ndarray], size: int) -> np.ndarray:
    """Returns the orders of pages of different lengths; padding keeps its place, [n, size] int.

    Example:
      >>> import numpy as np
      >>> padded_orders([np.array([1, 0]), np.array([2, 0, 1])], 3).tolist()
      [[1, 0, 2], [2, 0, 1]]
    """
    full = np.tile(np.arange(size), (len(orders), 1))
    for row, order in zip(full, orders, strict=True):
        row[: len(order)] = order
    return full


def judged_pages(
    sessions: Sessions,
    explorations: Sequence[Record | None],
    orders: np.ndarray,
    rewards: Rewards,
    estimators: Collection[str] = tuple(ESTIMATORS),
    *,
    folds: int = 3,
    seed: int = 0,
) -> LoggedPages:
    """Returns the log for the estimators of what a policy that shows these orders would earn.

    The policy makes the candidate at each position of its order certain. So the predictions for
    what was shown matter only where that is what the policy shows, and are the same as for its own
    order: what `cross_fitted` predicts from the position on.

    Args:
      sessions: The sessions.
      explorations: Kind, options and open moves of each page's exploration; None without.
      orders: The orders that the policy shows, [n, k] int; padding keeps its place.
      rewards: What clicks, seconds and purchases are worth.
      estimators: Names of the estimators that it is for, which may do without a model, or without
        the weights of the pseudo-inverse.
      folds, seed: As for `cross_fitted`.

    Raises:
      ConfigError: The exploration of a page is unknown.
      DataError: The probability of a page is not that of its exploration, or pages are too long.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import USERS, draw_page
      >>> from mmrank.reranking.exploration import PairSwap
      >>> from mmrank.reranking.played import draw_pages, played_log
      >>> pages = draw_pages(lambda rng: draw_page(3, rng), 60, seed=1)
      >>> sessions = played_log(pages, PairSwap(epsilon=0.5), USERS.make("cascade"), seed=1)
      >>> swap = {"kind": "pair_swap", "epsilon": 0.5, "open": [True] * 3}
      >>> made = judged_pages(sessions, [swap] * 60, sessions.base, Rewards())
      >>> sorted(set(made.weights().tolist()))
      [0.0, 2.0]
    """
    given = explorations, sessions.base
    logged = probabilities(*given, sessions.order, sessions.length)
    wrong = np.flatnonzero(~np.isclose(logged, sessions.probability, rtol=1e-4))
    if len(wrong):
        row = int(wrong[0])
        raise DataError(
            f"{len(wrong):,} pages have another probability than their exploration gives to the "
            f"order shown; the first is page {row + 1}, with {sessions.probability[row]:g} instead "
            f"of {logged[row]:g}; leave such pages out of the log"
        )
    there = np.arange(sessions.order.shape[1]) < sessions.length[:, np.newaxis]
    earned = sessions.rewards(rewards) * there
    made: dict[str, np.ndarray] = {}
    if not _WITHOUT_MODEL.issuperset(estimators):
        predicted = cross_fitted(
            sessions.pages, sessions.length, sessions.order, earned, orders, folds=folds, seed=seed
        )
        made["predicted"] = made["expected"] = np.cumsum(predicted[:, ::-1], -1)[:, ::-1]
    if "pseudo_inverse" in estimators:
        made["slate"] = slate_weights(*given, sessions.order, orders, sessions.length)
    return LoggedPages(
        rewards=earned,
        logged=sessions.conditional,
        judged=(orders == sessions.order).astype(np.float64),
        covered=probabilities(*given, orders, sessions.length) > 0,
        **made,
    )
