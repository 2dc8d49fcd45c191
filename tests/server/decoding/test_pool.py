"""Files decoded in other processes: limited by their headers, and stopped at a deadline."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmrank.data.audio import wav_of
from mmrank.data.video import clip_strip
from mmrank.server.decoding.pool import DecodingPool, SentFile
from mmrank.server.errors import ServingError
from mmrank.server.guard.options import Limits
from mmrank.server.rank_options import RankOptions
from mmrank.serving.files import FileForm

PHOTO = FileForm("image")
CLIP = FileForm("video", {"strip": (2, 8, 8)})
SOUND = FileForm("audio", {"wave": (8_000, 1.0)})
LIMITS = Limits(
    image_megapixels=30,
    request_megapixels=60,
    request_files=4,
    clip_frames=6,
    clip_megapixels=0.01,
    sound_channels=2,
    sound_megasamples=0.02,
)


def png(side: int = 8) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (side, side), (9, 8, 7)).save(file, "PNG")
    return file.getvalue()


def gif(frames: int, side: int = 16) -> bytes:
    file = io.BytesIO()
    shown = [Image.new("L", (side, side), 40 * i) for i in range(frames)]
    shown[0].save(file, "GIF", save_all=True, append_images=shown[1:], duration=100)
    return file.getvalue()


def sound(channels: int = 1, samples: int = 8_000, form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros([samples, channels]), 8_000, format=form)
    return file.getvalue()


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodingPool]:
    made = DecodingPool(RankOptions(decoders=1, decoding_waiting=3), LIMITS)
    made.prepare()
    yield made
    made.close()


def taken(pool: DecodingPool, *files: tuple[FileForm, bytes], seconds: float = 60) -> list[bytes]:
    sent = [SentFile(f"candidate {i}: file", data, form) for i, (form, data) in enumerate(files)]

    async def go() -> list[bytes]:
        made = list(await pool.taken(sent, time.monotonic() + seconds))
        return made

    return asyncio.run(settled(pool, go))


async def settled(pool: DecodingPool, job: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """The job's result, returned once the process is free again."""
    try:
        return await job()
    finally:
        await asyncio.sleep(0)
        while len(pool._free) < len(pool._processes):
            await asyncio.sleep(0.01)


def refused(pool: DecodingPool, *files: tuple[FileForm, bytes], seconds: float = 60) -> str:
    with pytest.raises(ServingError) as caught:
        taken(pool, *files, seconds=seconds)
    return f"{caught.value.code}: {caught.value.message}"


def test_files_are_the_same_as_without_the_pool(pool: DecodingPool) -> None:
    photo, clip, recording = png(), gif(3), sound()
    assert taken(pool, (PHOTO, photo), (CLIP, clip), (SOUND, recording)) == [
        photo,
        clip_strip(clip, 2, 8, 8),
        wav_of(recording, 8_000, 1.0),
    ]
    said = refused(pool, (PHOTO, photo), (PHOTO, photo[:-20]))
    assert said == (
        "INVALID_ARGUMENT: candidate 1: file: truncated; give another file, or leave it out"
    )
    assert "not a video" in refused(pool, (CLIP, b"no clip"))
    assert "not a sound" in refused(pool, (SOUND, b"no sound"))


@pytest.mark.parametrize(
    ("form", "data", "said"),
    [
        (CLIP, gif(7), "too long: more than 6 frames"),
        (CLIP, gif(5, 64), "too large: more than 0.01 megapixels in all frames"),
        (SOUND, sound(3), "3 channels; send at most 2"),
        (SOUND, sound(2, 10_001), "too long: 0 million samples in 2 channels"),
        (SOUND, sound(2, 10_001, "FLAC"), "too long: 0 million samples in 2 channels"),
    ],
)
def test_clips_and_sounds_are_bounded_by_their_headers(
    pool: DecodingPool, form: FileForm, data: bytes, said: str
) -> None:
    assert said in refused(pool, (form, data))


