"""Vectors in the cells of a table: lists of numbers, or the same numbers as one text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from mmrank.data.blank import BLANK

SEPARATOR = " "


def read_vector(value: Any) -> np.ndarray | None:
    """The numbers [D] float32 of a cell; None if it is empty or missing.

    Args:
      value: A sequence of numbers; a text of numbers parted by spaces, or of a list in JSON.

    Raises:
      ValueError: It is none of these, or a number is not finite.
    """
    if isinstance(value, str):
        text = value.strip(BLANK)
        if not text:
            return None
        try:
            value = json.loads(text) if text.startswith("[") else text.split()
        except json.JSONDecodeError:
            raise ValueError("is no list in JSON") from None
    elif value is None or not isinstance(value, (list, tuple, np.ndarray)):
        if value is None or value != value:  # NaN, which alone differs from itself
            return None
        raise ValueError(f"is no list of numbers but {type(value).__name__}")
    try:
        numbers = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError):
        raise ValueError("holds something that is no number") from None
    if numbers.ndim != 1:
        raise ValueError("is not one list of numbers")
    if not len(numbers):
        return None
    if not np.isfinite(numbers).all():
        raise ValueError("holds a number that is not finite")
    return numbers


def vector_text(numbers: np.ndarray) -> str:
    """The numbers as one text from which `read_vector` reads the same float32 values."""
    return SEPARATOR.join(str(np.float32(n)) for n in numbers)
