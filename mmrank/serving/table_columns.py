"""Columns of a table as the values that an export takes, read as training reads them.

A value that cannot be used, such as a broken photo, is absent here, where a single request would
be refused: a file of a million rows is not to end at one of them.
"""

from __future__ import annotations

import collections
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.checks import as_numbers
from mmrank.data.checks import texts as as_texts
from mmrank.data.vectors import read_vector, vector_text
from mmrank.serving.request import Arrays, Column, RankError


class ColumnReader:
    """Reads columns of tables as inputs of an export.

    Attributes:
      unusable: How many different values of each feature could not be used and count as absent.

    Args:
      read_file: The bytes of the media file that a text in a table names, None without one.
    """

    def __init__(self, read_file: Callable[[str], bytes | None]):
        self.unusable: collections.Counter[str] = collections.Counter()
        self._read_file = read_file

    def arrays(self, column: Column, values: pd.Series | None, count: int) -> Arrays:
        """Values [N] and flags [N] of a feature, under its name and NAME_present.

        Args:
          column: The feature.
          values: Its column, [N]; None where the table has none, and all are absent.
          count: N.
        """
        if values is None:
            return column.arrays([None] * count)
        if column.dtype != "string":
            numbers = as_numbers(values)
            return column.arrays([None if np.isnan(n) else n for n in numbers])
        if column.media:
            return column.arrays(self._each(column, values, self._file))
        if column.reviews is not None:
            return column.arrays(self._each(column, values, column.raw))
        if column.kind in ("vector", "collaborative"):
            return column.arrays(self._each(column, values, _vector))
        if column.kind == "category" and pd.api.types.is_float_dtype(values):
            values = values.map(lambda v: int(v) if np.isfinite(v) and v % 1 == 0 else v, "ignore")
        words = as_texts(values.map(lambda v: _word(v, column.separator)).astype(object))
        return column.arrays([w or None for w in words])

    def _each(
        self, column: Column, values: pd.Series, read: Callable[[Any, str], Any]
    ) -> list[Any]:
        """What `read` gives of each value; None where it cannot be used. Paths are read once."""
        known: dict[Any, Any] = {}
        found = []
        for value in values:
            key = value if isinstance(value, (str, bytes)) else None
            if key is not None and key in known:
                found.append(known[key])
                continue
            try:
                data = read(value, column.name)
                if column.media and data is not None:
                    data = column.raw(data, column.name)
            except (RankError, ValueError):
                self.unusable[column.name] += 1
                data = None
            if key is not None:
                known[key] = data
            found.append(data)
        return found

    def _file(self, value: Any, name: str) -> bytes | None:
        if isinstance(value, (bytes, bytearray, memoryview)):
            return bytes(value)
        if value is None or value is pd.NA or value != value or not str(value).strip():
            return None
        data = self._read_file(str(value).strip())
        if data is None:
            raise RankError(f"{name}: {value}: no such file")
        return data


def _vector(value: Any, name: str) -> str | None:
    vector = read_vector(value)
    return None if vector is None else vector_text(vector)


def _word(value: Any, separator: str | None) -> Any:
    if isinstance(value, (list, tuple, np.ndarray)):
        return (separator or " ").join(str(v) for v in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
