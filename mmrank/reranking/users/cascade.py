"""Users who leave when a click satisfied them."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from mmrank.ranges import Range
from mmrank.reranking.page import Page
from mmrank.reranking.users.base import UserModel

__all__ = ["Cascade", "CascadeOptions"]


@dataclasses.dataclass(frozen=True)
class CascadeOptions:
    """Options of `Cascade`.

    Attributes:
      gamma: Probability that a user who is not satisfied looks at the next candidate.
    """

    gamma: Annotated[float, Range(0, 1)] = 0.9


class Cascade(UserModel):
    """The dynamic Bayesian network: a satisfied user leaves, another goes on with gamma.

    Source: Chapelle and Zhang, "A dynamic Bayesian network click model for web search ranking"
      (WWW 2009), section 3.

    Args:
      gamma: See `CascadeOptions`.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import Page
      >>> half = np.array([0.5, 0.5])
      >>> page = Page(half, half, half, half, half, np.ones(2), np.eye(2))
      >>> Cascade(gamma=1.0).examination(page).tolist()  # 1 − 0.5 · 0.5
      [1.0, 0.75]
    """

    def __init__(self, gamma: float = CascadeOptions.gamma):
        self.gamma = gamma

    def continuing(self, page: Page) -> tuple[np.ndarray, np.ndarray]:
        passed = np.full_like(page.attraction, self.gamma)
        return passed * (1 - page.satisfaction), passed
