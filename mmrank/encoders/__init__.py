"""Encoders [N, ...] → [N, D], one file per kind of feature. They do not depend on lists.

The entry of a kind in `mmrank.data.kinds.KINDS` names the class of its encoder. A history has no
column, so its kind has no encoder here.
"""

from __future__ import annotations

import pkgutil

from mmrank.data.kinds import KINDS
from mmrank.encoders.base import FeatureKind
from mmrank.schema import SchemaError, did_you_mean

__all__ = ["HISTORY", "FeatureKind", "encoder_of"]

HISTORY = "history"


def encoder_of(kind: str) -> type[FeatureKind]:
    """Returns the class that reads, fits and encodes features of a kind; imports it if needed.

    Args:
      kind: The name of the kind, a key of `KINDS`.

    Raises:
      SchemaError: The kind is unknown, or is the history.
      TypeError: The entry of the kind names something other than a `FeatureKind`.

    Example:
      >>> encoder_of("number").__name__
      'Number'
    """
    if kind not in KINDS or not KINDS[kind].encoder:
        raise SchemaError(f"unknown kind {kind!r}{did_you_mean(kind, KINDS)}")
    path = KINDS[kind].encoder
    found = pkgutil.resolve_name(path)
    if not (isinstance(found, type) and issubclass(found, FeatureKind)):
        raise TypeError(f"kind {kind!r}: its encoder {path} is not a FeatureKind")
    return found
