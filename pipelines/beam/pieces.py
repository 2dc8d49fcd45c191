"""Tables in pieces that workers read separately, with the same rows as the whole table."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Collection, Iterable, Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmrank.data.columns import column_types, named_columns
from mmrank.data.reading import arrow_frame, columns_of, file_format, parts_of, read_table
from mmrank.data.tables import DataError
from mmrank.schema import Reading, Schema, did_you_mean


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some rows of a table: a row group of a parquet file, or a whole file of another type.

    Attributes:
      file: The file.
      group: Index of the row group; None for the whole file.
      start: Number of the table's rows before it.
      columns: Columns to read.
      nullable, objects: Columns of integers and of booleans of which a value is missing
        somewhere in the table.
      texts, numbers, reading: As for `read_table`.
    """

    file: pathlib.Path
    columns: tuple[str, ...]
    group: int | None = None
    start: int = 0
    nullable: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()
    numbers: tuple[str, ...] | None = None
    reading: Reading = Reading()

    def read(self) -> pd.DataFrame:
        """The rows, indexed by their number in the table.

        Raises:
          DataError: As `read_table`.
        """
        if self.group is None:
            frame = read_table(self.file, self.texts, numbers=self.numbers, reading=self.reading)
            return frame[list(self.columns)]
        prefixes = [name.removesuffix("*") for name in self.columns if name.endswith("*")]
        try:
            source = pq.ParquetFile(self.file)
            names = [n for n in columns_of(self.file) if n in self.columns or begins(n, prefixes)]
            table = source.read_row_group(self.group, names)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.file}: cannot be read as .parquet: {error}") from error
        frame = arrow_frame(
            table, self.file, self.texts, self.numbers or (), prefixes, self.nullable
        )[list(self.columns)]
        kinds = {c: "object" for c in self.objects if frame[c].dtype == bool}
        return frame.astype(kinds).set_axis(pd.RangeIndex(self.start, self.start + len(frame)))


def table_pieces(
    table: pathlib.Path,
    columns: Collection[str],
    texts: Collection[str] = (),
    numbers: Collection[str] | None = None,
    reading: Reading = Reading(),  # noqa: B008 - frozen
) -> list[Piece]:
    """The pieces of a table, in the order of its rows.

    Args:
      table: A file as for `read_table`, or a folder of .parquet parts.
      columns: Columns to read.
      texts, numbers, reading: As for `read_table`.

    Raises:
      DataError: A file or column does not exist, or a folder has no parts.
    """
    files = parts_of(table)
    for file in files:
        known = columns_of(file, reading)
        for column in columns:
            prefix = column.removesuffix("*")
            there = any(begins(n, [prefix]) for n in known) if prefix != column else column in known
            if not there:
                raise DataError(f"{file}: no column {column!r}{did_you_mean(column, known)}")
    wanted = tuple(dict.fromkeys(columns))
    kept = None if numbers is None else tuple(sorted(numbers))
    if file_format(table, files, reading) != "parquet":
        return [Piece(table, wanted, texts=tuple(sorted(texts)), numbers=kept, reading=reading)]
    sources = [pq.ParquetFile(file) for file in files]
    nullable, objects = _altered(sources, wanted)
    pieces, start = [], 0
    for file, source in zip(files, sources, strict=True):
        for group in range(source.num_row_groups):
            pieces.append(
                Piece(file, wanted, group, start, nullable, objects, tuple(sorted(texts)), kept)
            )
            start += source.metadata.row_group(group).num_rows
    return pieces


def begins(name: str, prefixes: Iterable[str]) -> bool:
    """Whether a column matches a name with `*`."""
    return any(name.startswith(prefix) for prefix in prefixes)


def schema_pieces(folder: pathlib.Path, schema: Schema, table: str) -> list[Piece]:
    """The pieces of a dataset's `catalog`, `lists` or `events`; empty without that table.

    Raises:
      SchemaError: The schema has a history but no events or no user column.
      DataError: As `table_pieces`.
    """
    spec = getattr(schema, table)
    if spec is None:
        return []
    columns = [column for name, column, _ in named_columns(schema) if name == table]
    single, texts, numbers = column_types(schema, table)
    return table_pieces(folder / spec.file, columns, single | texts, numbers, spec)


def row_count(pieces: list[Piece]) -> int:
    """The rows of a table."""
    return sum(
        len(p.read()) if p.group is None else pq.read_metadata(p.file).row_group(p.group).num_rows
        for p in pieces
    )


def _altered(
    sources: list[pq.ParquetFile], columns: Collection[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Columns of integers, and of booleans, in which a value is missing somewhere.

    NumPy cannot represent the missing value, so pandas must read them as nullable types.
    """
    fields = [f for f in sources[0].schema_arrow if f.name in columns]
    numbers = {f.name for f in fields if pa.types.is_integer(f.type)}
    truths = {f.name for f in fields if pa.types.is_boolean(f.type)}
    missing = {name for s in sources for name in _missing(s, numbers | truths)}
    return frozenset(numbers & missing), frozenset(truths & missing)


def _missing(source: pq.ParquetFile, names: Collection[str]) -> Iterator[str]:
    for group in range(source.num_row_groups):
        row_group = source.metadata.row_group(group)
        for at in range(row_group.num_columns):
            column = row_group.column(at)
            name = column.path_in_schema
            if name not in names:
                continue
            statistics = column.statistics
            if statistics is not None and statistics.has_null_count:
                count = statistics.null_count
            else:
                count = source.read_row_group(group, [name]).column(0).null_count
            if count:
                yield name
