"""Single values of requests and of cells: what they are, and as texts and numbers."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.conversion import text_of, well_formed
from mmrank.outputs import shown


def text_of_cell(value: Any) -> str:
    """A cell as one text: the values of a list with spaces between them, "" if it is missing."""
    if isinstance(value, str):
        return value
    if isinstance(value, (list, tuple, np.ndarray)):
        return " ".join(text_of_cell(v) for v in value)
    return "" if pd.isna(value) else str(value)


def is_missing(value: Any) -> bool:
    """Whether a value of a request is None, NaN or pandas' mark of a missing value."""
    if value is None or value is pd.NA or value is pd.NaT:
        return True
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def is_number(value: Any) -> bool:
    """Whether a value is a real number; a truth value is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_whole(value: Any) -> bool:
    """Whether a value is a number without a fraction."""
    return is_number(value) and (isinstance(value, numbers.Integral) or float(value).is_integer())


def as_float(value: Any) -> float:
    """A number as float; infinite if it is too large."""
    try:
        return float(value)
    except OverflowError:  # a text of so many digits is read as infinite, too
        return math.inf if value > 0 else -math.inf


def id_text(value: Any) -> str:
    """A text, or a whole number as text: ids are texts, but callers often give them as numbers."""
    return well_formed(value) if isinstance(value, str) else str(int(value))


def joined(values: Iterable[Any], separator: str) -> str:
    """A list of words as one text, each word written as it is in a table.

    Raises:
      ValueError: Something in the list is not a word.

    Example:
      >>> joined(["red", 38.0, None], "|")
      'red|38'
    """
    words = [text_of(v) for v in values]
    for word in words:
        if word is not None and not isinstance(word, str):
            raise ValueError(f"expected a list of texts, got {shown(word)} in it")
    return separator.join(w for w in words if w is not None)
