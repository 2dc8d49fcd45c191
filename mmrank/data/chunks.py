"""Reads and writes tables in pieces, for files too large for memory."""

from __future__ import annotations

import pathlib
import zlib
from collections.abc import Collection, Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmrank.data.delimited import delimited_pieces
from mmrank.data.dialect import find_dialect
from mmrank.data.json_lines import json_pieces
from mmrank.data.reading import arrow_frame, columns_of
from mmrank.data.tables import DataError
from mmrank.schema import Reading

ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl")
BEGINNING = 1000  # lines of JSON that are read for the column names, as a line may lack some


def ending(path: pathlib.Path) -> str:
    """The ending of a table's file name, which gives the file's type; `.gz` is ignored.

    Raises:
      DataError: Tables of this type are not read and written in pieces.
    """
    suffixes = [s for s in path.suffixes if s != ".gz"]
    found = suffixes[-1] if suffixes else ""
    if found not in ENDINGS:
        raise DataError(f"{path}: unknown file type {found!r}; known: {', '.join(ENDINGS)}")
    return found


def read_chunks(
    path: pathlib.Path, rows: int, texts: Collection[str] = ()
) -> Iterator[pd.DataFrame]:
    """The rows of a table in their order, in pieces of at most `rows` rows.

    Cells of a .csv or .tsv stay text, so that a column has one type in every piece; an empty cell
    is missing. Only values that are floats are converted to floats.

    Args:
      path: A .parquet, .csv, .tsv or .jsonl file (the latter three may be gzipped).
      rows: Maximum rows of a piece.
      texts: Columns whose values are kept as the text in the file, such as ids.

    Raises:
      DataError: The file is missing, of unknown type, or cannot be read.
    """
    kind = ending(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if kind == ".parquet":
            for batch in pq.ParquetFile(path).iter_batches(batch_size=rows):
                table = pa.Table.from_batches([batch])
                yield arrow_frame(table, path, texts, nullable=table.column_names)
        elif kind == ".jsonl":
            yield from json_pieces(path, rows, texts)
        else:
            dialect = find_dialect(path, Reading(), "\t" if kind == ".tsv" else ",")
            for piece in delimited_pieces(path, dialect, rows):
                yield piece.to_pandas()
    except DataError:
        raise
    except (ValueError, OSError, EOFError, zlib.error, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as {kind}: {error}") from error


def columns_in(path: pathlib.Path) -> list[str]:
    """The names of a table's columns; for JSON lines, of the first `BEGINNING` lines only."""
    if ending(path) != ".jsonl":
        return columns_of(path)
    first = next(read_chunks(path, BEGINNING), pd.DataFrame())
    return [*map(str, first.columns)]


def count_rows(path: pathlib.Path) -> int | None:
    """The number of rows if the file's metadata has it, else None."""
    return pq.ParquetFile(path).metadata.num_rows if ending(path) == ".parquet" else None


class TableWriter:
    """Writes a table piece by piece; a context manager.

    Args:
      path: The file to write. `.gz` at the end of its name compresses a .csv, .tsv or .jsonl.
      kind: The `ending` of the file's final name, which chooses the format.
    """

    def __init__(self, path: pathlib.Path, kind: str):
        self.path, self._kind = path, kind
        self._parquet: pq.ParquetWriter | None = None
        self._first = True

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._parquet is not None:
            self._parquet.close()

    def write(self, piece: pa.Table) -> None:
        """Appends rows, which have the same columns as all rows before."""
        if self._kind == ".parquet":
            if self._parquet is None:
                self._parquet = pq.ParquetWriter(self.path, piece.schema)
            self._parquet.write_table(piece.cast(self._parquet.schema))
            return
        frame, mode = piece.to_pandas(), "w" if self._first else "a"
        if self._kind == ".jsonl":
            frame.to_json(self.path, orient="records", lines=True, force_ascii=False, mode=mode)
        else:
            sep = "\t" if self._kind == ".tsv" else ","
            frame.to_csv(self.path, sep=sep, index=False, header=self._first, mode=mode)
        self._first = False
