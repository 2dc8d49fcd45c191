"""Recordings, given by files."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from mmrank.data.audio import SoundError, probe_audio, wav_of
from mmrank.data.containers import CONTAINERS, open_container
from mmrank.data.kinds.media import FileProblem, MediaKind, MediaLimits


class AudioKind(MediaKind):
    """A recording; a missing or broken file is absent."""

    sides = ("query", "item")
    encoder = "mmrank.encoders.audio:Audio"
    facts = ("wave",)
    endings = (".wav", ".flac", ".ogg", ".mp3", ".aiff")

    def probe(self, data: bytes) -> str | None:
        return probe_audio(data)

    def check_cost(self, data: bytes, limits: MediaLimits) -> None:
        check_sound(data, limits)

    def convert(self, data: bytes, facts: Mapping[str, Any]) -> bytes:
        """A WAV of the beginning, of which `facts` gives sampling rate and maximal seconds."""
        rate, seconds = facts["wave"]
        try:
            return wav_of(data, int(rate), seconds)
        except SoundError as error:
            raise FileProblem(str(error)) from error

    def options(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        return dict(zip(("rate", "seconds"), facts["wave"], strict=True))


def check_sound(data: bytes, limits: MediaLimits) -> None:
    """Checks the number of channels and samples of a recording by its header; as `check_cost`."""
    channels, samples = _sound(data)
    if channels > limits.sound_channels:
        raise FileProblem(f"{channels} channels; send at most {limits.sound_channels}")
    if channels * samples > limits.sound_megasamples * 1e6:
        raise FileProblem(
            f"too long: {channels * samples / 1e6:,.0f} million samples in {channels} channels; "
            f"the most is {limits.sound_megasamples:,g}"
        )


def _sound(data: bytes) -> tuple[int, int]:
    """Returns the number of channels and of samples per channel, by the header; 0 if unknown."""
    import soundfile

    try:
        info = soundfile.info(io.BytesIO(data))
    except (RuntimeError, OSError, ValueError):
        return _compressed_sound(data)
    return info.channels, info.frames


def _compressed_sound(data: bytes) -> tuple[int, int]:
    try:
        import av
    except ImportError:
        return 0, 0
    try:
        with open_container(data, CONTAINERS) as container:
            if not container.streams.audio:
                return 0, 0
            stream = container.streams.audio[0]
            seconds = (container.duration or 0) / 1e6
            return stream.channels, int(seconds * (stream.rate or 0))
    except av.FFmpegError:
        return 0, 0
