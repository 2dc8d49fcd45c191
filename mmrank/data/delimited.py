"""Reads comma and tab separated tables as the text of their cells."""

from __future__ import annotations

import collections
import contextlib
import csv
import dataclasses
import io
import pathlib
import zlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from mmrank.data.dialect import Dialect, open_bytes
from mmrank.data.findings import DataError
from mmrank.outputs import shown

# Most bytes of a cell, which may hold all reviews of an item.
_BLOCK = 1 << 25


def read_delimited(file: pathlib.Path, dialect: Dialect) -> tuple[pa.Table, Dialect]:
    """The cells of a table as text, missing where empty, and the dialect that was found to fit.

    A quote at the beginning of a cell, such as an inch sign, may swallow whole rows. If without
    quoting every line has the same number of fields, quotes are read as part of the text.

    Raises:
      DataError: The file cannot be read, or a row has more or fewer fields than the header.
    """
    try:
        table = _parsed(file, dialect)
    except DataError:
        if not _rectangular(file, dialect):
            raise
        swallowed = 1
    else:
        swallowed = _swallowed(table, dialect.separator)
    if not swallowed:
        return table, dialect
    if _rectangular(file, dialect):
        dialect = dataclasses.replace(
            dialect, quoted=False, found=(*dialect.found, "quotes are part of the text")
        )
        return _parsed(file, dialect), dialect
    what = f"{swallowed} quoted cells contain line breaks and {dialect.separator!r}"
    return table, dataclasses.replace(dialect, found=(*dialect.found, what))


def header(file: pathlib.Path, dialect: Dialect) -> list[str]:
    """The names of a table's columns; a column without one is named by its index, as in pandas.

    Raises:
      DataError: The file is empty, cannot be read, or two columns have the same name.
    """
    names = [n if n.strip() else f"Unnamed: {i}" for i, n in enumerate(_first_row(file, dialect))]
    refuse_repeated(file, names)
    return names


def refuse_repeated(file: pathlib.Path, names: Sequence[str]) -> None:
    """Checks that every column has a unique name.

    Raises:
      DataError: Two columns have the same name.
    """
    counts = collections.Counter(names)
    twice = next((name for name, count in counts.items() if count > 1), None)
    if twice is not None:
        raise DataError(
            f"{file}: {counts[twice]} columns are called {twice!r}; give each a name of its own"
        )


def _first_row(file: pathlib.Path, dialect: Dialect) -> list[str]:
    encoding = "utf-8-sig" if dialect.encoding.replace("_", "-") == "utf-8" else dialect.encoding
    try:
        with io.TextIOWrapper(open_bytes(file), encoding=encoding, newline="") as text:
            reader = csv.reader(
                text,
                delimiter=dialect.separator,
                quoting=csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE,
            )
            return next((row for row in reader if row), None) or _empty(file)
    except UnicodeError as error:
        raise _not_encoded(file, dialect, str(error)) from error
    except (csv.Error, EOFError, OSError, zlib.error) as error:
        raise _unreadable(file, error) from error


def _empty(file: pathlib.Path) -> list[str]:
    raise DataError(f"{file}: cannot be read as {ending(file)}: it is empty")


def delimited_pieces(file: pathlib.Path, dialect: Dialect, rows: int) -> Iterator[pa.Table]:
    """The cells of a table as `read_delimited` reads them, in pieces of at most `rows` rows.

    Quotes that swallow rows are not detected, because that requires the whole file.

    Raises:
      DataError: The file cannot be read, or a row has more or fewer fields than the header.
    """
    names = header(file, dialect)
    with _reading(file, dialect) as (source, options):
        for batch in arrow_csv.open_csv(source, *options):
            table = pa.Table.from_batches([batch]).rename_columns(names)
            for start in range(0, len(table), rows):
                yield table.slice(start, rows)


