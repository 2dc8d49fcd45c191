"""What a policy would gain, by the part of a log that it did not learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmrank.reranking.judging import Overlap, Verdict, overlap_of, verdicts
from mmrank.reranking.judging.judged import judged_pages
from mmrank.reranking.judging.support import Record
from mmrank.reranking.sessions import Sessions
from mmrank.reranking.users import Rewards

__all__ = ["predicted_gain"]

ESTIMATORS = ("cascade_doubly_robust", "doubly_robust")


def predicted_gain(
    sessions: Sessions,
    explorations: Sequence[Record | None],
    orders: np.ndarray,
    rewards: Rewards,
    *,
    seed: int = 0,
) -> tuple[list[Verdict], Overlap]:
    """Returns what pages in other orders would gain over those shown without exploration.

    The first verdict is that of users who read from the top, the second makes no assumption.

    Args:
      sessions: A log that the policy did not learn from.
      explorations: As for `judged_pages`.
      orders: The policy's orders of its pages, [n, k] int.
      rewards: What clicks, seconds and purchases are worth.
      seed: Seed of the resamples and of the model's folds.

    Raises:
      ConfigError, DataError: As for `judged_pages`.

    Example:
      >>> from mmrank.reranking import USERS, Rewards, draw_page
      >>> from mmrank.reranking.exploration import PairSwap
      >>> from mmrank.reranking.played import draw_pages, played_log
      >>> pages = draw_pages(lambda rng: draw_page(3, rng), 100, seed=1)
      >>> log = played_log(pages, PairSwap(epsilon=0.5), USERS.make("cascade"), seed=1)
      >>> swap = {"kind": "pair_swap", "epsilon": 0.5, "open": [True] * 3}
      >>> said, _ = predicted_gain(log, [swap] * 100, log.base, Rewards())
      >>> said[0].difference.mean
      0.0
    """
    judged, base = (
        judged_pages(sessions, explorations, shown, rewards, ESTIMATORS, seed=seed)
        for shown in (orders, sessions.base)
    )
    return verdicts(judged, ESTIMATORS, base, seed=seed), overlap_of(judged)
