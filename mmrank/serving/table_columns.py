"""Columns of a table as the values that an export takes, read as training reads them.

A value that cannot be used, such as a broken photo, counts as absent here, while a single request
with such a value is refused: one bad row must not end the scoring of a file of a million rows.
"""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.checks import as_numbers
from mmrank.data.checks import texts as as_texts
from mmrank.data.conversion import MISSING
from mmrank.data.kinds import KINDS
from mmrank.serving.request import Arrays, Column, RankError


class ColumnReader:
    """Reads columns of tables as inputs of an export.

    Attributes:
      unusable: The number of distinct values of each feature that could not be used and count as
        absent.

    Args:
      read_file: Returns the bytes of the media file that a text in a table names, or None if
        there is no such file.
    """

    def __init__(self, read_file: Callable[[str], bytes | None]):
        self.unusable: collections.Counter[str] = collections.Counter()
        self._read_file = read_file

    def arrays(self, column: Column, values: pd.Series | None, count: int) -> Arrays:
        """Returns values [N] and flags [N] of a feature, named NAME and NAME_present.

        Args:
          column: The feature.
          values: Its column, [N]; None if the table has no such column, and all are absent.
          count: N.
        """
        if values is None:
            return column.arrays([None] * count)
        if column.dtype != "string":
            numbers, as_text = as_numbers(values), as_texts(values)
            wrong = as_text[np.isnan(numbers)]
            count_wrong = wrong[(wrong != "") & ~wrong.isin(MISSING)].nunique()
            if count_wrong:
                self.unusable[column.name] += count_wrong
            return column.arrays([None if np.isnan(n) else n for n in numbers])
        if column.media:
            return column.arrays(self._each(column, values, self._file))
        kind = KINDS[column.kind]
        return column.arrays(
            self._each(column, values, lambda value, name: kind.raw_cell(value, column))
        )

    def _each(
        self, column: Column, values: pd.Series, read: Callable[[Any, str], Any]
    ) -> list[Any]:
        """Returns the result of `read` for each value, or None for a value that cannot be used.

        Equal texts, such as paths, are read once.
        """
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
