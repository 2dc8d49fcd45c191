"""Clips: which frames are used, how they are fitted, and which files are refused and why."""

from __future__ import annotations

import fractions
import io
import pathlib
import struct
import sys
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from mmrank.data import video
from mmrank.data.tables import DataError
from mmrank.data.video import ClipError, clip_strip, decode_clip, probe_video


def gif(levels: list[int], milliseconds: int | list[int] = 100, size: tuple[int, int] = (32, 32)):
    """An animated GIF whose frame i has the uniform grey level `levels[i]`."""
    frames = [Image.new("L", size, level) for level in levels]
    file = io.BytesIO()
    frames[0].save(
        file, "GIF", save_all=True, append_images=frames[1:], duration=milliseconds, loop=0
    )
    return file.getvalue()


def encoded(frames: list[np.ndarray], form: str = "mp4", codec: str = "mpeg4", **changes: Any):
    """A video with 10 frames a second, from pictures [height, width, 3] uint8."""
    file = io.BytesIO()
    with av.open(file, "w", format=form, options=changes.pop("options", {})) as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = frames[0].shape[:2] if frames else (32, 32)
        stream.pix_fmt = "yuv420p"
        for name, value in changes.items():
            setattr(stream.codec_context, name, value)
        if not frames:
            container.start_encoding()
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def greys(*levels: int) -> list[np.ndarray]:
    return [np.full([32, 32, 3], level, np.uint8) for level in levels]


def levels_of(clip: np.ndarray) -> list[float]:
    """The grey level of every frame; each frame must be uniform."""
    assert np.ptp(clip.astype(int), axis=(1, 2, 3)).max() <= 4
    return clip.mean(axis=(1, 2, 3)).tolist()


TEN = [20 * i for i in range(10)]


@pytest.mark.parametrize(
    ("frames", "chosen"),
    [
        (1, [5]),  # the middle of one second is where frame 5 begins
        (2, [2, 7]),  # .25 and .75 s
        (3, [1, 5, 8]),  # .167, .5 and .833 s
        (4, [1, 3, 6, 8]),  # .125, .375, .625 and .875 s
        (10, list(range(10))),
        (16, list(range(10))),  # no frame is used twice
    ],
)
@pytest.mark.parametrize("form", ["gif", "mp4", "webm"])
def test_frames_are_those_in_the_middle_of_equal_parts(form: str, frames: int, chosen: list[int]):
    codec = {"mp4": "mpeg4", "webm": "libvpx"}.get(form, "")
    data = gif(TEN) if form == "gif" else encoded(greys(*TEN), form, codec)
    given = levels_of(decode_clip(data, frames, 32, 32))
    assert np.round(np.array(given) / 20).tolist() == chosen
    np.testing.assert_allclose(given, [TEN[i] for i in chosen], atol=5)


def test_a_frame_counts_by_its_duration():
    data = gif([0, 100, 200], [100, 100, 800])  # one second in total
    assert levels_of(decode_clip(data, 4, 32, 32)) == [100, 200]  # at .125, .375, .625, .875 s
    assert levels_of(decode_clip(data, 10, 32, 32)) == [0, 100, 200]
    assert levels_of(decode_clip(data, 1, 32, 32)) == [200]


def test_a_file_without_a_duration():
    data = encoded(greys(*TEN), "webm", "libvpx", options={"live": "1"})
    with av.open(io.BytesIO(data)) as container:
        assert container.duration is None
    given = levels_of(decode_clip(data, 4, 32, 32))
    np.testing.assert_allclose(given, [20, 60, 120, 160], atol=5)
    assert probe_video(data) is None


def test_one_picture_is_a_clip_of_one_frame():
    assert levels_of(decode_clip(gif([90]), 8, 32, 32)) == [90]


@pytest.mark.parametrize(
    ("size", "rows", "columns"),
    [
        ((64, 32), slice(8, 24), slice(0, 32)),
        ((16, 64), slice(0, 32), slice(12, 20)),
        ((400, 1), slice(15, 16), slice(0, 32)),
    ],
)
def test_proportions_are_kept_and_the_rest_is_white(size, rows, columns):
    """Size of a black clip, and where it is placed: the same as for a photo."""
    expected = np.full([2, 32, 32, 3], 255)
    expected[:, rows, columns] = [[[[0]]], [[[50]]]]
    np.testing.assert_array_equal(decode_clip(gif([0, 50], size=size), 2, 32, 32), expected)


def test_non_square_pixels_keep_proportions():
    wide = encoded(greys(0, 0), sample_aspect_ratio=fractions.Fraction(2, 1))
    (given, _) = decode_clip(wide, 2, 32, 32)  # 32 x 32 pixels shown as 64 x 32
    assert (given[:8] == 255).all()
    assert (given[24:] == 255).all()
    assert given[8:24].max() <= 5


