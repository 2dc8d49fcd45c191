"""Propensities from pages in random order: the click rate of each position."""

from __future__ import annotations

import numpy as np

from mmrank.data.tables import DataError
from mmrank.propensity.log import ClickLog, Estimator


class Randomised(Estimator):
    """The click rate at each position over that at position 1, on pages in random order.

    Where chance alone decides the order, every position shows items of the same relevance on
    average, and click rates differ by examination alone. Lists of many lengths do no harm if the
    whole list was shuffled; a shuffled top of a page may end before the list does.

    Source: Joachims et al., "Unbiased learning-to-rank with biased feedback" (WSDM 2017),
      section 5.1; Wang et al. 2018 (WSDM), section 3.1.
    """

    def __init__(self, log: ClickLog):
        if log.randomised is None:
            raise DataError(
                "method random: nothing says which pages were in random order; name the column of "
                "the lists that does with --randomised, or use --method harvest"
            )
        if not log.randomised.any():
            raise DataError(
                "method random: no row is in random order; use another --split, or --method harvest"
            )
        self._log, self._chosen = log, log.randomised.astype(np.float64)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        views = self._log.by_position(weights * self._chosen)
        clicks = self._log.by_position(weights * self._chosen * self._log.clicks)
        rate = np.divide(clicks, views, out=np.full(len(views), np.nan), where=clicks > 0)
        return rate / rate[0]
