"""Reads vectors from the cells of a table: lists of numbers, or the same numbers as one text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mmrank.data.blank import BLANK

SEPARATOR = " "


def read_vector(value: Any) -> np.ndarray | None:
    """The numbers [D] float32 of a cell; None if it is empty or missing.

    Args:
      value: A sequence of numbers, a text of numbers separated by spaces, or a list in JSON.

    Raises:
      ValueError: `value` has another form, or a number is not finite.

    Example:
      >>> read_vector("[1, 2.5]").tolist(), read_vector("1 2.5").tolist()
      ([1.0, 2.5], [1.0, 2.5])
      >>> read_vector("") is None
      True
    """
    if isinstance(value, str):
        text = value.strip(BLANK)
        if not text:
            return None
        try:
            value = json.loads(text) if text.startswith("[") else text.split()
        except json.JSONDecodeError:
            raise ValueError("is not a JSON list") from None
    elif value is None or not isinstance(value, (list, tuple, np.ndarray)):
        if value is None or value != value:  # only NaN differs from itself
            return None
        raise ValueError(f"is not a list of numbers but {type(value).__name__}")
    try:
        numbers = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError("contains a value that is not a number") from None
    if numbers.ndim != 1:
        raise ValueError("is not a flat list of numbers")
    if not len(numbers):
        return None
    if not np.isfinite(numbers).all():
        raise ValueError("contains a number that is not finite")
    return numbers


def vector_text(numbers: np.ndarray) -> str:
    """The numbers as one text, from which `read_vector` reads the same float32 values.

    Example:
      >>> import numpy as np
      >>> vector_text(np.array([0.5, 1.0]))
      '0.5 1.0'
    """
    return SEPARATOR.join(str(np.float32(n)) for n in numbers)
