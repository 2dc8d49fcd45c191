"""Reads the sparse attributes of an item from the cell of a table, and turns them into one text.

The text has a line `name: value` for each value. A client sends the same text to an export. The
cell is a mapping, JSON, or a text such as `colour: red; size: 42`.
"""

from __future__ import annotations

import json
import numbers
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mmrank.data.blank import BLANK
from mmrank.data.conversion import Literal, text_of
from mmrank.data.json_lines import plain
from mmrank.outputs import shown

BETWEEN_LINES, AFTER_NAME = "\n", ": "
# A name is short. A colon further on, or one in a time or a web address, is part of a value.
_NAMED = re.compile(r"\s*([^:=\n]{1,80}?)\s*(?::(?!//|\d{2}(?!\d))|=)\s*(.*)", re.DOTALL)
_PIECES = re.compile(r"[\n;]")
_PAIRS = (("name", "value"), ("key", "value"))
_WORDS = {"true": "yes", "false": "no"}


def attribute_lines(value: Any) -> str:
    """The attributes of one cell as lines `name: value`; the empty text if it has none.

    Args:
      value: A mapping of names to values; JSON of such a mapping; a list of `{name, value}`; a text
        of pieces `name: value` separated by `;` or line breaks, where a piece without a name is
        another value of the name before it; or missing. A value may be a list of values. A missing
        or empty value gives no attribute.

    Raises:
      ValueError: `value` has another form, or its JSON is broken.

    Example:
      >>> print(attribute_lines({"colour": "red", "size": 42.0, "material": None}))
      colour: red
      size: 42
      >>> attribute_lines('{"size": 42}') == attribute_lines("size: 42") == "size: 42"
      True
    """
    lines = (
        f"{name}{AFTER_NAME}{text}" if name else text for name, text in _named_texts(value) if text
    )
    return BETWEEN_LINES.join(lines)


def _named_texts(value: Any) -> Iterator[tuple[str, str]]:
    if value is None or value is pd.NA or (isinstance(value, numbers.Real) and value != value):
        return
    if isinstance(value, str):
        text = value.strip(BLANK)
        if text[:1] not in ("{", "["):
            yield from _pieces(text)
            return
        try:
            value = json.loads(text, parse_float=Literal, parse_int=Literal)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"begins like JSON, but is not JSON: {error}") from None
    if isinstance(value, (list, tuple, np.ndarray)):
        for entry in value:
            yield _pair(entry)
    elif isinstance(value, Mapping):
        for name, entry in value.items():
            yield from _entries(_name(name), entry)
    else:
        raise ValueError(f"expected attributes, a mapping or a text, got {shown(value)}")


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    name = ""
    for piece in _PIECES.split(text):
        match = _NAMED.fullmatch(piece)
        if match:
            name, piece = _name(match[1]), match[2]
        yield name, _text(piece)


def _pair(entry: Any) -> tuple[str, str]:
    if isinstance(entry, (list, tuple)) and len(entry) == 2:  # an entry of a parquet map
        return _name(entry[0]), _text(entry[1])
    for name, value in _PAIRS:
        if isinstance(entry, Mapping) and name in entry and value in entry:
            return _name(entry[name]), _text(entry[value])
    raise ValueError(f"expected {{name: …, value: …}} in a list of attributes, got {shown(entry)}")


def _entries(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for inner, entry in value.items():
            yield from _entries(f"{name} {_name(inner)}", entry)
    elif isinstance(value, (list, tuple, np.ndarray)):
        for entry in value:
            yield from _entries(name, entry)
    else:
        yield name, _text(value)


def _name(name: Any) -> str:
    return " ".join(str(name).replace("_", " ").replace(":", " ").split())


def _text(value: Any) -> str:
    """A value's text on one line: 62 for 62.0, yes and no for booleans."""
    text = text_of(plain(value))
    text = "" if text is None else " ".join(str(text).split())
    return _WORDS.get(text.lower(), text)
