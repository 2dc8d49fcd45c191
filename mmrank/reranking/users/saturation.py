"""Users who tire of similar products."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from mmrank.ranges import Range
from mmrank.reranking.page import Page
from mmrank.reranking.users.position_based import PositionBased, PositionBasedOptions

__all__ = ["Saturation", "SaturationOptions"]


@dataclasses.dataclass(frozen=True)
class SaturationOptions(PositionBasedOptions):
    """Options of `Saturation`.

    Attributes:
      eta: See `PositionBasedOptions`.
      alpha: Share of its attraction that a candidate loses for each equal one above it.
    """

    alpha: Annotated[float, Range(0, 1)] = 0.6


class Saturation(PositionBased):
    """A candidate attracts by (1 − alpha)^n of its own merit, below n candidates like it.

    n is the sum of its cosines with those above it, as far as they are positive, so that it counts
    equal candidates once each. Users look at positions as in `PositionBased`.

    Source: Clarke et al., "Novelty and diversity in information retrieval evaluation"
      (SIGIR 2008), the gain of alpha-NDCG, with cosines instead of shared topics.

    Args:
      eta, alpha: See `SaturationOptions`.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import Page
      >>> half, equal = np.array([0.5, 0.5]), np.ones([2, 1])
      >>> page = Page(half, half, half, half, half, np.ones(2), equal)
      >>> Saturation(alpha=0.5).attraction(page).tolist()
      [0.5, 0.25]
    """

    def __init__(self, eta: float = SaturationOptions.eta, alpha: float = SaturationOptions.alpha):
        super().__init__(eta)
        self.alpha = alpha

    def attraction(self, page: Page) -> np.ndarray:
        return np.asarray(page.attraction * (1 - self.alpha) ** page.above())
