"""Recordings: formats, rates, channels, and the reasons why a recording is unusable."""

from __future__ import annotations

import builtins
import io
import pathlib
import struct
import wave
from typing import Any

import numpy as np
import pytest
import soundfile

from mmrank.data import audio
from mmrank.data.audio import SoundError, decode_sound, probe_audio, wav_of
from mmrank.data.kinds.audio import AudioKind
from mmrank.data.tables import DataError

RATE = 8000


def tone(hertz: float = 440.0, seconds: float = 0.5, rate: int = RATE) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def encoded(samples: np.ndarray, rate: int = RATE, form: str = "WAV", **options: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, **options)
    return file.getvalue()


def mp4(samples: np.ndarray, rate: int) -> bytes:
    """The samples, encoded as AAC in an MP4."""
    av = pytest.importorskip("av")
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples.astype(np.float32)[None], "fltp", "mono")
        frame.sample_rate = rate
        for f in (frame, None):
            for packet in stream.encode(f):
                container.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "AIFF"])
def test_formats_give_the_same_sound(form: str) -> None:
    data = encoded(tone(), form=form)
    assert probe_audio(data) is None
    decoded = decode_sound(data, RATE, 9.0)
    assert decoded.dtype == np.float32
    assert decoded.shape == (RATE // 2,)
    # Vorbis is slightly lossy, above all at the ends; the other formats round to 16 bits.
    middle = slice(400, -400)
    bound = 0.05 if form == "OGG" else 1 / 32768
    assert np.abs(decoded - tone())[middle].max() <= bound


@pytest.mark.parametrize("rate", [16000, 44100, 11025])
def test_another_rate_is_resampled(rate: int) -> None:
    decoded = decode_sound(encoded(tone(rate=rate), rate), RATE, 9.0)
    assert abs(len(decoded) - RATE // 2) <= 1
    middle = slice(200, RATE // 2 - 200)
    assert np.abs(decoded[middle] - tone()[middle]).max() < 0.01


def test_frequencies_above_the_rate_are_removed() -> None:
    """A tone of 6 kHz is above half of 8,000 samples a second, and does not appear as an alias."""
    decoded = decode_sound(encoded(tone(6000, rate=44100), 44100), RATE, 9.0)
    assert np.abs(decoded[200:-200]).max() < 0.01


def test_channels_are_averaged() -> None:
    both = np.stack([tone(), -tone() / 2], axis=1)
    np.testing.assert_allclose(decode_sound(encoded(both), RATE, 9.0), tone() / 4, atol=1 / 32768)


def test_the_beginning_is_kept() -> None:
    whole = decode_sound(encoded(tone(rate=44100), 44100), RATE, 9.0)
    np.testing.assert_allclose(
        decode_sound(encoded(tone(rate=44100), 44100), RATE, 0.2), whole[:1600], atol=1e-6
    )


def test_a_wav_of_the_required_format_keeps_every_sample() -> None:
    samples = np.random.default_rng(0).integers(-32768, 32768, 900).astype(np.int16)
    made = wav_of(encoded(samples), RATE, 9.0)
    with wave.open(io.BytesIO(made)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        np.testing.assert_array_equal(np.frombuffer(file.readframes(999), "<i2"), samples)
    assert wav_of(made, RATE, 9.0) == made


def test_an_mp4_is_read_by_pyav() -> None:
    data = mp4(tone(rate=16000), 16000)
    assert probe_audio(data) is None
    decoded = decode_sound(data, RATE, 9.0)
    assert len(decoded) == pytest.approx(RATE // 2, rel=0.3)  # the codec pads
    peak = np.abs(np.fft.rfft(decoded)).argmax() * RATE / len(decoded)
    assert peak == pytest.approx(440, abs=5)
    reason = probe_audio(data[: len(data) // 2])
    assert reason is not None
    assert reason.startswith(("damaged", "truncated"))


def test_without_pyav_an_mp4_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "av")
    reason = probe_audio(b"\0\0\0\x20ftypM4A \0\0\0\0")
    assert reason.startswith(
        "MP4, AAC or WebM, which needs PyAV: pip install -e '.[video]' in the folder"
    )


def test_without_soundfile_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "soundfile")
    with pytest.raises(DataError, match=r"pip install -e '\.\[audio\]'"):
        probe_audio(encoded(tone()))


def without(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Makes the import of one package fail."""
    real = builtins.__import__

    def refusing(name: str, *rest: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refusing)


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.97])
def test_a_truncated_recording_is_found(form: str, kept: float) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 3 * RATE)
    data = encoded(noise, form=form)
    reason = probe_audio(data[: int(len(data) * kept)])
    assert reason is not None
    assert reason.startswith(("truncated", "damaged"))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_stream_of_unknown_length_passes(size: int) -> None:
    data = bytearray(encoded(tone()))
    struct.pack_into("<I", data, 4, size)
    assert probe_audio(bytes(data)) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"<html>404</html>", "not a sound"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "not a sound"),
        (b"RIFF\x10\0\0\0WAVEnothing", "damaged"),
        (encoded(np.zeros(0)), "no samples"),
        (encoded(np.full(99, np.nan), subtype="FLOAT"), "not finite"),
        (encoded(tone(), rate=1000), "1000 samples a second; use 4000 to 192000"),
        (b"\xff\xf1" + bytes(60), "damaged"),
    ],
)
def test_unusable_recordings_have_a_reason(data: bytes, reason: str) -> None:
    if data[:2] == b"\xff\xf1":
        pytest.importorskip("av")
    found = probe_audio(data)
    assert found is not None
    assert reason in found
    assert AudioKind().probe(data) == found
    with pytest.raises(SoundError, match=reason.split(";")[0]):
        decode_sound(data, RATE, 1.0)


def test_an_hour_of_silence_in_few_bytes_is_too_long() -> None:
    """Its length is known from the header or, without it, from the samples."""
    silence = encoded(np.zeros(3600 * 4000, np.int16), 4000, "FLAC")
    assert len(silence) < 300_000
    assert probe_audio(silence) == "too long: 60 minutes; the most is 10"
    unknown = bytearray(silence)
    unknown[21] &= 0xF0  # 36 bits of STREAMINFO hold the number of samples; 0 means unknown
    unknown[22:26] = bytes(4)
    reason = probe_audio(bytes(unknown))
    assert reason is not None
    assert reason.startswith("too long")


def test_a_file_over_the_bound_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio, "MAX_BYTES", 2**20)
    assert probe_audio(bytes(2**20 + 1)) == "larger than 1 MiB"


def test_real_recordings(shared_data: pathlib.Path) -> None:
    """All are 8 kHz, mono and 16 bit, and last 0.16 to 1.02 seconds."""
    files = sorted((shared_data / "spoken_digits" / "recordings").glob("*.wav"))[::20]
    if not files:
        pytest.skip("no spoken digits there")
    for file in files:
        data = file.read_bytes()
        assert probe_audio(data) is None, file
        decoded = decode_sound(data, 16000, 2.0)
        assert 0.15 * 16000 < len(decoded) < 1.03 * 16000
        assert 0.001 < np.abs(decoded).max() <= 1
