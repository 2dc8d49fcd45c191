"""Moves on a page: what each action does, and which actions are open."""

from __future__ import annotations

import numpy as np

__all__ = ["FINISH", "moved", "open_actions"]

FINISH = 0


def moved(order: np.ndarray, action: int) -> np.ndarray:
    """Returns the order after an action, [k] int.

    Args:
      order: Which candidate is at each position, [k] int.
      action: `FINISH`, or i to swap the candidates at the 1-based positions i and i + 1: this moves
        one up and the other down.

    Example:
      >>> import numpy as np
      >>> moved(np.array([4, 5, 6]), 1).tolist()
      [5, 4, 6]
    """
    after = order.copy()
    if action != FINISH:
        after[[action - 1, action]] = after[[action, action - 1]]
    return after


def open_actions(length: int, size: int) -> np.ndarray:
    """Which actions are open on a page, [size] bool.

    Args:
      length: Number of candidates on the page.
      size: Number of positions with padding, which is that of actions too.

    Example:
      >>> open_actions(2, 4).tolist()
      [True, True, False, False]
    """
    return np.arange(size) < max(length, 1)
