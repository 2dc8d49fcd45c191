"""The tables and media files in a folder."""

from __future__ import annotations

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from mmrank.data.dialect import read_beginning
from mmrank.data.media import MediaStore
from mmrank.data.reading import FORMAT_OF, FOUND, columns_of, ending, read_table
from mmrank.data.tables import DataError
from mmrank.guess.features import FAMILY
from mmrank.guess.profile import MEDIA, ending_of
from mmrank.guess.roles import Table
from mmrank.schema import SCHEMA_FILE, Reading

LOOKED_AT = 200  # names of media files to look for, for each column
TYPES = ("parquet", "csv", "tsv", "jsonl")


@dataclasses.dataclass(frozen=True)
class Folder:
    """The tables of a folder.

    Attributes:
      tables: The tables that could be read.
      readings: Options that the schema needs to read a table's file, by the file's name.
      passed: Notes on files that were not read and why, and on the dialects of files that were.
    """

    tables: tuple[Table, ...]
    readings: Mapping[str, Mapping[str, str]]
    passed: tuple[str, ...]


def read_folder(folder: pathlib.Path) -> Folder:
    """Reads all tables of a folder.

    Raises:
      DataError: The folder has no table.
    """
    tables, readings, passed = [], {}, []
    for file in sorted(f for f in folder.iterdir() if f.is_file()):
        if file.name == SCHEMA_FILE or file.name.startswith("."):
            continue
        reading = _reading(file)
        if reading is None:
            continue
        try:
            prefixes = _families(file, reading)
            frame = read_table(file, [f"{p}*" for p in prefixes], reading=reading)
        except DataError as error:
            passed.append(str(error).removeprefix(f"{folder}/"))
            continue
        if len(frame):
            tables.append(Table.of(file.name, frame))
            passed += [f"{what}" for what in frame.attrs.get(FOUND, ())]
            if reading.format is not None:
                readings[file.name] = {"format": reading.format}
    if not tables:
        why = f" ({passed[0]})" if passed else ""
        raise DataError(f"{folder}: has no table; add a .csv, .tsv, .jsonl or .parquet file{why}")
    return Folder(tuple(tables), readings, tuple(passed))


def _reading(file: pathlib.Path) -> Reading | None:
    """Returns the options for reading a file; None if the file is not a table."""
    kind = ending(file)
    if FORMAT_OF.get(kind) in TYPES:
        return Reading()
    if kind == ".json" and read_beginning(file, 4096).lstrip()[:1] == b"{":
        return Reading(format="jsonl")
    return None


def _families(file: pathlib.Path, reading: Reading) -> list[str]:
    """Returns the prefixes that many keys of a file of JSON lines share.

    A separate column for each such key would take too much memory.
    """
    if reading.format != "jsonl" and FORMAT_OF.get(ending(file)) != "jsonl":
        return []
    counts = collections.Counter(
        name.partition("_")[0] + "_" for name in columns_of(file, reading) if "_" in name
    )
    return [prefix for prefix, count in counts.items() if count >= FAMILY]


def find_media(folder: pathlib.Path, columns: Mapping[str, Sequence[str]]) -> tuple[str, set[str]]:
    """Finds media files.

    Args:
      folder: The folder.
      columns: Names of files by column; the first of them are looked for.

    Returns:
      The folder or archive of the media files, relative to `folder`, and the columns whose files
      exist there.
    """
    best: tuple[str, set[str]] = ("", set())
    for root in _roots(folder):
        store = MediaStore(folder / root)
        there = {
            column
            for column, names in columns.items()
            if np.mean([store.problem(name) is None for name in names[:LOOKED_AT]]) > 0.5
        }
        store.close()
        if len(there) > len(best[1]):
            best = root, there
    return best


def files_by_id(folder: pathlib.Path, ids: Sequence[str]) -> str | None:
    """Returns a sentence on media files that are named by items' ids; None if there are none."""
    some = set(ids)
    for root in _roots(folder):
        if root == ".":
            continue
        store = MediaStore(folder / root)
        named = [
            name for name in store.names() if any(ending_of(name) in e for e in MEDIA.values())
        ]
        store.close()
        found = {pathlib.PurePosixPath(name).stem for name in named} & some
        if len(found) > 0.5 * len(some):
            example = next(n for n in named if pathlib.PurePosixPath(n).stem in some)
            return f"{root} has files named by item, such as {example}, for {len(found):,} items"
    return None


def _roots(folder: pathlib.Path) -> list[str]:
    inside = sorted(folder.iterdir())
    archives = [f.name for f in inside if f.suffix.lower() == ".zip"]
    return [*archives, *(f.name for f in inside if f.is_dir()), "."]
