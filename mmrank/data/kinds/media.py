"""What kinds have in common whose values are files."""

from __future__ import annotations

import abc
import dataclasses
import os
import pathlib
from collections.abc import Mapping
from typing import Any, ClassVar

from mmrank.data.kinds.base import ONE_TEXT, Kind, RawForm
from mmrank.data.kinds.values import is_missing


class FileProblem(ValueError):
    """Raised for a file that cannot be used; the message is the reason in a few words."""


class TakenFile(bytes):
    """A file's bytes in the form that the graph takes: checked and converted already."""


@dataclasses.dataclass(frozen=True)
class MediaLimits:
    """Bounds of one file that a server decodes, the same as its `Limits` of these names."""

    clip_frames: int
    clip_megapixels: float
    sound_channels: int
    sound_megasamples: float


class MediaKind(Kind, abc.ABC):
    """A file, which the column names. A file that cannot be used is absent.

    Attributes:
      endings: Endings of the names of such files, by which a schema is guessed.
      picture: Whether a file is one picture, whose header gives its size in pixels. A server adds
        them up for all files of a request before it decodes any.
    """

    cells = ONE_TEXT
    media = True
    left_out = True
    endings: ClassVar[tuple[str, ...]] = ()
    picture: ClassVar[bool] = False

    @abc.abstractmethod
    def probe(self, data: bytes) -> str | None:
        """The fault of a file's bytes in a few words; None if the kind's encoder can read them.

        It never raises because of the content of a file.
        """

    def check_cost(self, data: bytes, limits: MediaLimits) -> None:  # noqa: B027 - no bound
        """Checks by the packets and headers of a file alone that decoding it is within limits.

        A file that cannot be read passes this check: its decoder will report the reason. Pictures
        are checked elsewhere.

        Raises:
          FileProblem: The file has too many frames, pixels, channels or samples.
        """

    def convert(self, data: bytes, facts: Mapping[str, Any]) -> bytes:
        """A file's bytes in the form that the graph takes, which may be a shorter file.

        Args:
          data: The file.
          facts: The values of the kind's `facts` in the card of an export.

        Raises:
          FileProblem: The file cannot be used.
        """
        problem = self.probe(data)
        if problem is not None:
            raise FileProblem(problem)
        return data

    def raw(self, value: Any, form: RawForm) -> Any:
        """The bytes of a file given by its path or its bytes; None if it is absent."""
        if is_missing(value):
            return None
        if isinstance(value, TakenFile):
            return bytes(value)
        data = _bytes(value, form.kind)
        if not data:
            return None
        try:
            return bytes(self.convert(data, form.facts))
        except FileProblem as error:
            raise ValueError(f"{error}; give another file, or leave it out") from None


def _bytes(value: Any, kind: str) -> bytes | None:
    if isinstance(value, (str, os.PathLike)):
        if not str(value):
            return None
        try:
            value = pathlib.Path(value).read_bytes()
        except OSError as error:
            raise ValueError(
                f"{value}: {error.strerror}; give the {kind} file's path or bytes, or leave it out"
            ) from error
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise ValueError(
            f"expected the bytes or the path of a file ({kind}), got {type(value).__name__}"
        )
    return bytes(value)
