"""Reads JSON lines: one object per line, with numbers on request as the text in the file."""

from __future__ import annotations

import itertools
import json
import pathlib
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from mmrank.data.conversion import Literal, text_of, well_formed
from mmrank.data.dialect import open_bytes
from mmrank.data.findings import DataError
from mmrank.outputs import shown


def read_json_lines(
    file: pathlib.Path,
    encoding: str,
    texts: Collection[str],
    without: Collection[str],
    packed: Mapping[str, Callable[[Mapping[str, Any]], Any]],
) -> pd.DataFrame:
    """The rows of a file; the value of a key that a row lacks is missing.

    Args:
      file: The file, gzipped or not.
      encoding: Encoding of its text.
      texts: Keys whose numbers are kept as the text in the file; other keys give numbers.
      without: Keys that are left out.
      packed: By prefix, a function that turns all keys of a row with that prefix into one value;
        the column of these values is named `PREFIX*`.

    Raises:
      DataError: The file is empty or cannot be read, or a line is not an object.
    """
    frame = _frame(_objects(file, encoding), texts, without, packed)
    if not len(frame):
        raise DataError(f"{file}: cannot be read as .jsonl: it is empty")
    return frame


def json_pieces(file: pathlib.Path, rows: int, texts: Collection[str]) -> Iterator[pd.DataFrame]:
    """The rows of a UTF-8 file, in pieces of at most `rows` rows.

    Args:
      file: The file, gzipped or not.
      rows: Maximum rows of a piece.
      texts: Keys whose numbers are kept as the text in the file.

    Raises:
      DataError: The file cannot be read, or a line is not an object.
    """
    objects = _objects(file, "utf-8")
    while piece := list(itertools.islice(objects, rows)):
        yield _frame(piece, texts, (), {})


def _frame(
    rows: Iterable[Mapping[str, Any]],
    texts: Collection[str],
    without: Collection[str],
    packed: Mapping[str, Callable[[Mapping[str, Any]], Any]],
) -> pd.DataFrame:
    columns: dict[str, list[Any]] = {f"{prefix}*": [] for prefix in packed}
    there = dict.fromkeys(packed, False)
    count = 0
    for count, row in enumerate(rows, start=1):
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
    """The keys of the first `rows` rows, in the order of their first use.

    Raises:
      DataError: The file cannot be read, or a line is not an object.
    """
    keys: dict[str, None] = {}
    for count, row in enumerate(_objects(file, encoding)):
        if count == rows:
            break
        keys.update(dict.fromkeys(row))
    return list(keys)


def plain(value: Any) -> Any:
    """A value whose `Literal`s, also those in lists and mappings, are turned into numbers."""
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
    """The dtype of a column: None (inferred), float64 or object.

    object keeps the values as they are: mixed kinds, large integers, and integers or booleans of
    which some are missing.
    """
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


class _Repeated(ValueError):
    """A key that occurs twice in one object, where JSON would keep only the last value."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _Repeated(f"the key {shown(twice)} appears twice in one object")
    return made


def _objects(file: pathlib.Path, encoding: str) -> Iterator[dict[str, Any]]:
    number = 0
    decoder = json.JSONDecoder(parse_float=Literal, parse_int=Literal, object_pairs_hook=_object)
    try:
        with open_bytes(file) as lines:
            for number, line in enumerate(lines, start=1):
                text = line.decode(encoding).removeprefix("\ufeff").strip()
                if not text:
                    continue
                if text[0] == "[":
                    raise DataError(
                        f"{file}: cannot be read as .jsonl: line {number} begins an array; "
                        'expected an object {"column": value, …} on each line'
                    )
                row = decoder.decode(text)
                if not isinstance(row, dict):
                    raise DataError(
                        f"{file}: cannot be read as .jsonl: line {number}: expected an object "
                        '{"column": value, …}'
                    )
                yield _whole(row) if "\\u" in text else row
    except UnicodeError as error:
        raise DataError(
            f"{file}: line {number + 1} is not {encoding} ({error}); save it as UTF-8, or give "
            f"its encoding in the schema: {{file: {file.name}, encoding: latin-1}}"
        ) from error
    except _Repeated as error:
        raise DataError(f"{file}: line {number}: {error}; remove one of them") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{file}: cannot be read as .jsonl: line {number}: {error}; write every row on a "
            "separate line"
        ) from error
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{file}: cannot be read as .jsonl after line {number}: {error}; download it again"
        ) from error


def _whole(value: Any) -> Any:
    """A value whose texts, keys included, have no lone surrogates (halves of characters)."""
    if type(value) is str:
        return well_formed(value)
    if isinstance(value, list):
        return [_whole(v) for v in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(v) for key, v in value.items()}
    return value
