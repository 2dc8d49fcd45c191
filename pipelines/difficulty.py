"""How hard a set of lists is: NDCG of a random order and of a given score."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.metrics import ndcg_score


def random_ndcg(lists: pd.DataFrame, k: int = 10) -> float:
    """The exact expectation of NDCG@k under a random order, averaged over the lists.

    A candidate has each rank with equal probability, so a list's expected DCG@k is its mean
    gain times the sum of the discounts. The gain is 2^grade − 1. Lists without a relevant item are
    excluded; the result is NaN if no list remains.

    Args:
      lists: One row per candidate with the columns `list_id` and `grade`.
      k: Number of ranks that count.
    """
    values = []
    for gains in _gains(lists).values():
        discounts = 1.0 / np.log2(np.arange(min(k, len(gains))) + 2.0)
        ideal = np.sort(gains)[::-1][: len(discounts)] @ discounts
        values.append(gains.mean() * discounts.sum() / ideal)
    return float(np.mean(values)) if values else float("nan")


def scored_ndcg(lists: pd.DataFrame, scores: np.ndarray, k: int = 10) -> float:
    """NDCG@k of the order by descending score, averaged over the lists; ties share their gains.

    Same convention as `random_ndcg`.

    Args:
      lists: One row per candidate with the columns `list_id` and `grade`.
      scores: [rows] one score per row of `lists`.
      k: Number of ranks that count.
    """
    by_list = pd.Series(scores).groupby(lists["list_id"].to_numpy(dtype=object), sort=False)
    score_of = {str(name): group.to_numpy() for name, group in by_list}
    values = [
        ndcg_score(gains[None], score_of[name][None], k=k)
        for name, gains in _gains(lists).items()
        if len(gains) > 1
    ]
    return float(np.mean(values)) if values else float("nan")


def _gains(lists: pd.DataFrame) -> dict[str, np.ndarray]:
    """The gains of every list with a relevant item, by list id."""
    gains = np.exp2(lists["grade"].to_numpy(dtype=np.float64)) - 1.0
    groups = pd.Series(gains).groupby(lists["list_id"].to_numpy(dtype=object), sort=False)
    return {str(name): group.to_numpy() for name, group in groups if group.max() > 0}
