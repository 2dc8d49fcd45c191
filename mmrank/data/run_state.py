"""Reads the state of a run from its state.json, and finds tables that changed since it began."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from mmrank.config import ConfigError
from mmrank.data.embedding_cache import files_hash
from mmrank.data.findings import DataError
from mmrank.data.reading import parts_of
from mmrank.outputs import read_json, shown
from mmrank.schema import SCHEMA_FILE, Schema

DAMAGED = "restore a complete copy of the run, or train again with another --out"
_NUMBER = (int, float)
# The types of each key. A file with other keys or types is not a state.json of a run.
_TYPES: Mapping[str, tuple[type, ...]] = {
    "data": (str,),
    "epoch": (int,),
    "checkpoint": (str, type(None)),
    "best": _NUMBER,
    "best_weights": (str, type(None)),
    "waited": (int,),
    "finished": (bool,),
    "history": (list,),
    "init_from": (str, type(None)),
    "start": (list,),
    "tables": (dict,),
}
_FILES = ("checkpoint", "best_weights")


def check_run_folder(folder: pathlib.Path) -> None:
    """Checks that the folder of a run exists, before TensorFlow is imported.

    Raises:
      DataError: It does not exist.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; train a run with `python -m mmrank.train`")


def read_state(file: pathlib.Path) -> dict[str, Any]:
    """The content of a run's state.json, by the field names of `mmrank.training.state.State`.

    Raises:
      ConfigError: The file is damaged, or names files outside the run's folder. Such names are
        refused because the files of the last epoch are read, and deleted after the next epoch.
    """
    plain = read_json(file, DAMAGED)
    if not isinstance(plain, dict):
        raise ConfigError(f"{file}: damaged: {shown(plain)} is not the state of a run; {DAMAGED}")
    if "data" not in plain:
        raise ConfigError(f"{file}: damaged: the key data is missing; {DAMAGED}")
    for key, value in plain.items():
        types = _TYPES.get(key)
        if types is None or not isinstance(value, types):
            raise ConfigError(f"{file}: damaged: {shown(key)} is {shown(value)}; {DAMAGED}")
    for key in _FILES:
        path = pathlib.PurePath(plain.get(key) or ".")
        if path.is_absolute() or ".." in path.parts:
            raise ConfigError(
                f"{file}: {key} {shown(str(path))} is outside the run's folder; {DAMAGED}"
            )
    return plain


def table_hashes(folder: pathlib.Path, schema: Schema) -> dict[str, str]:
    """Hashes of the contents of a dataset's tables and schema, by the name of the file.

    Media are left out because they may be many, and the key of an embedding is already a hash of
    its file's bytes.

    Args:
      folder: The dataset. Files that do not exist are left out.
      schema: Its schema.
    """
    tables = (schema.catalog, schema.lists, schema.events)
    names = [t.file for t in tables if t is not None and t.file]
    names += [t.groups for t in tables if t is not None and t.groups]
    hashes = {}
    for name in (SCHEMA_FILE, *names):
        if (folder / name).exists() or "*" in name:
            hashes[name] = files_hash(parts_of(folder / name), folder)
    return hashes


def changed_tables(
    before: Mapping[str, str], folder: pathlib.Path, schema: Schema
) -> tuple[str, ...]:
    """The names of the tables that have changed since a run began.

    Args:
      before: The hashes in the `tables` of the run's state. They are empty for a run of a version
        that did not store them; then no table counts as changed.
      folder: The dataset.
      schema: Its schema.
    """
    if not before:
        return ()
    now = table_hashes(folder, schema)
    return tuple(n for n in sorted(now.keys() | before.keys()) if now.get(n) != before.get(n))