def test_photos_are_bounded_before_any_is_decoded(pool: DecodingPool) -> None:
    def header(width: int, height: int) -> bytes:
        data = png()
        return data[:16] + width.to_bytes(4, "big") + height.to_bytes(4, "big") + data[24:]

    assert "too large: 31 megapixels" in refused(pool, (PHOTO, header(31_000, 1_000)))
    three = [(PHOTO, header(21_000, 1_000))] * 3
    assert "63 megapixels together; the most of a request is 60" in refused(pool, *three)
    assert "5 files in one request; the most is 4" in refused(pool, *[(PHOTO, png())] * 5)


def pid(pool: DecodingPool) -> int:
    (process,) = pool._processes
    assert process._process is not None
    return process._process.pid


def test_the_deadline_ends_decoding(pool: DecodingPool) -> None:
    before = pid(pool)
    os.kill(before, signal.SIGSTOP)  # like a file whose decoding never ends
    started = time.monotonic()
    said = refused(pool, (PHOTO, png()), seconds=0.3)
    assert said == "DEADLINE_EXCEEDED: the deadline passed before the answer was ready"
    with pytest.raises(ProcessLookupError):
        os.kill(before, 0)
    assert time.monotonic() - started < 60
    assert pid(pool) != before  # restarted before the next request needs it
    assert taken(pool, (PHOTO, png())) == [png()]


def test_decoding_has_its_own_time_limit() -> None:
    pool = DecodingPool(RankOptions(decoders=1, decoding_seconds=0.2), LIMITS)
    pool.prepare()
    os.kill(pid(pool), signal.SIGSTOP)
    said = refused(pool, (PHOTO, png()))
    assert said.startswith("INVALID_ARGUMENT: candidate 0: file: the files take more than 0.2 s")
    pool.close()


def test_a_decoder_that_dies_fails_its_request_only(pool: DecodingPool) -> None:
    os.kill(pid(pool), signal.SIGSTOP)

    async def scene() -> None:
        file = SentFile("query: photo", png(), PHOTO)
        work = asyncio.create_task(pool.taken([file], time.monotonic() + 60))
        while pool._free:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        os.kill(pid(pool), signal.SIGKILL)
        with pytest.raises(ServingError, match="query: photo: its decoder failed; give another"):
            await work

    asyncio.run(settled(pool, scene))
    assert taken(pool, (PHOTO, png())) == [png()]


def test_memory_is_bounded() -> None:
    pool = DecodingPool(RankOptions(decoders=1, decoder_megabytes=20), LIMITS)
    pool.prepare()
    assert taken(pool, (PHOTO, png(100))) == [png(100)]
    # It takes 111 MiB: more than the limit plus the 64 MiB that glibc may have reserved before.
    said = refused(pool, (PHOTO, png(5_400)))
    assert "candidate 0: file: " in said
    assert said.startswith("INVALID_ARGUMENT")
    assert taken(pool, (PHOTO, png(100))) == [png(100)]
    pool.close()


def test_cheap_requests_go_first_and_the_queue_is_bounded(pool: DecodingPool) -> None:
    order: list[int] = []

    async def scene() -> None:
        end = time.monotonic() + 60
        os.kill(pid(pool), signal.SIGSTOP)

        async def one(side: int) -> None:
            await pool.taken([SentFile("query: photo", png(side), PHOTO)], end)
            order.append(side)

        tasks = [asyncio.create_task(one(8))]
        while pool._free:
            await asyncio.sleep(0.01)
        for number, side in enumerate((300, 200, 100), 1):
            tasks.append(asyncio.create_task(one(side)))
            while len(pool._waiting) < number:
                await asyncio.sleep(0.01)
        with pytest.raises(
            ServingError, match="3 requests with files are already waiting"
        ) as actual:
            await one(9)
        assert actual.value.code == "RESOURCE_EXHAUSTED"
        os.kill(pid(pool), signal.SIGCONT)
        await asyncio.gather(*tasks)

    asyncio.run(settled(pool, scene))
    assert order == [8, 100, 200, 300]
