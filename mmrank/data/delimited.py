"""Comma and tab separated tables, read as the text that stands in their cells."""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import pathlib
import zlib

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as arrow_csv

from mmrank.data.dialect import Dialect, open_bytes
from mmrank.data.findings import DataError

# A cell may be as large as this, such as all reviews of an item.
_BLOCK = 1 << 25


def read_delimited(file: pathlib.Path, dialect: Dialect) -> tuple[pa.Table, Dialect]:
    """The cells of a table as text, missing where empty, and the dialect that it proved to have.

    Where a quote at the beginning of a cell, an inch sign say, would swallow whole rows while every
    line has as many fields without quoting, quotes are part of the text.

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
            dialect, quoted=False, found=(*dialect.found, "quotes that are part of the text")
        )
        return _parsed(file, dialect), dialect
    what = f"{swallowed} quoted cells with line breaks and {dialect.separator!r} in them"
    return table, dataclasses.replace(dialect, found=(*dialect.found, what))


def header(file: pathlib.Path, dialect: Dialect) -> list[str]:
    """The names of a table's columns; one without is called by its place, as pandas does.

    Raises:
      DataError: The file is empty, cannot be read, or two columns have one name.
    """
    names = [n if n.strip() else f"Unnamed: {i}" for i, n in enumerate(_first_row(file, dialect))]
    twice = [name for name, count in collections.Counter(names).items() if count > 1]
    if twice:
        raise DataError(
            f"{file}: {collections.Counter(names)[twice[0]]} columns are called {twice[0]!r}; "
            "give each a name of its own"
        )
    return names


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


def _parsed(file: pathlib.Path, dialect: Dialect) -> pa.Table:
    wrong: list[arrow_csv.InvalidRow] = []

    def note(row: arrow_csv.InvalidRow) -> str:
        wrong.append(row)
        return "error"

    names = header(file, dialect)
    as_written = _first_row(file, dialect)
    try:
        with open_bytes(file) as source:
            table = arrow_csv.read_csv(
                source,
                # On one thread rows have their numbers.
                arrow_csv.ReadOptions(
                    use_threads=False, block_size=_BLOCK, encoding=dialect.encoding
                ),
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
    except pa.ArrowInvalid as error:
        if wrong:
            row = wrong[0]
            raise DataError(
                f"{file}: row {row.number - 1} has {row.actual_columns} fields, the header "
                f"{row.expected_columns}; put a cell that holds {dialect.separator!r} in double "
                "quotes, and give every row all its fields"
            ) from error
        if "UTF8" in str(error):
            raise _not_encoded(file, dialect, str(error)) from error
        raise _unreadable(file, error) from error
    except UnicodeError as error:
        raise _not_encoded(file, dialect, str(error)) from error
    except (EOFError, OSError, zlib.error) as error:
        raise _unreadable(file, error) from error
    return table.rename_columns(names)


def ending(file: pathlib.Path) -> str:
    """The ending that tells a file's type, without .gz; empty for a name without."""
    suffixes = [s for s in file.suffixes if s != ".gz"]
    return suffixes[-1] if suffixes else ""


def _unreadable(file: pathlib.Path, error: Exception) -> DataError:
    remedy = "; fetch it anew" if isinstance(error, (EOFError, OSError, zlib.error)) else ""
    return DataError(f"{file}: cannot be read as {ending(file)}: {error}{remedy}")


def _not_encoded(file: pathlib.Path, dialect: Dialect, why: str) -> DataError:
    return DataError(
        f"{file}: it is not {dialect.encoding} ({why}); save it as UTF-8, or name its encoding in "
        f"the schema: {{file: {file.name}, encoding: latin-1}}"
    )


def _swallowed(table: pa.Table, separator: str) -> int:
    """Cells that hold both a line break and a separator, as those do that swallow rows."""
    count = 0
    for column in table.columns:
        if not pa.types.is_string(column.type):
            continue
        both = pc.and_(pc.match_substring(column, "\n"), pc.match_substring(column, separator))
        count += pc.sum(both).as_py() or 0
    return count


def _rectangular(file: pathlib.Path, dialect: Dialect) -> bool:
    """Whether every line that is not blank has as many separators, quoted or not."""
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
