"""Reads tables of every file type as data frames. A new type needs one entry in `_READERS`."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from mmrank.data.attributes import attribute_lines
from mmrank.data.conversion import MISSING, arrow_texts, as_numbers_where_all, texts_of
from mmrank.data.delimited import ending, header, read_delimited, refuse_repeated
from mmrank.data.dialect import find_dialect, likely_decimal
from mmrank.data.findings import DataError
from mmrank.data.json_lines import keys_of, read_json_lines
from mmrank.data.svmlight import COLUMNS, read_svmlight
from mmrank.outputs import one_line
from mmrank.schema import Reading

FORMAT_OF = {
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".txt": "svmlight",
    ".svm": "svmlight",
    ".svmlight": "svmlight",
}
FOUND = "found"
"""Key in a frame's `attrs` for what was detected in its files, as text."""
_MANY = "*"


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """The arguments of `read_table` that say what is read; see there."""

    texts: frozenset[str]
    without: frozenset[str]
    numbers: frozenset[str] | None
    prefixes: tuple[str, ...]
    reading: Reading


def read_table(
    path: pathlib.Path,
    texts: Collection[str] = (),
    without: Collection[str] = (),
    *,
    numbers: Collection[str] | None = None,
    reading: Reading = Reading(),  # noqa: B008 - frozen
) -> pd.DataFrame:
    r"""The rows of a table: parquet, csv, tsv, JSON lines or svmlight, a file or many of one type.

    Every type except parquet may be gzipped. A folder means all files in it, and a name with `*`
    means all files that match, in the order of their names. Only an empty cell is missing; `NA` and
    `null` are words, except in a column of numbers. Only numbers are converted to floats.

    Args:
      path: The file, the folder, or the name with `*`.
      texts: Columns whose values are kept as the text in the file, such as ids: `007`, `1.10`. A
        name that ends in `*`, such as `attr_*`, means all columns with that prefix. They become one
        column of that name, whose values are the lines that `mmrank.data.attributes` makes.
      without: Columns that are left out, if the table has them.
      numbers: Columns of a text table that are numbers; a column with a value that is not a number
        stays as it is. All other columns stay text. None is for a table whose schema is unknown:
        every column becomes numbers unless that changes a text, as it would `007`.
      reading: What the schema gives because the file itself does not reveal it.

    Returns:
      The frame; `attrs["found"]` describes what was detected of each file's dialect.

    Raises:
      DataError: A file is missing, of unknown type, or cannot be read.

    Example:
      >>> import pathlib
      >>> _ = pathlib.Path("products.csv").write_text("sku,price\n007,9.5\n008,12\n")
      >>> table = read_table(pathlib.Path("products.csv"), texts=["sku"], numbers=["price"])
      >>> table["sku"].tolist(), table["price"].tolist()
      (['007', '008'], [9.5, 12.0])
    """
    prefixes = tuple(name.removesuffix(_MANY) for name in texts if name.endswith(_MANY))
    wanted = _Wanted(
        frozenset(texts),
        frozenset(without),
        None if numbers is None else frozenset(numbers),
        prefixes,
        reading,
    )
    files = parts_of(path)
    kind = file_format(path, files, reading)
    return _READERS[kind](files, wanted)


def columns_of(path: pathlib.Path, reading: Reading = Reading()) -> list[str]:  # noqa: B008 - frozen
    """The names of a table's columns, read from the beginning of its first file.

    Raises:
      DataError: A file is missing, of unknown type, or cannot be read.
    """
    files = parts_of(path)
    kind = file_format(path, files, reading)
    if kind == "svmlight":
        return [*COLUMNS]
    if kind == "jsonl":
        return keys_of(files[0], reading.encoding or "utf-8")
    if kind == "parquet":
        return _parquet_names(files[0])
    return header(files[0], find_dialect(files[0], reading, _SEPARATOR[kind]))


def parts_of(path: pathlib.Path) -> list[pathlib.Path]:
    """The files of a table, in the order of their names.

    Raises:
      DataError: The table has no file.
    """
    if path.is_file():
        return [path]
    if path.is_dir():
        # Files such as _SUCCESS and .part-0.crc are marks of the writer and not parts.
        found = [f for f in path.iterdir() if f.is_file() and f.name[0] not in "._"]
        if not found:
            raise DataError(
                f"{path}: a folder without files; give a table, or the folder of its parts"
            )
        return sorted(found)
    if _MANY in path.name:
        found = [f for f in path.parent.glob(path.name) if f.is_file()]
        if found:
            return sorted(found)
    raise DataError(f"{path}: no such file, but the schema names it; add it or fix the name")


