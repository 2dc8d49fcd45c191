"""Finds the dialect of a text table: its encoding, separator and decimal mark."""

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

from mmrank.data.disguised import refuse_disguised
from mmrank.data.findings import DataError
from mmrank.schema import Reading

# The separators that are tried, in this order.
SEPARATORS = (",", ";", "\t", "|")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 1 << 18
_ROWS = 50


@dataclasses.dataclass(frozen=True)
class Dialect:
    """How a csv or tsv is written.

    Attributes:
      encoding: Python's name of the encoding.
      separator: Separator between two fields.
      decimal: Decimal mark; None if it has to be detected from the numbers.
      thousands: Separator between groups of three digits; None for none.
      quoted: Whether a cell in double quotes may hold a separator.
      found: Descriptions of what was detected in the file rather than given.

    Example:
      >>> german = Dialect(encoding="cp1252", separator=";", decimal=",")
      >>> german.thousands is None, german.quoted
      (True, True)
    """

    encoding: str = "utf-8"
    separator: str = ","
    decimal: str | None = None
    thousands: str | None = None
    quoted: bool = True
    found: tuple[str, ...] = ()


def open_bytes(file: pathlib.Path) -> BinaryIO:
    """The open file, decompressed if its name ends in .gz."""
    return gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb")  # type: ignore[return-value]


def find_dialect(file: pathlib.Path, reading: Reading, usual: str) -> Dialect:
    r"""The dialect of a file, from what the schema gives and from the beginning of the file.

    Args:
      file: A csv or tsv, gzipped or not.
      reading: What the schema gives.
      usual: The separator that the file's ending implies.

    Raises:
      DataError: The file cannot be read, is of another type, or its encoding cannot be detected.

    Example:
      >>> import pathlib
      >>> from mmrank.schema import Reading
      >>> file = pathlib.Path("products.csv")
      >>> _ = file.write_text("sku;price\nA1;9,50\nA2;12,00\n")
      >>> found = find_dialect(file, Reading(), usual=",")
      >>> found.separator, found.encoding
      (';', 'utf-8')
    """
    beginning = read_beginning(file)
    bom = next((name for mark, name in _BOMS if beginning.startswith(mark)), None)
    refuse_disguised(file, beginning, encoded=reading.encoding is not None or bom is not None)
    encoding = reading.encoding or bom or "utf-8"
    found = []
    if reading.encoding is None and bom is not None:
        found.append(f"{bom.upper()} with a byte order mark")
    separator = reading.separator
    if separator is None:
        text = beginning.decode(encoding, errors="replace").removeprefix("\ufeff")
        separator = likely_separator(text, usual)
        if separator != usual:
            found.append(f"fields separated by {separator!r}")
    return Dialect(encoding, separator, reading.decimal, reading.thousands, found=tuple(found))


def read_beginning(file: pathlib.Path, size: int = _LOOKED_AT) -> bytes:
    """The first bytes of a file, decompressed; damage after them is not detected.

    Raises:
      DataError: The first bytes cannot be read.
    """
    try:
        with open_bytes(file) as source:
            return source.read(size)
    except EOFError:
        return b""
    except (OSError, zlib.error) as error:
        raise DataError(f"{file}: cannot be read: {error}; download it again") from error


def likely_separator(text: str, usual: str) -> str:
    r"""The separator that gives most rows of a text as many fields as the header, at least two.

    Args:
      text: The beginning of a table.
      usual: The separator if several are equally good, or if none gives two fields.

    Example:
      >>> likely_separator("a;b\n1,5;2\n3,5;4\n", usual=",")
      ';'
    """
    # The last line may be incomplete.
    lines = text.splitlines(keepends=True)
    whole = "".join(lines[:-1] if len(lines) > 1 else lines)
    best, best_share = usual, 0.0
    for separator in (usual, *(s for s in SEPARATORS if s != usual)):
        share = _share_of_equal(whole, separator)
        if share > best_share:
            best, best_share = separator, share
    return best


def _share_of_equal(text: str, separator: str) -> float:
    """The share of rows with as many fields as the header; 0 if the header has only one."""
    sizes = []
    try:
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator):
            if row:
                sizes.append(len(row))
            if len(sizes) > _ROWS:
                break
    except csv.Error:  # a cell is larger than the csv module allows
        pass
    if not sizes or sizes[0] < 2:
        return 0.0
    return sum(size == sizes[0] for size in sizes) / len(sizes)


def likely_decimal(columns: Sequence[Sequence[str]]) -> str:
    """The decimal mark of columns of numbers: a comma if only that makes the values numbers.

    A comma before exactly three digits may separate thousands. If all commas are of this kind, the
    decimal mark is a point.

    Args:
      columns: Some values of each column, as written in the file.

    Example:
      >>> likely_decimal([["1,5", "22,75"]]), likely_decimal([["1,000", "22,500"]])
      (',', '.')
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
