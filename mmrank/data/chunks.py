"""A table read piece by piece, for files that outgrow memory."""

from __future__ import annotations

import csv
import pathlib
from collections.abc import Iterator

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmrank.data.dialect import find_dialect
from mmrank.data.tables import DataError, columns_of
from mmrank.schema import Reading

ENDINGS = (".parquet", ".csv", ".tsv", ".jsonl")
BEGINNING = 1000  # lines, of which any may lack some columns


def ending(path: pathlib.Path) -> str:
    """The type of a table by its name, `.gz` left out.

    Raises:
      DataError: It is none that is read and written in pieces.
    """
    suffixes = [s for s in path.suffixes if s != ".gz"]
    found = suffixes[-1] if suffixes else ""
    if found not in ENDINGS:
        raise DataError(f"{path}: unknown file type {found!r}; known: {', '.join(ENDINGS)}")
    return found


def read_chunks(path: pathlib.Path, rows: int) -> Iterator[pd.DataFrame]:
    """The rows of a table in their order, at most so many at a time.

    Cells of a .csv or .tsv stay text, so that a column is the same in every piece; an empty cell is
    missing.

    Args:
      path: A .parquet, .csv, .tsv or .jsonl file (the latter three may be gzipped).
      rows: Rows of a piece.

    Raises:
      DataError: The file is missing, of unknown type, or cannot be read.
    """
    kind = ending(path)
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    try:
        if kind == ".parquet":
            for batch in pq.ParquetFile(path).iter_batches(batch_size=rows):
                yield batch.to_pandas()
        elif kind == ".jsonl":
            with pd.read_json(
                path, lines=True, dtype=False, convert_dates=False, chunksize=rows
            ) as pieces:
                yield from pieces
        else:
            dialect = find_dialect(path, Reading(), "\t" if kind == ".tsv" else ",")
            with pd.read_csv(
                path,
                sep=dialect.separator,
                quoting=csv.QUOTE_MINIMAL if dialect.quoted else csv.QUOTE_NONE,
                dtype=str,
                keep_default_na=False,
                na_values=[""],
                encoding="utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding,
                chunksize=rows,
            ) as pieces:
                yield from pieces
    except (ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: cannot be read as {kind}: {error}") from error


def columns_in(path: pathlib.Path) -> list[str]:
    """The names of a table's columns; of JSON lines those of its beginning, as far as they go."""
    if ending(path) != ".jsonl":
        return columns_of(path)
    first = next(read_chunks(path, BEGINNING), pd.DataFrame())
    return [*map(str, first.columns)]


def count_rows(path: pathlib.Path) -> int | None:
    """The number of rows where the file tells it, else None."""
    return pq.ParquetFile(path).metadata.num_rows if ending(path) == ".parquet" else None


class TableWriter:
    """Writes a table piece by piece; a context manager.

    Args:
      path: Where to; its ending says how, `.gz` after .csv, .tsv or .jsonl packs it.
      kind: What `ending` gave of the final name.
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
        """Appends rows, of the same columns as all before."""
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