def file_format(path: pathlib.Path, files: Sequence[pathlib.Path], reading: Reading) -> str:
    """The type of a table's files, a key of `_READERS`.

    Raises:
      DataError: The type is unknown, or the files are of several types.
    """
    if reading.format is not None:
        return reading.format
    endings = sorted({ending(file) for file in files})
    unknown = next((e for e in endings if e not in FORMAT_OF), None)
    if unknown is not None:
        where = path if path.is_file() else next(f for f in files if ending(f) == unknown)
        raise DataError(
            f"{where}: unknown file type {unknown!r}; known: {', '.join(FORMAT_OF)}; for another "
            "ending set `format` in the schema"
        )
    kinds = sorted({FORMAT_OF[e] for e in endings})
    if len(kinds) > 1:
        raise DataError(
            f"{path}: a folder with files of several types, {' and '.join(endings)}; keep one "
            "type, or select it by a pattern such as DIR/*.parquet"
        )
    return kinds[0]


_SEPARATOR = {"csv": ",", "tsv": "\t"}


def _delimited(usual: str) -> Callable[[Sequence[pathlib.Path], _Wanted], pd.DataFrame]:
    def read(files: Sequence[pathlib.Path], wanted: _Wanted) -> pd.DataFrame:
        frames, found = [], []
        for file in files:
            dialect = find_dialect(file, wanted.reading, usual)
            table, dialect = read_delimited(file, dialect)
            frame = table.drop_columns(
                [name for name in table.column_names if name in wanted.without]
            ).to_pandas()
            frames.append(_packed(frame, wanted.prefixes))
            found += [f"{file.name}: {what}" for what in dialect.found]
        frame = _joined(files, frames)
        columns = [c for c in frame if c not in wanted.texts and not c.endswith(_MANY)]
        if wanted.numbers is not None:
            columns = [c for c in columns if c in wanted.numbers]
        decimal = wanted.reading.decimal
        if decimal is None:
            sample = [frame[c].dropna().head(5_000).tolist() for c in columns]
            if wanted.numbers is None:
                sample = [values for values in sample if _all_numbers(values)]
            decimal = likely_decimal(sample)
            if decimal != ".":
                found.append(f"{files[0].name}: decimal commas")
        for column in columns:
            if wanted.numbers is None and not _faithful(frame[column]):
                continue
            frame[column] = as_numbers_where_all(
                frame[column], decimal, wanted.reading.thousands, truths=wanted.numbers is not None
            )
        frame.attrs[FOUND] = tuple(found)
        return frame

    return read


def _all_numbers(values: Iterable[str]) -> bool:
    values = list(values)
    return bool(values) and all(v.lstrip("+-").replace(",", "", 1).isdigit() for v in values)


def _faithful(column: pd.Series) -> bool:
    """Whether a column has values, and none changes its text as a number, as `007` would."""
    values = column.mask(column.isin(MISSING)).dropna()
    return bool(len(values)) and not values.str.match(r"^[+-]?0\d").any()


def _json_lines(files: Sequence[pathlib.Path], wanted: _Wanted) -> pd.DataFrame:
    packed = {prefix: _packer(prefix) for prefix in wanted.prefixes}
    encoding = wanted.reading.encoding or "utf-8"
    frames = [
        read_json_lines(file, encoding, wanted.texts, wanted.without, packed) for file in files
    ]
    frame = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    for column in wanted.numbers or ():
        if column in frame:
            frame[column] = as_numbers_where_all(frame[column], truths=True)
    return frame


def _parquet(files: Sequence[pathlib.Path], wanted: _Wanted) -> pd.DataFrame:
    return _joined(files, [_parquet_file(file, wanted) for file in files])


def _parquet_file(file: pathlib.Path, wanted: _Wanted) -> pd.DataFrame:
    names = [name for name in _parquet_names(file) if name not in wanted.without]
    try:
        table = pq.ParquetFile(file).read(columns=names)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: cannot be read as .parquet: {error}; download it again"
        ) from error
    return arrow_frame(table, file, wanted.texts, wanted.numbers or frozenset(), wanted.prefixes)


