"""The values of one line of a log, checked as they are read: a log may come from anywhere."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np

from mmrank.data.conversion import well_formed
from mmrank.data.findings import DataError
from mmrank.outputs import one_line, shown

__all__ = ["LineObject", "parsed"]

_MOST_WHOLE = 1 << 53


def parsed(line: bytes) -> LineObject:
    """Returns the object that a line holds.

    Raises:
      DataError: The line is not UTF-8, not JSON, or no object.

    Example:
      >>> parsed(b'{"size": 3}').whole("size")
      3
    """
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"not JSON in UTF-8: {one_line(error)}") from error
    if not isinstance(value, dict):
        raise DataError(f"expected an object {{…}}, got {shown(value)}")
    return LineObject(value)


@dataclasses.dataclass(frozen=True)
class LineObject:
    """An object of a line; each method returns the value of a key with the type that it names.

    Every method raises a DataError where the key is missing or its value has another type.

    Attributes:
      values: The object.
      path: Where it is in the line, such as `seen.`; empty for the line itself.
    """

    values: dict[str, Any]
    path: str = ""

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(key) is not None

    def text(self, key: str) -> str:
        """A text."""
        return self._text(key, self._value(key))

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        return tuple(self._text(key, value) for value in self._list(key))

    def truth(self, key: str) -> bool:
        """True or false."""
        return self._truth(key, self._value(key))

    def truths(self, key: str) -> list[bool]:
        """A list of true and false."""
        return [self._truth(key, value) for value in self._list(key)]

    def number(self, key: str) -> float:
        """A finite number."""
        return self._number(key, self._value(key))

    def numbers(self, key: str) -> np.ndarray:
        """A list of finite numbers, [length] float64."""
        return np.array([self._number(key, value) for value in self._list(key)], np.float64)

    def whole(self, key: str) -> int:
        """A whole number."""
        return self._whole(key, self._value(key))

    def wholes(self, key: str) -> np.ndarray:
        """A list of whole numbers, [length] int64."""
        return np.array([self._whole(key, value) for value in self._list(key)], np.int64)

    def object(self, key: str) -> LineObject:
        """An object."""
        value = self._value(key)
        if not isinstance(value, dict):
            raise self._error(key, "an object {…}", value)
        return LineObject(value, f"{self.path}{key}.")

    def of_lists(self, key: str) -> list[LineObject]:
        """For each list in a list, an object with that list as `key`."""
        return [LineObject({key: value}, self.path) for value in self._list(key)]

    def _value(self, key: str) -> Any:
        if key not in self.values:
            raise DataError(f"{self.path}{key}: missing")
        return self.values[key]

    def _list(self, key: str) -> list[Any]:
        value = self._value(key)
        if not isinstance(value, list):
            raise self._error(key, "a list", value)
        return value

    def _text(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            raise self._error(key, "a text", value)
        if value != well_formed(value):
            raise self._error(key, "a text without halves of characters", value)
        return value

    def _truth(self, key: str, value: Any) -> bool:
        if not isinstance(value, bool):
            raise self._error(key, "true or false", value)
        return value

    def _number(self, key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._error(key, "a number", value)
        try:
            number = float(value)
        except OverflowError:  # whole numbers of JSON have no bound
            number = math.inf
        if not math.isfinite(number):
            raise self._error(key, "a finite number", value)
        return number

    def _whole(self, key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST_WHOLE:
            raise self._error(key, "a whole number", value)
        return value

    def _error(self, key: str, expected: str, value: Any) -> DataError:
        return DataError(f"{self.path}{key}: expected {expected}, got {shown(value)}")
