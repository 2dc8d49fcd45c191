"""Many pages at once, each in an order of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mmrank.reranking.page import Page

__all__ = ["rearranged", "rows_of"]


def rearranged(pages: Page, orders: np.ndarray) -> Page:
    """Returns each of several pages in its own order; `Page.take` is for orders of one page.

    Args:
      pages: Pages [n, k].
      orders: Which candidate of its page comes at each position, [n, k] int.

    Example:
      >>> import numpy as np
      >>> half = np.full([2, 2], 0.5)
      >>> price = np.array([[1.0, 2.0], [3.0, 4.0]])
      >>> pages = Page(half, half, half, half, half, price, np.ones([2, 2, 1]))
      >>> rearranged(pages, np.array([[0, 1], [1, 0]])).price.tolist()
      [[1.0, 2.0], [4.0, 3.0]]
    """
    row = np.arange(len(orders))[:, np.newaxis]
    return _each(pages, lambda values: values[row, orders])


def rows_of(pages: Page, rows: np.ndarray | slice) -> Page:
    """Returns some of several pages.

    Args:
      pages: Pages [n, k].
      rows: Which pages, [m] int, or a slice.

    Example:
      >>> import numpy as np
      >>> half = np.full([3, 2], 0.5)
      >>> pages = Page(half, half, half, half, half, half, np.ones([3, 2, 1]))
      >>> rows_of(pages, slice(2)).score.shape
      (2, 2)
    """
    return _each(pages, lambda values: values[rows])


def _each(pages: Page, change: Callable[[np.ndarray], np.ndarray]) -> Page:
    values: dict[str, Any] = {name: change(value) for name, value in pages.arrays().items()}
    if pages.truth is not None:
        values["truth"] = _each(pages.truth, change)
    return Page(**values)
