"""Clips: decodes with PyAV a few frames of a video file, spread evenly over its duration."""

from __future__ import annotations

import contextlib
import dataclasses
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from mmrank.data.containers import open_container
from mmrank.data.findings import DataError
from mmrank.data.image_bounds import MAX_PIXELS
from mmrank.data.media import MAX_BYTES
from mmrank.outputs import install_command

MAX_SECONDS = 600
# Pixels of all frames, as all are decoded: about five minutes of 1080p at 30 frames per second.
MAX_DECODED_PIXELS = 2 * 10**10
# The share of the claimed duration that the file has to contain.
MIN_SHARE = 0.9
# Allowed formats, without playlists and the like, which make FFmpeg open other files and URLs.
FORMATS = "mov,matroska,gif,avi,mpegts,mpeg,flv,ogg"


class ClipError(ValueError):
    """A file that is not a usable clip; the message is the reason in a few words."""


@dataclasses.dataclass(frozen=True)
class _Extent:
    """The begin and end of a video in ticks, and whether its frames have times.

    Without times the ticks count frames.
    """

    start: int
    end: int
    timed: bool


def probe_video(data: bytes) -> str | None:
    """None for a complete video file within the bounds, else the fault in a few words.

    Raises:
      DataError: PyAV is not installed.
    """
    try:
        for _ in _spread(data, 1):  # decodes to the end, as damage may be anywhere
            pass
    except ClipError as error:
        return str(error)
    return None


def decode_clip(data: bytes, frames: int, height: int, width: int) -> np.ndarray:
    """Pixels [n, height, width, 3] uint8 of the frames in the middle of `frames` equal parts.

    Each frame is scaled to fit and padded with white, as photos are, which keeps its proportions. A
    frame that is in the middle of several parts occurs once, so n may be less than `frames`.

    Args:
      data: An MP4, WebM, GIF, AVI, MPEG, FLV or Ogg file.
      frames: Maximum number of frames.
      height, width: Pixels of each frame.

    Raises:
      ClipError: The file is not a video, is damaged, without frames, or exceeds the bounds.
      DataError: PyAV is not installed.
    """
    return np.stack([_fitted(f, pixel, height, width) for f, pixel in _spread(data, frames)])


def clip_strip(data: bytes, frames: int, height: int, width: int) -> bytes:
    """A PNG with a clip's frames below each other; arguments and errors are as in `decode_clip`."""
    pixels = decode_clip(data, frames, height, width)
    file = io.BytesIO()
    Image.fromarray(pixels.reshape(-1, width, 3)).save(file, "PNG", compress_level=1)
    return file.getvalue()


def _spread(data: bytes, count: int) -> Iterator[tuple[Any, float]]:
    """PyAV's frames in the middle of `count` equal parts of the duration.

    Each frame comes with the aspect ratio (width over height) of its pixels. The whole file is
    decoded; memory holds one frame at a time.
    """
    extent = _extent(data)
    part, shown = 0, None

    def due(tick: int) -> bool:
        # Whether the middle of the part is before the tick, in exact integer arithmetic.
        return 2 * count * (tick - extent.start) > (2 * part + 1) * (extent.end - extent.start)

    with _opened(data) as (container, stream):
        at, pixel = 0, float(stream.sample_aspect_ratio or 1)
        for frame in container.decode(stream):
            if frame.width * frame.height > MAX_PIXELS:
                raise ClipError(_too_large(frame.width * frame.height))
            tick, at = (frame.pts if extent.timed else at), at + 1
            if tick is None:
                continue
            before = part
            while shown is not None and part < count and due(tick):
                part += 1
            if part > before:
                yield shown, pixel
            shown = frame
    if shown is None:
        raise ClipError("no frames")
    if part < count:
        yield shown, pixel


