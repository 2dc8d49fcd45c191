"""What decoding a clip or a recording would cost, from its packets and headers alone."""

from __future__ import annotations

import dataclasses
import io
from typing import Any

from mmrank.serving.files import FileForm, FileProblem

FORMATS = "mov,matroska,gif,avi,mpegts,mpeg,flv,ogg,aac"
MEGA = 1_000_000


@dataclasses.dataclass(frozen=True)
class MediaLimits:
    """Bounds of one file; fields of the server's `Limits` of these names."""

    clip_frames: int
    clip_megapixels: float
    sound_channels: int
    sound_megasamples: float


def check_media(data: bytes, form: FileForm, limits: MediaLimits) -> None:
    """Nothing, if a clip or a recording may be decoded; of an image others see to it.

    A file that cannot be read passes, since its decoder will say why.

    Raises:
      FileProblem: It has too many frames, pixels, channels or samples.
    """
    if form.kind == "video":
        _check_clip(data, limits)
    elif form.kind == "audio":
        _check_sound(data, limits)


def _check_clip(data: bytes, limits: MediaLimits) -> None:
    import av

    try:
        with _opened(av, data) as container:
            if not container.streams.video:
                return
            stream = container.streams.video[0]
            context = stream.codec_context
            pixels = 0 if context is None else context.width * context.height
            frames = 0
            for packet in container.demux(stream):
                frames += bool(packet.size)
                if frames > limits.clip_frames:
                    raise FileProblem(f"too long: more than {limits.clip_frames:,} frames")
                if frames * pixels > limits.clip_megapixels * MEGA:
                    raise FileProblem(
                        f"too large: more than {limits.clip_megapixels:,g} megapixels in all frames"
                    )
    except av.FFmpegError:
        return


def _check_sound(data: bytes, limits: MediaLimits) -> None:
    channels, samples = _sound(data)
    if channels > limits.sound_channels:
        raise FileProblem(f"{channels} channels; send at most {limits.sound_channels}")
    if channels * samples > limits.sound_megasamples * MEGA:
        raise FileProblem(
            f"too long: {channels * samples / MEGA:,.0f} million samples in {channels} channels; "
            f"the most is {limits.sound_megasamples:,g}"
        )


def _sound(data: bytes) -> tuple[int, int]:
    """Channels, and samples of each, as far as a header says."""
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
        with _opened(av, data) as container:
            if not container.streams.audio:
                return 0, 0
            stream = container.streams.audio[0]
            seconds = (container.duration or 0) / 1e6
            return stream.channels, int(seconds * (stream.rate or 0))
    except av.FFmpegError:
        return 0, 0


def _opened(av: Any, data: bytes) -> Any:
    # Playlists and the like would make FFmpeg open other files and addresses.
    return av.open(
        io.BytesIO(data), options={"format_whitelist": FORMATS}, metadata_errors="ignore"
    )
