"""The true grade: how well an item serves a query of a shopper."""

from __future__ import annotations

import numpy as np

MAX_GRADE = 3


def held_share(wanted: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """The share of the named attributes that each item holds; 1 where the query names none.

    Args:
      wanted: The value asked for per attribute, −1 where none is named, [attributes] int.
      attributes: The items' values, [items, attributes] int.

    Returns:
      Shares, [items] float.
    """
    named = wanted >= 0
    if not named.any():
        return np.ones(len(attributes))
    return (attributes[:, named] == wanted[named]).mean(axis=1)


def true_grades(
    same_type: np.ndarray, held: np.ndarray, named: int, appeal: np.ndarray
) -> np.ndarray:
    """The grades 0 to 3 of items for one query of one shopper.

    An item of another type is graded 0. Otherwise its use is u = w h + (1 − w) a, where h is the
    share of the named attributes it holds, a its appeal to this shopper and w = n / (n + 1) for n
    named attributes: the less a query says, the more taste decides. The grade is min(3, ⌊4u⌋).

    Args:
      same_type: Whether the item is of the type asked for, [items] bool.
      held: Share of the named attributes that the item holds, [items] float.
      named: How many attributes the query names.
      appeal: Appeal of the item to the shopper, 0 to 1, [items] float.

    Returns:
      Grades, [items] int.
    """
    weight = named / (named + 1)
    use = weight * held + (1 - weight) * appeal
    return np.where(same_type, np.minimum(np.floor(4 * use), MAX_GRADE), 0).astype(np.int64)
