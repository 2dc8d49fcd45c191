"""The error of a schema, and what a message says about an unknown name."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

from mmrank.outputs import UserError

MOST_COMPARED = 100  # characters of an unknown name that are compared with the known names


class SchemaError(UserError):
    """A schema that cannot be used; the message says where and how to fix it."""

    __module__ = "mmrank.schema"  # tracebacks name the path that it is imported by


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold().strip()


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A suffix for an error message: the nearest known name, or all of them.

    Example:
      >>> did_you_mean("prise", ["price", "title"])
      "; did you mean 'price'?"
    """
    names = sorted(known)
    # Names in foreign data may be megabytes long, and comparison time is quadratic in the length.
    asked = str(name)[:MOST_COMPARED]
    same = [other for other in names if _folded(other[:MOST_COMPARED]) == _folded(asked)]
    near = same or difflib.get_close_matches(asked, names, n=1)
    if near and near[0] != asked and _composed(near[0]) == _composed(asked):
        return f"; did you mean {near[0]!r}, which looks the same but has another Unicode form?"
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known: {', '.join(names)}" if names else ""


def refuse_unknown(plain: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Checks that a mapping has known keys only.

    Args:
      plain: The mapping.
      known: The known keys.
      where: Start of the error message.

    Raises:
      SchemaError: A key is unknown.
    """
    for key in plain:
        if key not in set(known):
            raise SchemaError(f"{where}: unknown key {key!r}{did_you_mean(str(key), known)}")