def _extent(data: bytes) -> _Extent:
    """The extent of a video, read from its packets without decoding them.

    Raises:
      ClipError: The file has no packets, they end early, or they exceed the bounds.
    """
    start = end = last = None
    count, timed, seconds = 0, True, 0.0
    with _opened(data) as (container, stream):
        pixels = stream.codec_context.width * stream.codec_context.height
        claimed = (container.duration or 0) / 1e6
        if pixels > MAX_PIXELS:
            raise ClipError(_too_large(pixels))
        if claimed > MAX_SECONDS:
            raise ClipError(_too_long(claimed))
        begins = (container.start_time or 0) / 1e6
        for packet in container.demux():  # all streams, as sound may continue after the last frame
            if packet.is_corrupt:
                raise ClipError("truncated")
            if packet.pts is not None and packet.time_base is not None:
                over = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                seconds = max(seconds, over - begins)
            if packet.stream_index != stream.index or not packet.size or packet.is_discard:
                continue
            count += 1
            if count * pixels > MAX_DECODED_PIXELS:
                raise ClipError(f"too long: over {MAX_DECODED_PIXELS / 1e9:.0f} gigapixels")
            if packet.pts is None:
                timed = False
                continue
            start = packet.pts if start is None else min(start, packet.pts)
            last = packet.pts if last is None else max(last, packet.pts)
            until = packet.pts + (packet.duration or 0)
            end = until if end is None else max(end, until)
        if not count:
            raise ClipError("no frames")
        if not timed or start is None or end is None or last is None:
            return _Extent(0, count, False)
        if end == last:  # the last frame has no duration and gets the mean of the others
            end += max(1, (last - start) // max(1, count - 1))
        seconds = max(seconds, float(end * stream.time_base) - begins)
        if seconds > MAX_SECONDS:
            raise ClipError(_too_long(seconds))
        if seconds < MIN_SHARE * claimed:
            raise ClipError(f"truncated: has {seconds:.1f} of {claimed:.1f} seconds")
        return _Extent(start, end, True)


@contextlib.contextmanager
def _opened(data: bytes) -> Iterator[tuple[Any, Any]]:
    """The container and the first video stream of a file.

    Raises:
      ClipError: The file is not a video, or is found damaged while it is open.
    """
    av = _library()
    if not data:
        raise ClipError("empty file")
    if len(data) > MAX_BYTES:
        raise ClipError(f"larger than {MAX_BYTES / 2**20:.0f} MiB")
    if data[:4] == b"GIF8" and not data.rstrip(b"\0").endswith(b";"):
        raise ClipError("truncated")  # FFmpeg would decode the rest without an error
    try:
        container = open_container(data, FORMATS)
    except av.FFmpegError:
        # A truncated MP4 lacks its index, which is at the end.
        known = data[4:8] == b"ftyp"
        raise ClipError("truncated or damaged" if known else "not a video") from None
    with container:
        # A cover picture also is a video stream and is left out.
        streams = [
            s
            for s in container.streams.video
            if not s.disposition & av.stream.Disposition.attached_pic
        ]
        if not streams:
            raise ClipError("no video track")
        if streams[0].codec_context is None:
            raise ClipError("no decoder for its video track")
        try:
            yield container, streams[0]
        except av.FFmpegError as error:
            raise ClipError(f"damaged: {error.strerror}") from None


def _library() -> Any:
    try:
        import av
    except ImportError as error:
        raise DataError(
            f"reading clips needs PyAV, which is not installed: {install_command('video')}"
        ) from error
    return av


def _fitted(frame: Any, pixel: float, height: int, width: int) -> np.ndarray:
    """Pixels [height, width, 3] uint8 of a frame: rotated upright, scaled and padded."""
    clear = any(component.is_alpha for component in frame.format.components)
    picture = Image.fromarray(frame.to_ndarray(format="rgba" if clear else "rgb24"))
    if clear:
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    shape = np.array([picture.height, picture.width * pixel], np.float32)
    turns = round(frame.rotation / 90) % 4  # phones store rotated frames with the angle
    if turns % 2:
        shape = shape[::-1]
    scale = (np.array([height, width], np.float32) / shape).min()
    tall, wide = np.clip(np.round(shape * scale).astype(int), 1, [height, width])
    upright = picture.convert("RGB").rotate(90 * turns, expand=True)
    small = upright.resize((int(wide), int(tall)), Image.Resampling.BILINEAR)
    padded = Image.new("RGB", (width, height), "white")
    padded.paste(small, ((width - int(wide)) // 2, (height - int(tall)) // 2))
    return np.asarray(padded)


def _too_large(pixels: int) -> str:
    return f"too large: {pixels / 1e6:.0f} megapixels"


def _too_long(seconds: float) -> str:
    return f"too long: {seconds / 60:.0f} minutes; the most is {MAX_SECONDS / 60:.0f}"
