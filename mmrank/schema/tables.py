"""The tables of a dataset: their files, how these are read, and their columns."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any

from mmrank.outputs import shown
from mmrank.schema.errors import SchemaError, did_you_mean, refuse_unknown

FORMATS = ("parquet", "csv", "tsv", "jsonl", "svmlight")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
    """How the file of a table is read. What is left out is detected from the file itself.

    Attributes:
      format: parquet, csv, tsv, jsonl or svmlight, where the file's ending says something else.
      encoding: Encoding of a text file, such as latin-1. By default UTF-8, or the encoding that
        the file's first bytes indicate.
      separator: The one character between two fields of a csv or tsv.
      decimal: Decimal mark of a csv or tsv, `.` or `,`.
      thousands: Separator between groups of three digits in a csv or tsv; by default none.
      groups: File with the sizes of the lists of an svmlight file without qid, one per line.

    Example:
      >>> Reading(encoding="latin-1", decimal=",").check("catalog")
      >>> Reading(decimal=";").check("catalog")
      Traceback (most recent call last):
      mmrank.schema.SchemaError: catalog.decimal: ...
    """

    format: str | None = None
    encoding: str | None = None
    separator: str | None = None
    decimal: str | None = None
    thousands: str | None = None
    groups: str | None = None

    def check(self, where: str) -> None:
        """Checks that the values are possible.

        Args:
          where: The table, which a message begins with.

        Raises:
          SchemaError: A value is not possible.
        """
        if self.format is not None and self.format not in FORMATS:
            near = did_you_mean(self.format, FORMATS)
            raise SchemaError(f"{where}.format: unknown format {self.format!r}{near}")
        if self.encoding is not None:
            try:
                "".encode(self.encoding)
            except LookupError:
                raise SchemaError(
                    f"{where}.encoding: unknown encoding {self.encoding!r}; use utf-8, latin-1, "
                    "cp1252, gbk or another that Python knows"
                ) from None
        if self.separator is not None and (len(self.separator) != 1 or self.separator in '"\r\n'):
            raise SchemaError(
                f"{where}.separator: {self.separator!r} is not a single character; "
                'a tab is written "\\t"'
            )
        if self.decimal not in (None, ".", ","):
            raise SchemaError(f"{where}.decimal: {self.decimal!r} must be '.' or ','")
        if self.thousands is not None and (
            self.thousands not in (".", ",", "'", " ") or self.thousands == (self.decimal or ".")
        ):
            raise SchemaError(
                f"{where}.thousands: {self.thousands!r} must be one of . , ' and a space, and "
                "differ from the decimal mark"
            )


READING_KEYS = {f.name for f in dataclasses.fields(Reading)}
# The keys that tidy a table, each with the only value that it can have.
TIDYING = {"repeated": "first", "short": "drop"}


@dataclasses.dataclass(frozen=True)
class Catalog(Reading):
    """The table with one row per item.

    Attributes:
      file, item: The table, and its column of item ids.
      repeated: `first` to take the first of several rows of an item, for example where the rows of
        the lists contain the catalogue; otherwise several rows are an error.

    Example:
      >>> Catalog(file="products.csv", item="sku").decimal is None  # detected from the file
      True
    """

    file: str = "catalog.parquet"
    item: str = "item_id"
    repeated: str | None = None


@dataclasses.dataclass(frozen=True)
class Lists(Reading):
    """The table with one row per candidate of a list. `None` marks an optional column left out.

    Attributes:
      file: The table; empty for a catalogue without lists, which can be encoded but not trained on.
      list, item, user, time, split: Its columns.
      repeated: `first` to take the first of several rows of an item in one list; otherwise several
        rows are an error.
      short: `drop` to leave out lists of one candidate; otherwise such lists are an error.

    Example:
      >>> lists = Lists(file="judged.csv", list="search_id", item="sku")
      >>> lists.user is None, lists.split is None  # users are unknown, and a hash of the id splits
      (True, True)
    """

    file: str = "lists.parquet"
    list: str = "list_id"
    item: str = "item_id"
    user: str | None = None
    time: str | None = None
    split: str | None = None
    repeated: str | None = None
    short: str | None = None


@dataclasses.dataclass(frozen=True)
class Events(Reading):
    """The table with one row per event: who did what with which item, and when.

    Example:
      >>> Events(file="log.jsonl", type=None).time  # all events are of one type
      'time'
    """

    file: str = "events.parquet"
    user: str = "user_id"
    item: str = "item_id"
    type: str | None = "event_type"
    time: str = "time"


def table_from_dict(kind: type, plain: Any, where: str) -> Any:
    """The table that a schema describes.

    Args:
      kind: Catalog, Lists or Events.
      plain: Its entry in the schema: a mapping, the name of the file, or None for the defaults.
      where: The key of the table, which messages begin with.

    Raises:
      SchemaError: A key is unknown, or a value is not possible.
    """
    if plain is None:
        return kind()
    if isinstance(plain, str):
        return kind(file=plain)
    if not isinstance(plain, Mapping):
        raise SchemaError(f"{where}: expected a file name or a mapping, got {shown(plain)}")
    hints = typing.get_type_hints(kind)
    refuse_unknown(plain, hints, where)
    for key, value in plain.items():
        optional = types.NoneType in typing.get_args(hints[key])
        if not isinstance(value, str) and not (value is None and optional):
            raise SchemaError(f"{where}.{key}: expected a text, got {shown(value)}")
    table = kind(**plain)
    table.check(where)
    for key, word in TIDYING.items():
        if plain.get(key) not in (None, word):
            raise SchemaError(f"{where}.{key}: expected {word!r}, got {shown(plain[key])}")
    return table
