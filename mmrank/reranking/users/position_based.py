"""Users who look at a position with a probability that depends on the position alone."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from mmrank.ranges import Range
from mmrank.reranking.page import Page
from mmrank.reranking.users.base import UserModel

__all__ = ["PositionBased", "PositionBasedOptions"]


@dataclasses.dataclass(frozen=True)
class PositionBasedOptions:
    """Options of `PositionBased`.

    Attributes:
      eta: Severity of the position bias; 0 means that every position is examined.
    """

    eta: Annotated[float, Range(0)] = 0.8


class PositionBased(UserModel):
    """Position k is examined with probability k^−eta: sorting by worth is the best order.

    Users read from the top here, so that who looks at a position has looked at all above; the
    model of the source has the same probabilities, independently of each other.

    Source: Joachims et al., "Unbiased learning-to-rank with biased feedback" (WSDM 2017), for
      k^−eta; Craswell et al., "An experimental comparison of click position-bias models"
      (WSDM 2008).

    Args:
      eta: See `PositionBasedOptions`.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import Page
      >>> half = np.array([0.5, 0.5])
      >>> page = Page(half, half, half, half, half, np.ones(2), np.eye(2))
      >>> PositionBased(eta=1.0).examination(page).tolist()
      [1.0, 0.5]
    """

    def __init__(self, eta: float = PositionBasedOptions.eta):
        self.eta = eta

    def continuing(self, page: Page) -> tuple[np.ndarray, np.ndarray]:
        position = np.arange(1, page.size + 1, dtype=float)
        goes_on = np.broadcast_to((position / (position + 1)) ** self.eta, page.score.shape)
        return goes_on, goes_on
