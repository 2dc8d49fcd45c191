"""A media file as the graph takes it: checked, and a clip or a recording made short."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from mmrank.data.audio import SoundError, wav_of
from mmrank.data.media import as_shown
from mmrank.data.probes import PROBES
from mmrank.data.video import ClipError, clip_strip


@dataclasses.dataclass(frozen=True)
class FileForm:
    """What the graph takes in place of a file.

    Attributes:
      kind: Of the feature: image, video or audio.
      strip: Frames, height and width of the strip that it takes in place of a clip.
      wave: Rate and longest seconds of the WAV that it takes in place of a recording.
    """

    kind: str
    strip: Sequence[int] | None = None
    wave: Sequence[float] | None = None


class FileProblem(ValueError):
    """A file that cannot be used; the message is the reason in a few words."""


class TakenFile(bytes):
    """A file's bytes as `taken` has given them: nothing is left to be decoded."""


def taken(data: bytes, form: FileForm) -> TakenFile:
    """The file as the graph takes it.

    Raises:
      FileProblem: It cannot be used.
    """
    try:
        if form.strip is not None:
            frames, height, width = form.strip
            return TakenFile(clip_strip(data, frames, height, width))
        if form.wave is not None:
            rate, seconds = form.wave
            return TakenFile(wav_of(data, int(rate), seconds))
        problem = PROBES[form.kind](data)
    except (ClipError, SoundError) as error:
        problem = str(error)
    if problem is not None:
        raise FileProblem(problem)
    return TakenFile(as_shown(data) if form.kind == "image" else data)
