"""Users who leave when a page disappoints them."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import numpy as np

from mmrank.ranges import Range
from mmrank.reranking.page import Page
from mmrank.reranking.users.base import UserModel

__all__ = ["EarlyLeave", "EarlyLeaveOptions"]


@dataclasses.dataclass(frozen=True)
class EarlyLeaveOptions:
    """Options of `EarlyLeave`.

    Attributes:
      leave: Probability that a user leaves after a candidate with no attraction at all.
    """

    leave: Annotated[float, Range(0, 1)] = 0.5


class EarlyLeave(UserModel):
    """A user who passes a candidate leaves with probability leave · (1 − attraction).

    A user who clicks goes on. So a candidate that attracts, though it sells little, keeps users on
    the page for those below it.

    Source: Cao and Sun, "Dynamic learning of sequential choice bandit problem under marketing
      fatigue" (AAAI 2019): accept, skip and go on, or abandon.

    Args:
      leave: See `EarlyLeaveOptions`.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import Page
      >>> half = np.array([0.5, 0.5])
      >>> page = Page(half, half, half, half, half, np.ones(2), np.eye(2))
      >>> EarlyLeave(leave=1.0).examination(page).tolist()  # 0.5 + 0.5 · (1 − 0.5)
      [1.0, 0.75]
    """

    def __init__(self, leave: float = EarlyLeaveOptions.leave):
        self.leave = leave

    def continuing(self, page: Page) -> tuple[np.ndarray, np.ndarray]:
        passed = 1 - self.leave * (1 - page.attraction)
        return np.ones_like(passed), passed