def test_a_rotated_clip_is_turned_upright():
    """The upper half is black; after a clockwise turn of 90 degrees the right half is."""
    picture = np.full([32, 64, 3], 255, np.uint8)
    picture[:16] = 0
    data = bytearray(encoded([picture, picture]))
    matrix = data.index(b"tkhd") + 4 + 40
    one = 1 << 16
    data[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 32 * one, 0, 1 << 30)
    (given, _) = decode_clip(bytes(data), 2, 64, 32)
    assert given[:, 17:].max() <= 8
    assert given[:, :15].min() >= 247


def test_a_transparent_clip_gets_a_white_background():
    frames = [Image.new("RGBA", (8, 8), (0, 0, 0, 0)) for _ in range(2)]
    for i, frame in enumerate(frames):
        frame.putpixel((i, 0), (9, 9, 9, 255))
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], disposal=2, duration=100)
    first, second = decode_clip(file.getvalue(), 2, 8, 8)
    assert (first[0, 0] == 9).all()
    assert (first[1:] == 255).all()
    assert (second[0, 1] == 9).all()


def test_the_strip_stacks_frames_vertically():
    data = gif([0, 70, 140, 210])
    strip = np.asarray(Image.open(io.BytesIO(clip_strip(data, 3, 32, 40))))
    assert strip.shape == (96, 40, 3)
    np.testing.assert_array_equal(strip.reshape(3, 32, 40, 3), decode_clip(data, 3, 32, 40))


NO_FRAME = b"GIF89a" + struct.pack("<HHBBB", 32, 32, 0, 0, 0) + b";"
WHOLE = encoded(greys(*TEN))


def of_size(width: int, height: int) -> bytes:
    """A GIF that declares the given size."""
    data = gif([0, 9])
    return data[:6] + struct.pack("<HH", width, height) + data[10:]


def sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000)
        stream.layout = "mono"
        silence = av.AudioFrame.from_ndarray(np.zeros([1, 4000], np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"no video" * 100, "not a video"),
        (b"#EXTM3U\n#EXTINF:10,\nother.ts\n#EXT-X-ENDLIST\n", "not a video"),  # opens other files
        (NO_FRAME, "no frames"),
        (encoded([]), "no video track"),  # an MP4 does not list a stream without frames
        (WHOLE[:300], "truncated or damaged"),
        (gif(TEN)[:-300], "truncated"),
        (encoded(greys(*TEN), "webm", "libvpx")[:-300], "truncated: has 0.[0-9] of 1.0 seconds"),
        (sound(), "no video track"),
        (of_size(20000, 5000), "too large: 100 megapixels"),
        (gif([0, 9], 400_000), "too long: 13 minutes; the most is 10"),
    ],
)
def test_unusable_clips_have_a_reason(data: bytes, reason: str):
    with pytest.raises(ClipError, match=f"^{reason}"):
        decode_clip(data, 4, 32, 32)
    assert str(probe_video(data)).startswith(reason.split("[")[0])


def test_bounds_on_the_file_and_on_all_frames(monkeypatch: pytest.MonkeyPatch):
    assert probe_video(WHOLE) is None
    with monkeypatch.context() as patch:
        patch.setattr(video, "MAX_BYTES", len(WHOLE) - 1)
        assert str(probe_video(WHOLE)).startswith("larger than")
    monkeypatch.setattr(video, "MAX_DECODED_PIXELS", 9 * 32 * 32)  # one frame too few
    assert str(probe_video(WHOLE)).startswith("too long")


def test_noise_in_a_file_is_refused_or_read():
    """Bytes changed and cut at random: a file that passes the probe can be decoded."""
    probability = np.random.default_rng(0)
    files = [WHOLE, gif(TEN), encoded(greys(*TEN), "webm", "libvpx")]
    passed = 0
    for turn in range(45):
        data = bytearray(files[turn % 3])
        for at in probability.integers(0, len(data), probability.integers(1, 40)):
            data[at] = probability.integers(256)
        reason = probe_video(bytes(data))
        if reason is None:
            assert decode_clip(bytes(data), 3, 32, 32).shape[1:] == (32, 32, 3)
            passed += 1
        else:
            with pytest.raises(ClipError):
                decode_clip(bytes(data), 3, 32, 32)
    assert 0 < passed < 45


def test_without_pyav_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        DataError, match=r"^reading clips needs PyAV.*pip install -e '\.\[video\]' in the folder"
    ):
        probe_video(WHOLE)


def test_a_real_clip(shared_data: pathlib.Path):
    file = shared_data / "video" / "archery.mp4"
    if not file.is_file():
        pytest.skip(f"no {file}")
    data = file.read_bytes()
    clip = decode_clip(data, 6, 48, 48)
    assert clip.shape == (6, 48, 48, 3)
    # 340 x 256 pixels leave white above and below; six moments of ten seconds are different.
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        tall = round(48 * stream.height / stream.width)
    edge = (48 - tall) // 2
    assert (clip[:, :edge] == 255).all()
    assert (clip[:, edge : edge + tall].mean(axis=(1, 2, 3)) < 230).all()
    differences = np.abs(np.diff(clip.astype(int), axis=0)).mean(axis=(1, 2, 3))
    assert (differences > 1).all()
    assert probe_video(data[: len(data) // 2]) == "truncated or damaged"
