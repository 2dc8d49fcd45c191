"""Which towers give vectors that can be compared: an id that an importer writes beside each.

Towers that were trained together have one id, made of the files that both came from. Nothing is
ever concluded from vectors that happen to be equally wide.
"""

from __future__ import annotations

import json
import pathlib

from mmrank.config import ConfigError

SPACE_FILE = "aligned.json"
_KEY = "space"


def write_space(folder: pathlib.Path, space: str) -> None:
    """Marks the folder of a tower with the id of its space."""
    (folder / SPACE_FILE).write_text(json.dumps({_KEY: space}), encoding="utf-8")


def space_of(folder: pathlib.Path) -> str:
    """The id of the space of a tower's vectors; empty for a tower that stands alone.

    Raises:
      ConfigError: The file that should say it says something else.
    """
    file = folder / SPACE_FILE
    if not file.is_file():
        return ""
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: not JSON that can be read: {error}") from error
    space = said.get(_KEY) if isinstance(said, dict) else None
    if not isinstance(space, str) or not space:
        raise ConfigError(
            f"{file}: names no space; import the towers anew with `python -m mmrank.import_encoder`"
        )
    return space
