"""Sounds: decodes a recording of any common format to mono samples at one rate, or to a WAV.

libsndfile decodes WAV, FLAC, Ogg, AIFF and MP3. PyAV, if installed, decodes MP4, AAC and WebM.
"""

from __future__ import annotations

import io
import itertools
import math
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy.io import wavfile

from mmrank.data.containers import open_container
from mmrank.data.findings import DataError
from mmrank.data.media import MAX_BYTES
from mmrank.outputs import install_command

MAX_SECONDS = 600
MIN_RATE, MAX_RATE = 4_000, 192_000  # samples per second
MAX_CHANNELS = 32
BLOCK = 1 << 18  # samples of every channel decoded at a time
# Formats that PyAV may open. Playlists and the like would make FFmpeg open other files and URLs.
FORMATS = "mov,matroska,aac"
_MP4, _MATROSKA = b"ftyp", b"\x1aE\xdf\xa3"


class SoundError(ValueError):
    """A file that is not a usable recording; the message is the reason in a few words."""


def probe_audio(data: bytes) -> str | None:
    """None for a complete recording of at most `MAX_SECONDS`, else the fault in a few words.

    Raises:
      DataError: soundfile is not installed.
    """
    try:
        _decoded(data, 0)
    except SoundError as error:
        return str(error)
    return None


def decode_sound(data: bytes, rate: int, seconds: float) -> np.ndarray:
    """Samples [n] float32 in [−1, 1] of the beginning of a recording, channels averaged.

    Args:
      data: The file's bytes. All of them are decoded, so that damage is found anywhere in the file.
      rate: Samples per second of the result; other rates are resampled by a polyphase filter.
      seconds: Length of the beginning that is kept; n is at most round(seconds · rate).

    Raises:
      SoundError: The file is not a sound, is damaged, truncated, without samples, or exceeds the
        bounds.
      DataError: soundfile is not installed.
    """
    samples, given = _decoded(data, seconds)
    if given != rate:
        from scipy.signal import resample_poly  # slow to import

        common = math.gcd(given, rate)
        samples = resample_poly(samples, rate // common, given // common)
    return np.clip(samples[: round(seconds * rate)], -1, 1).astype(np.float32)


def wav_of(data: bytes, rate: int, seconds: float) -> bytes:
    """A mono 16-bit PCM WAV of the beginning of a recording.

    Arguments and errors are those of `decode_sound`. If `data` is already such a WAV with this
    rate, every sample keeps its value.
    """
    samples = decode_sound(data, rate, seconds)
    whole = np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)
    file = io.BytesIO()
    wavfile.write(file, rate, whole)
    return file.getvalue()


def _decoded(data: bytes, seconds: float) -> tuple[np.ndarray, int]:
    """The samples [n] of a little more than the first `seconds` of a recording, and its rate."""
    if not data:
        raise SoundError("empty file")
    if len(data) > MAX_BYTES:
        raise SoundError(f"larger than {MAX_BYTES / 2**20:.0f} MiB")
    blocks = _av_blocks(data) if _for_av(data) else _blocks(data)
    kept: list[np.ndarray] = []
    count, rate = 0, 0
    for block, rate in blocks:
        count += len(block)
        if count > MAX_SECONDS * rate:
            raise SoundError(_too_long(count / rate))
        if not np.isfinite(block).all():
            raise SoundError("damaged: some samples are not finite")
        # The resampling filter needs samples a little past the end.
        if count - len(block) < (seconds + 0.1) * rate:
            kept.append(block.mean(axis=1))
    if not count:
        raise SoundError("no samples")
    samples = np.concatenate(kept) if kept else np.zeros(0, np.float32)
    return samples[: math.ceil((seconds + 0.1) * rate)], rate


def _blocks(data: bytes) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks [n, channels] float32 that libsndfile decodes, each with the rate."""
    soundfile = _library()
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            rate, claimed = file.samplerate, file.frames
            _check_claims(rate, file.channels, claimed)
            if _ends_early(data):
                raise SoundError("truncated")
            count = 0
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                count += len(block)
                yield block, rate
            if count < claimed:
                raise SoundError(f"truncated: has {count} of {claimed} samples")
    except soundfile.LibsndfileError as error:
        known = data[:4] in (b"RIFF", b"fLaC", b"OggS", b"FORM")
        reason = str(error.error_string).rstrip(".").lower()
        raise SoundError(f"damaged: {reason}" if known else "not a sound") from None


def _check_claims(rate: int, channels: int, frames: int) -> None:
    """Refuses a recording whose header claims more than the bounds allow, before decoding it."""
    if not MIN_RATE <= rate <= MAX_RATE:
        raise SoundError(f"{rate} samples a second; use {MIN_RATE} to {MAX_RATE}")
    if channels > MAX_CHANNELS:
        raise SoundError(f"{channels} channels; use {MAX_CHANNELS} or fewer")
    if frames > MAX_SECONDS * rate:
        raise SoundError(_too_long(frames / rate))


def _ends_early(data: bytes) -> bool:
    """Whether a RIFF or Ogg file is shorter than it claims, which libsndfile does not report."""
    if data[:4] == b"RIFF":
        (size,) = struct.unpack_from("<I", data, 4)
        # A stream of unknown length claims 0 or the largest size. Some files count a padding byte.
        return size < 2**31 - 1 and size + 8 > len(data) + 1
    if data[:4] == b"OggS":
        at = data.rfind(b"OggS")
        if len(data) < at + 27:
            return True
        last, segments = data[at + 5] & 4, data[at + 26]
        body = sum(data[at + 27 : at + 27 + segments])
        return not last or len(data) < at + 27 + segments + body
    return False


def _for_av(data: bytes) -> bool:
    """Whether the file is an MP4, a WebM or bare AAC, which libsndfile cannot read."""
    aac = data[0] == 0xFF and len(data) > 1 and data[1] & 0xF6 == 0xF0
    return data[4:8] == _MP4 or data[:4] == _MATROSKA or aac


def _av_blocks(data: bytes) -> Iterator[tuple[np.ndarray, int]]:
    """Blocks [n, 1] float32 that PyAV decodes, each with the rate."""
    try:
        import av
    except ImportError:
        raise SoundError(
            f"MP4, AAC or WebM, which needs PyAV: {install_command('video')}"
        ) from None
    try:
        with open_container(data, FORMATS) as container:
            if not container.streams.audio:
                raise SoundError("no sound track")
            stream = container.streams.audio[0]
            claimed = (container.duration or 0) / 1e6
            _check_claims(stream.rate, stream.channels, int(claimed * stream.rate))
            mono = av.AudioResampler(format="flt", layout="mono", rate=stream.rate)
            seconds = 0.0
            # None flushes the samples that the resampler still holds.
            for frame in itertools.chain(container.decode(stream), [None]):
                for part in mono.resample(frame):
                    seconds += part.samples / stream.rate
                    yield part.to_ndarray().reshape(-1, 1), stream.rate
            if seconds < 0.9 * claimed:
                raise SoundError(f"truncated: has {seconds:.1f} of {claimed:.1f} seconds")
    except av.FFmpegError as error:
        raise SoundError(f"damaged: {error.strerror}") from None


def _library() -> Any:
    try:
        import soundfile
    except ImportError as error:
        raise DataError(
            f"reading sounds needs soundfile, which is not installed: {install_command('audio')}"
        ) from error
    return soundfile


def _too_long(seconds: float) -> str:
    return f"too long: {seconds / 60:.0f} minutes; the most is {MAX_SECONDS / 60:.0f}"
