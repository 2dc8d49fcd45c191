"""Where a run stands, as its state.json says, and whether the tables it began with are the same."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping
from typing import Any

from mmrank.config import ConfigError
from mmrank.data.embedding_cache import files_hash
from mmrank.data.reading import parts_of
from mmrank.outputs import read_json, shown
from mmrank.schema import SCHEMA_FILE, Schema

DAMAGED = "put back a whole copy of the run, or train anew with another --out"
_NUMBER = (int, float)
# Of each key its types; what else stands there is another file's.
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


def read_state(file: pathlib.Path) -> dict[str, Any]:
    """What a run's state.json says, by the names of `mmrank.training.callbacks.State`.

    Raises:
      ConfigError: It is damaged, or names files that are not the run's: those of the last epoch are
        read, and deleted after the next.
    """
    plain = read_json(file, DAMAGED)
    if not isinstance(plain, dict):
        raise ConfigError(f"{file}: damaged: {shown(plain)} is no state; {DAMAGED}")
    if "data" not in plain:
        raise ConfigError(f"{file}: damaged: it names no data; {DAMAGED}")
    for key, value in plain.items():
        types = _TYPES.get(key)
        if types is None or not isinstance(value, types):
            raise ConfigError(f"{file}: damaged: {shown(key)} is {shown(value)}; {DAMAGED}")
    for key in _FILES:
        path = pathlib.PurePath(plain.get(key) or ".")
        if path.is_absolute() or ".." in path.parts:
            raise ConfigError(
                f"{file}: {key} {shown(str(path))} leads out of the run's folder; {DAMAGED}"
            )
    return plain


def table_hashes(folder: pathlib.Path, schema: Schema) -> dict[str, str]:
    """What tells the contents of a dataset apart, by the file in its folder: tables and schema.

    Media are left out, which may be many: an embedding knows its file by its bytes already.

    Args:
      folder: The dataset. What is not there is left out.
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
    """The names of the tables that are not those of a run, as its `tables` knows them.

    A run older than these knows none.
    """
    if not before:
        return ()
    now = table_hashes(folder, schema)
    return tuple(n for n in sorted(now.keys() | before.keys()) if now.get(n) != before.get(n))