def _parsed(file: pathlib.Path, dialect: Dialect) -> pa.Table:
    names = header(file, dialect)
    with _reading(file, dialect) as (source, options):
        return arrow_csv.read_csv(source, *options).rename_columns(names)


@contextlib.contextmanager
def _reading(file: pathlib.Path, dialect: Dialect) -> Iterator[tuple[BinaryIO, tuple[Any, ...]]]:
    """The open file and Arrow's options for it; errors become `DataError`s that name the file."""
    wrong: list[arrow_csv.InvalidRow] = []

    def note(row: arrow_csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    as_written = _first_row(file, dialect)
    options = (
        # Arrow reports row numbers only on one thread.
        arrow_csv.ReadOptions(use_threads=False, block_size=_BLOCK, encoding=dialect.encoding),
        arrow_csv.ParseOptions(
            delimiter=dialect.separator,
            quote_char='"' if dialect.quoted else False,
            newlines_in_values=dialect.quoted,
            invalid_row_handler=note,
        ),
        arrow_csv.ConvertOptions(
            column_types={name: pa.string() for name in as_written},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )
    try:
        with open_bytes(file) as source:
            yield source, options
    except pa.ArrowInvalid as error:
        if wrong:
            raise DataError(f"{file}: {_ragged(wrong[0], as_written, dialect)}") from error
        if "UTF8" in str(error):
            raise _not_encoded(file, dialect, str(error)) from error
        raise _unreadable(file, error) from error
    except UnicodeError as error:
        raise _not_encoded(file, dialect, str(error)) from error
    except (EOFError, OSError, zlib.error) as error:
        raise _unreadable(file, error) from error


def _ragged(row: arrow_csv.InvalidRow, names: list[str], dialect: Dialect) -> str:
    first = dialect.separator.join(names)
    remedy = (
        f"put a cell that contains {dialect.separator!r} in double quotes, and give every row all "
        "fields"
    )
    if row.number == 2 and len(names) < row.actual_columns:
        remedy += f"; if the first line, {shown(first)}, is not the header, remove it"
    return (
        f"row {row.number - 1} has {row.actual_columns} fields, the header {row.expected_columns} "
        f"({shown(row.text or '')}); {remedy}"
    )


def ending(file: pathlib.Path) -> str:
    """The ending of a file's name without `.gz`, which gives the file's type; may be empty."""
    suffixes = [s for s in file.suffixes if s != ".gz"]
    return suffixes[-1] if suffixes else ""


def _unreadable(file: pathlib.Path, error: Exception) -> DataError:
    remedy = "; download it again" if isinstance(error, (EOFError, OSError, zlib.error)) else ""
    return DataError(f"{file}: cannot be read as {ending(file)}: {error}{remedy}")


def _not_encoded(file: pathlib.Path, dialect: Dialect, why: str) -> DataError:
    return DataError(
        f"{file}: is not {dialect.encoding} ({why}); save it as UTF-8, or give its encoding in "
        f"the schema: {{file: {file.name}, encoding: latin-1}}"
    )


def _swallowed(table: pa.Table, separator: str) -> int:
    """The number of cells with both a line break and a separator, as in cells that swallow rows."""
    count = 0
    for column in table.columns:
        if not pa.types.is_string(column.type):
            continue
        both = pc.and_(pc.match_substring(column, "\n"), pc.match_substring(column, separator))
        count += pc.sum(both).as_py() or 0
    return count


def _rectangular(file: pathlib.Path, dialect: Dialect) -> bool:
    """Whether all lines that are not blank have the same number of separators, quoted or not."""
    sizes: set[int] = set()
    try:
        with io.TextIOWrapper(open_bytes(file), encoding=dialect.encoding) as text:
            for line in text:
                if line.strip("\r\n"):
                    sizes.add(line.count(dialect.separator))
                    if len(sizes) > 1:
                        return False
    except (UnicodeError, EOFError, OSError, zlib.error):
        return False
    return bool(sizes)