def arrow_frame(
    table: pa.Table,
    file: pathlib.Path,
    texts: Collection[str],
    numbers: Collection[str] = (),
    prefixes: Sequence[str] = (),
    nullable: Collection[str] = (),
) -> pd.DataFrame:
    """An Arrow table as a frame, by the rules of `read_table`.

    Args:
      table: The table.
      file: Its file, for messages.
      texts, numbers: As for `read_table`.
      prefixes: Prefixes of the columns that are packed into one column each.
      nullable: Columns that get a dtype with missing values in any case, so that all parts of a
        table have the same dtypes.

    Raises:
      DataError: A column of texts holds bytes that are not UTF-8.
    """
    columns = {}
    for name in table.column_names:
        values = table[name]
        try:
            values.validate(full=True)  # pandas would decode a text only when it is used
            if name in texts:
                columns[name] = arrow_texts(values).to_pandas()
            elif name in numbers:
                columns[name] = _arrow_numbers(values)
                if name in nullable and columns[name].dtype.kind in "iu":
                    columns[name] = columns[name].astype("float64")
            else:
                # NumPy has no missing integer, and a float does not hold all integers.
                missing = values.null_count or name in nullable
                exact = missing and pa.types.is_integer(values.type)
                columns[name] = values.to_pandas(types_mapper=_NULLABLE.get if exact else None)
        except (pa.ArrowException, UnicodeDecodeError) as error:
            # The writer may have stored bytes as text without checking them.
            row = _first_no_text(values)
            what = f"{one_line(error)}; write the column again"
            if row is not None:
                what = f"row {row + 1}: bytes that are not UTF-8; write it as UTF-8 text"
            raise DataError(f"{file}: column {name!r}: {what}") from error
    frame = pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))
    return _packed(frame, prefixes)


def _first_no_text(values: pa.ChunkedArray) -> int | None:
    """The index of the first row whose bytes are not UTF-8; None without one, or without bytes."""
    if pa.types.is_dictionary(values.type):
        values = pa.chunked_array([chunk.dictionary_decode() for chunk in values.chunks])
    try:
        rows = values.cast(pa.large_binary())
    except pa.ArrowException:
        return None
    for row, value in enumerate(rows):
        try:
            (value.as_py() or b"").decode()
        except UnicodeDecodeError:
            return row
    return None


_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
}


def _arrow_numbers(values: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    series = values.to_pandas()
    return series if series.dtype.kind in "iufb" else as_numbers_where_all(series, truths=True)


def _parquet_names(file: pathlib.Path) -> list[str]:
    try:
        names = pq.read_schema(file).names
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{file}: cannot be read as .parquet: {error}; download it again"
        ) from error
    refuse_repeated(file, names)
    # pandas stores unnamed indices, such as row numbers, in columns that are not part of the data.
    return [name for name in names if not name.startswith("__index_level_")]


def _svmlight(files: Sequence[pathlib.Path], wanted: _Wanted) -> pd.DataFrame:
    groups = wanted.reading.groups
    frame = read_svmlight(files, None if groups is None else files[0].parent / groups)
    return frame.drop(columns=[c for c in wanted.without if c in frame])


_READERS: Mapping[str, Callable[[Sequence[pathlib.Path], _Wanted], pd.DataFrame]] = {
    "parquet": _parquet,
    "csv": _delimited(","),
    "tsv": _delimited("\t"),
    "jsonl": _json_lines,
    "svmlight": _svmlight,
}


def _joined(files: Sequence[pathlib.Path], frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    if len(frames) == 1:
        return frames[0]
    for file, frame in zip(files, frames, strict=True):
        differing = set(frame.columns) ^ set(frames[0].columns)
        if differing:
            raise DataError(
                f"{file}: its columns differ from those of {files[0].name}: "
                f"{', '.join(sorted(map(str, differing))[:5])}; all parts need the same columns"
            )
    return pd.concat(frames, ignore_index=True)


def _packed(frame: pd.DataFrame, prefixes: Sequence[str]) -> pd.DataFrame:
    """The frame in which one column of lines replaces all columns with a prefix."""
    for prefix in prefixes:
        names = [name for name in frame if str(name).startswith(prefix)]
        if not names:
            continue
        pack, columns = _packer(prefix), [texts_of(frame[name]).tolist() for name in names]
        lines = [pack(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
        frame = frame.drop(columns=names)
        frame[f"{prefix}{_MANY}"] = pd.Series(lines, index=frame.index, dtype=object)
    return frame


def _packer(prefix: str) -> Callable[[Mapping[str, Any]], str]:
    def pack(row: Mapping[str, Any]) -> str:
        return attribute_lines({key.removeprefix(prefix): value for key, value in row.items()})

    return pack
