"""JSON lines: an object a line, whose numbers can be had as they are written."""

from __future__ import annotations

import json
import pathlib
import re
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import pandas as pd

from mmrank.data.dialect import open_bytes
from mmrank.data.findings import DataError
from mmrank.data.stands import Literal, text_of

# Half of a pair that stands for one character; alone it is no text.
_HALF = re.compile("[\ud800-\udfff]")


def read_json_lines(
    file: pathlib.Path,
    encoding: str,
    texts: Collection[str],
    without: Collection[str],
    packed: Mapping[str, Callable[[Mapping[str, Any]], Any]],
) -> pd.DataFrame:
    """The rows of a file; a key that a row lacks is missing there.

    Args:
      file: The file, gzipped or not.
      encoding: Of its text.
      texts: Keys whose numbers become the text that stands in the file; they are numbers elsewhere.
      without: Keys that are left out.
      packed: By prefix, what makes one value of all keys of a row that begin with it; its column
        is called `PREFIX*`.

    Raises:
      DataError: The file cannot be read, or a line is no object.
    """
    columns: dict[str, list[Any]] = {f"{prefix}*": [] for prefix in packed}
    there = dict.fromkeys(packed, False)
    count = 0
    for count, row in enumerate(_objects(file, encoding), start=1):
        groups: dict[str, dict[str, Any]] = {prefix: {} for prefix in packed}
        for key, value in row.items():
            if key in without:
                continue
            prefix = next((p for p in packed if key.startswith(p)), None)
            if prefix is not None:
                groups[prefix][key] = value
            else:
                kept = text_of(value) if key in texts else plain(value)
                column = columns.setdefault(key, [])
                column.extend([None] * (count - 1 - len(column)))
                column.append(kept)
        for prefix, group in groups.items():
            columns[f"{prefix}*"].append(packed[prefix](group))
            there[prefix] |= bool(group)
    for prefix in packed:
        if not there[prefix]:
            del columns[f"{prefix}*"]
    for column in columns.values():
        column.extend([None] * (count - len(column)))
    made = {key: pd.Series(column, dtype=_dtype(column)) for key, column in columns.items()}
    return pd.DataFrame(made, index=pd.RangeIndex(count))


def keys_of(file: pathlib.Path, encoding: str, rows: int = 100) -> list[str]:
    """The keys of the first rows, in the order of their first use.

    Raises:
      DataError: As `read_json_lines`.
    """
    keys: dict[str, None] = {}
    for count, row in enumerate(_objects(file, encoding)):
        if count == rows:
            break
        keys.update(dict.fromkeys(row))
    return list(keys)


def plain(value: Any) -> Any:
    """A value with its numbers as numbers."""
    if isinstance(value, Literal):
        try:
            return int(value)
        except ValueError:
            return float(value)
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dict):
        return {key: plain(v) for key, v in value.items()}
    return value


def _dtype(column: list[Any]) -> Any:
    """object, unless all values that there are are texts, or all are small numbers."""
    kinds = {type(v) for v in column if v is not None}
    if kinds == {str}:
        return None
    if kinds == {float} or (kinds == {int} and None not in column and _small(column)):
        return None
    if kinds == {float, int} and _small([v for v in column if isinstance(v, int)]):
        return "float64"
    if kinds == {bool} and None not in column:
        return None
    return object


def _small(column: list[Any]) -> bool:
    return all(abs(v) < 1 << 53 for v in column)


def _objects(file: pathlib.Path, encoding: str) -> Iterator[dict[str, Any]]:
    number = 0
    decoder = json.JSONDecoder(parse_float=Literal, parse_int=Literal)
    try:
        with open_bytes(file) as lines:
            for number, line in enumerate(lines, start=1):
                text = line.decode(encoding).removeprefix("\ufeff").strip()
                if not text:
                    continue
                row = decoder.decode(text)
                if not isinstance(row, dict):
                    raise DataError(
                        f"{file}: cannot be read as .jsonl: line {number}: expected an object "
                        '{"column": value, …}'
                    )
                yield _whole(row) if "\\u" in text else row
    except UnicodeError as error:
        raise DataError(
            f"{file}: line {number + 1} is not {encoding} ({error}); save it as UTF-8, or name "
            f"its encoding in the schema: {{file: {file.name}, encoding: latin-1}}"
        ) from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{file}: cannot be read as .jsonl: line {number}: {error}; give every row a line of "
            "its own"
        ) from error
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{file}: cannot be read as .jsonl after line {number}: {error}; fetch it anew"
        ) from error


def _whole(value: Any) -> Any:
    """A value without halves of characters."""
    if type(value) is str:
        return _HALF.sub("\ufffd", value)
    if isinstance(value, list):
        return [_whole(v) for v in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(v) for key, v in value.items()}
    return value
