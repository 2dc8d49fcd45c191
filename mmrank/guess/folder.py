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

LOOKED_AT = 200  # names of media files that are looked for
TYPES = ("parquet", "csv", "tsv", "jsonl")


@dataclasses.dataclass(frozen=True)
class Folder:
    """What a folder holds.

    Attributes:
      tables: Its tables.
      told: What has to be told of a table's file, by its name.
      passed: Files that were not read, with why.
    """

    tables: tuple[Table, ...]
    told: Mapping[str, Mapping[str, str]]
    passed: tuple[str, ...]


def read_folder(folder: pathlib.Path) -> Folder:
    """The tables of a folder, read whole.

    Raises:
      DataError: There is no table.
    """
    tables, told, passed = [], {}, []
    for file in sorted(f for f in folder.iterdir() if f.is_file()):
        if file.name == SCHEMA_FILE or file.name.startswith("."):
            continue
        reading = _reading(file)
        if reading is None:
            continue
        try:
            prefixes = _families(file, reading)
            frame = read_table(file, [f"{p}*" for p in prefixes], told=reading)
        except DataError as error:
            passed.append(str(error).removeprefix(f"{folder}/"))
            continue
        if len(frame):
            tables.append(Table.of(file.name, frame))
            passed += [f"{what}" for what in frame.attrs.get(FOUND, ())]
            if reading.format is not None:
                told[file.name] = {"format": reading.format}
    if not tables:
        why = f" ({passed[0]})" if passed else ""
        raise DataError(f"{folder}: no table: a .csv, .tsv, .jsonl or .parquet file{why}")
    return Folder(tuple(tables), told, tuple(passed))


def _reading(file: pathlib.Path) -> Reading | None:
    """What has to be told for a file to be read; None for one that is no table."""
    kind = ending(file)
    if FORMAT_OF.get(kind) in TYPES:
        return Reading()
    if kind == ".json" and read_beginning(file, 4096).lstrip()[:1] == b"{":
        return Reading(format="jsonl")
    return None


def _families(file: pathlib.Path, reading: Reading) -> list[str]:
    """Beginnings of names that many keys of JSON lines have: read each alone, they fill memory."""
    if reading.format != "jsonl" and FORMAT_OF.get(ending(file)) != "jsonl":
        return []
    counts = collections.Counter(
        name.partition("_")[0] + "_" for name in columns_of(file, reading) if "_" in name
    )
    return [prefix for prefix, count in counts.items() if count >= FAMILY]


def find_media(folder: pathlib.Path, columns: Mapping[str, Sequence[str]]) -> tuple[str, set[str]]:
    """Where media files lie, relative to the folder, and the columns whose files are there.

    Args:
      folder: The folder.
      columns: Names of files by column, some of them.
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
    """Where files are called by items' ids, in words; None where they are not."""
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
            return f"{root} has files called by item, such as {example}, of {len(found):,} items"
    return None


def _roots(folder: pathlib.Path) -> list[str]:
    inside = sorted(folder.iterdir())
    archives = [f.name for f in inside if f.suffix.lower() == ".zip"]
    return [*archives, *(f.name for f in inside if f.is_dir()), "."]
