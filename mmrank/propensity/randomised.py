"""Propensities from pages in random order: the click rate of each position."""

from __future__ import annotations

import numpy as np

from mmrank.data.tables import DataError
from mmrank.propensity.log import ClickLog, Estimator


class Randomised(Estimator):
    """The click rate at each position over that at position 1, on pages in random order.

    Where the order is random, every position shows items of the same relevance on average, and
    click rates differ by examination alone. If lists have different lengths, this also requires
    that the relevance of their items does not depend on the length. Rows that are not marked as
    random are ignored, so the random order may cover only the top of a page.

    Source: Joachims et al., "Unbiased learning-to-rank with biased feedback" (WSDM 2017),
      section 5.1; Wang et al. 2018 (WSDM), section 3.1.

    Example:
      Two pages in random order, of two positions each. Position 1 has two clicks, position 2 one:

      >>> import numpy as np
      >>> from mmrank.propensity import ClickLog
      >>> log = ClickLog(
      ...     lists=np.array([0, 0, 1, 1]),
      ...     pairs=np.array([0, 1, 1, 0]),
      ...     positions=np.array([1, 2, 1, 2]),
      ...     clicks=np.array([1.0, 1.0, 1.0, 0.0]),
      ...     features=np.zeros([4, 0]),
      ...     categorical=np.zeros(0, bool),
      ...     randomised=np.ones(4, bool),
      ... )
      >>> Randomised(log)(np.ones(4)).tolist()
      [1.0, 0.5]
    """

    def __init__(self, log: ClickLog):
        if log.randomised is None:
            raise DataError(
                "method random: no column says which pages were in random order; name it with "
                "--randomised, or use --method harvest"
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
