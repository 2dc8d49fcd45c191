"""Prepares media files for the graph: checks them, and shortens clips and recordings."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from mmrank.data.kinds import KINDS
from mmrank.data.kinds.media import FileProblem as FileProblem  # what `taken` raises
from mmrank.data.kinds.media import MediaKind, TakenFile


@dataclasses.dataclass(frozen=True)
class FileForm:
    """The form in which the graph takes a file.

    Attributes:
      kind: The feature's kind: image, video or audio.
      facts: What the kind needs to convert a file, such as the size of the strip that replaces a
        clip: the values of its `facts`, as JSON.
    """

    kind: str
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def media(self) -> MediaKind:
        """The kind itself.

        Raises:
          TypeError: It is not a kind of files.
        """
        kind = KINDS.get(self.kind)
        if not isinstance(kind, MediaKind):
            raise TypeError(f"{self.kind!r} is not a kind whose values are files")
        return kind


def taken(data: bytes, form: FileForm) -> TakenFile:
    """Returns the file in the form that the graph takes.

    Raises:
      FileProblem: The file cannot be used.
      TypeError: The kind is not a kind of files.
    """
    return TakenFile(form.media.convert(data, form.facts))
