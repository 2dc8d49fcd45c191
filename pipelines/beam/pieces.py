"""Tables in pieces that workers read each on their own, to the very rows of the whole table."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Collection, Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmrank.data.tables import DataError, columns_of, named_columns, read_table
from mmrank.schema import Schema, did_you_mean


@dataclasses.dataclass(frozen=True)
class Piece:
    """Some rows of a table: a row group of a parquet file, or the whole of another file.

    Attributes:
      file: The file.
      group: Number of its row group; None for the whole file.
      start: The table's rows before it.
      columns: What is read of it.
      floats, objects: Columns that a missing value elsewhere in the table makes those of floats or
        of objects.
      texts: Columns that stay text, as `read_table` takes them.
    """

    file: pathlib.Path
    columns: tuple[str, ...]
    group: int | None = None
    start: int = 0
    floats: frozenset[str] = frozenset()
    objects: frozenset[str] = frozenset()
    texts: tuple[str, ...] = ()

    def read(self) -> pd.DataFrame:
        """Its rows, indexed by their number in the table.

        Raises:
          DataError: As `read_table`.
        """
        if self.group is None:
            return read_table(self.file, self.texts)[list(self.columns)]
        try:
            source = pq.ParquetFile(self.file)
            frame = source.read_row_group(self.group, list(self.columns)).to_pandas()
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{self.file}: cannot be read as .parquet: {error}") from error
        kinds = {c: "float64" for c in self.floats if frame[c].dtype.kind in "iu"}
        kinds |= {c: "object" for c in self.objects if frame[c].dtype == bool}
        return frame.astype(kinds).set_axis(pd.RangeIndex(self.start, self.start + len(frame)))


def table_pieces(
    table: pathlib.Path, columns: Collection[str], texts: Collection[str] = ()
) -> list[Piece]:
    """The pieces of a table, in the order of its rows.

    Args:
      table: A file as `read_table` takes it, or a folder of .parquet parts.
      columns: What is read of it.
      texts: As `read_table` takes them.

    Raises:
      DataError: There is no such file or column, or a folder without parts.
    """
    files = sorted(table.glob("*.parquet")) if table.is_dir() else [table]
    if not files:
        raise DataError(f"{table}: a folder without .parquet files; name a table or its parts")
    for file in files:
        if not file.is_file():
            raise DataError(f"{file}: no such file; put it there or mend the name")
        known = columns_of(file)
        for column in columns:
            if column not in known:
                raise DataError(f"{file}: no column {column!r}{did_you_mean(column, known)}")
    wanted = tuple(dict.fromkeys(columns))
    if files[0].suffix != ".parquet":
        return [Piece(table, wanted, texts=tuple(texts))]
    sources = [pq.ParquetFile(file) for file in files]
    floats, objects = _altered(sources, wanted)
    pieces, start = [], 0
    for file, source in zip(files, sources, strict=True):
        for group in range(source.num_row_groups):
            pieces.append(Piece(file, wanted, group, start, floats, objects))
            start += source.metadata.row_group(group).num_rows
    return pieces


def schema_pieces(folder: pathlib.Path, schema: Schema, table: str) -> list[Piece]:
    """The pieces of a dataset's `catalog`, `lists` or `events`; none without that table.

    Raises:
      SchemaError: A history without events or without the user's column.
      DataError: As `table_pieces`.
    """
    place = getattr(schema, table)
    if place is None:
        return []
    ids = [getattr(place, role, None) for role in ("item", "list", "user")]
    columns = [column for name, column, _ in named_columns(schema) if name == table]
    return table_pieces(folder / place.file, columns, [name for name in ids if name is not None])


def row_count(pieces: list[Piece]) -> int:
    """The rows of a table."""
    return sum(
        len(p.read()) if p.group is None else pq.read_metadata(p.file).row_group(p.group).num_rows
        for p in pieces
    )


def _altered(
    sources: list[pq.ParquetFile], columns: Collection[str]
) -> tuple[frozenset[str], frozenset[str]]:
    """Columns of whole numbers, and of truths, in which a value is missing somewhere.

    NumPy has no missing number, so that pandas reads them as floats and as objects.
    """
    fields = [f for f in sources[0].schema_arrow if f.name in columns]
    numbers = {f.name for f in fields if pa.types.is_integer(f.type)}
    truths = {f.name for f in fields if pa.types.is_boolean(f.type)}
    missing = {name for s in sources for name in _missing(s, numbers | truths)}
    return frozenset(numbers & missing), frozenset(truths & missing)


def _missing(source: pq.ParquetFile, names: Collection[str]) -> Iterator[str]:
    for group in range(source.num_row_groups):
        told = source.metadata.row_group(group)
        for at in range(told.num_columns):
            column = told.column(at)
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
