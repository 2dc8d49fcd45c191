"""Users who judge a price by the prices above it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from mmrank.ranges import Range
from mmrank.reranking.page import Page
from mmrank.reranking.users.position_based import PositionBased, PositionBasedOptions

__all__ = ["Anchoring", "AnchoringOptions"]


@dataclasses.dataclass(frozen=True)
class AnchoringOptions(PositionBasedOptions):
    """Options of `Anchoring`.

    Attributes:
      eta: See `PositionBasedOptions`.
      strength: By how much the odds of a purchase rise with the reference price over the price:
        by its power of `strength`.
    """

    strength: Annotated[float, Range(0)] = 1.5


class Anchoring(PositionBased):
    """The odds of a purchase are multiplied by (reference price / price)^strength.

    The reference price is the geometric mean of the prices above; the first candidate is its own
    reference. Users look at positions as in `PositionBased`.

    Source: Winer, "A reference price model of brand choice for frequently purchased products"
      (Journal of Consumer Research 13, 1986), for a logistic purchase probability that reads the
      gap between reference and price; Helson, "Adaptation-level theory" (1964), for the mean of
      the logarithms of what was seen as the level that others are judged by.

    Args:
      eta, strength: See `AnchoringOptions`.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import Page
      >>> half = np.array([0.5, 0.5])
      >>> page = Page(half, half, half, half, half, np.array([30.0, 10.0]), np.eye(2))
      >>> Anchoring(strength=1.0).purchase(page).round(2).tolist()  # odds 1, then 3
      [0.5, 0.75]
    """

    def __init__(
        self, eta: float = AnchoringOptions.eta, strength: float = AnchoringOptions.strength
    ):
        super().__init__(eta)
        self.strength = strength

    def purchase(self, page: Page) -> np.ndarray:
        level = np.log(page.price)
        seen = np.cumsum(level, -1)[..., :-1] / np.arange(1, page.size)
        reference = np.concatenate([level[..., :1], seen], -1)
        # p · r / (p · r + 1 − p) has the odds of p times r, for p = 1 too.
        raised = page.purchase * np.exp(self.strength * (reference - level))
        return np.asarray(raised / (raised + 1 - page.purchase))
