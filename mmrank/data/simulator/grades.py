"""The true grade: how well an item serves a query of a user."""

from __future__ import annotations

import numpy as np

MAX_GRADE = 3


def held_share(wanted: np.ndarray, attributes: np.ndarray) -> np.ndarray:
    """The share of the named attributes that each item has; 1 if the query names no attribute.

    Args:
      wanted: The value that the query asks for per attribute, −1 if not named, [attributes] int.
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
    """The grades 0 to 3 of items for one query of one user.

    An item of another type has grade 0. Otherwise its use is u = w h + (1 − w) a. Here h is the
    share of the named attributes that the item has, a is its appeal to this user, and
    w = n / (n + 1) for n named attributes: taste counts more if the query names fewer attributes.
    The grade is min(3, ⌊4u⌋).

    Args:
      same_type: Whether the item is of the type that the query asks for, [items] bool.
      held: Share of the named attributes that the item has, [items] float.
      named: Number of attributes that the query names.
      appeal: Appeal of the item to the user, 0 to 1, [items] float.

    Returns:
      Grades, [items] int.
    """
    weight = named / (named + 1)
    use = weight * held + (1 - weight) * appeal
    return np.where(same_type, np.minimum(np.floor(4 * use), MAX_GRADE), 0).astype(np.int64)
