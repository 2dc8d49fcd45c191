"""The dialect of a text table: what its encoding, separator and decimal mark are."""

from __future__ import annotations

import codecs
import collections
import csv
import dataclasses
import gzip
import io
import pathlib
import zlib
from collections.abc import Sequence
from typing import BinaryIO

from mmrank.data.findings import DataError
from mmrank.schema import Reading

# Where a file says nothing else, in this order.
SEPARATORS = (",", ";", "\t", "|")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 1 << 18
_ROWS = 50


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a csv or tsv is written.

    Attributes:
      encoding: Python's name for it.
      separator: Between two fields.
      decimal: Decimal mark; None where only the numbers themselves can tell.
      thousands: Between groups of three digits; None for none.
      quoted: Whether a cell in double quotes may hold a separator.
      found: What was found in the file and not told, in words.
    """

    encoding: str = "utf-8"
    separator: str = ","
    decimal: str | None = None
    thousands: str | None = None
    quoted: bool = True
    found: tuple[str, ...] = ()


def open_bytes(file: pathlib.Path) -> BinaryIO:
    """The file's bytes, unpacked where its name ends in .gz."""
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def find_dialect(file: pathlib.Path, told: Reading, usual: str) -> Dialect:
    """The dialect of a file, by what is told of it and what it begins with.

    Args:
      file: A csv or tsv, gzipped or not.
      told: What is known already.
      usual: The separator that the file's ending stands for.

    Raises:
      DataError: The file cannot be read, or not in the encoding that was told.
    """
    beginning = read_beginning(file)
    bom = next((name for mark, name in _BOMS if beginning.startswith(mark)), None)
    encoding = told.encoding or bom or "utf-8"
    found = []
    if told.encoding is None and bom is not None:
        found.append(f"{bom.upper()} with a byte order mark")
    separator = told.separator
    if separator is None:
        text = beginning.decode(encoding, errors="replace").removeprefix("\ufeff")
        separator = likely_separator(text, usual)
        if separator != usual:
            found.append(f"fields parted by {separator!r}")
    return Dialect(encoding, separator, told.decimal, told.thousands, found=tuple(found))


def read_beginning(file: pathlib.Path, size: int = _LOOKED_AT) -> bytes:
    """The first bytes of a file, unpacked; what follows in a broken archive is not noticed.

    Raises:
      DataError: Not even they can be read.
    """
    try:
        with open_bytes(file) as source:
            return source.read(size)
    except EOFError:
        return b""
    except (OSError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read: {error}; fetch it anew") from error


def likely_separator(text: str, usual: str) -> str:
    """The separator that parts most rows of a text into as many fields, two at least.

    Args:
      text: The beginning of a table.
      usual: Taken where several are as good, or none parts anything.
    """
    # The last line may be cut.
    lines = text.splitlines(keepends=True)
    whole = "".join(lines[:-1] if len(lines) > 1 else lines)
    best, best_share = usual, 0.0
    for separator in (usual, *(s for s in SEPARATORS if s != usual)):
        share = _share_of_equal(whole, separator)
        if share > best_share:
            best, best_share = separator, share
    return best


def _share_of_equal(text: str, separator: str) -> float:
    """The share of rows with as many fields as the header; 0 where that has one."""
    sizes = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if row:
                sizes.append(len(row))
            if len(sizes) > _ROWS:
                break
    except csv.Error:  # a cell beyond the module's limit
        pass
    if not sizes or sizes[0] < 2:
        return 0.0
    return sum(size == sizes[0] for size in sizes) / len(sizes)


def likely_decimal(columns: Sequence[Sequence[str]]) -> str:
    """The decimal mark of columns of numbers: a comma if that alone makes numbers of them.

    A comma before exactly three digits may part thousands: columns of these alone stay as they are.

    Args:
      columns: Some values of each, as they stand.
    """
    seen = collections.Counter()  # type: collections.Counter[str]
    for values in columns:
        for value in values:
            if "." in value:
                return "."
            if "," in value:
                whole, _, rest = value.rpartition(",")
                plain = whole.lstrip("+-").isdigit() and rest.isdigit()
                seen["other" if not plain else "three" if len(rest) == 3 else "comma"] += 1
    return "," if seen["comma"] and not seen["other"] else "."
