"""Marks towers whose vectors can be compared, by an id that an importer writes to each folder.

Towers that were trained together have one id, made from the files of both. Equal width of vectors
alone never means that they can be compared.
"""

from __future__ import annotations

import json
import pathlib

from mmrank.config import ConfigError

SPACE_FILE = "aligned.json"
_KEY = "space"


def write_space(folder: pathlib.Path, space: str) -> None:
    """Writes the id of a tower's vector space to its folder."""
    (folder / SPACE_FILE).write_text(json.dumps({_KEY: space}), encoding="utf-8")


def space_of(folder: pathlib.Path) -> str:
    """Returns the id of a tower's vector space; empty if no other tower shares it.

    Raises:
      ConfigError: The file that should hold the id does not.
    """
    file = folder / SPACE_FILE
    if not file.is_file():
        return ""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: not readable JSON: {error}") from error
    space = stored.get(_KEY) if isinstance(stored, dict) else None
    if not isinstance(space, str) or not space:
        raise ConfigError(
            f"{file}: has no entry space; import the towers again with `python -m "
            "mmrank.import_encoder`"
        )
    return space
