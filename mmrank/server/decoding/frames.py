"""Messages between the server and a decoding process: a JSON object and bytes, each with a length.

Nothing of them is code: a decoder that a file has taken over can answer wrongly, and no more.
"""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import Any

_LENGTHS = struct.Struct(">IQ")
MOST_JSON = 1 << 20
Message = tuple[dict[str, Any], bytes]


class Ended(Exception):
    """The other side is gone, or talks nonsense."""


class Late(Exception):
    """The time is over."""


def send(stream: int, told: dict[str, Any], data: bytes = b"", end: float | None = None) -> None:
    """Writes a message to a file descriptor; end and errors as of `receive`."""
    text = json.dumps(told).encode()
    for part in (_LENGTHS.pack(len(text), len(data)) + text, data):
        left = memoryview(part)
        while left:
            _wait([], [stream], end)
            try:
                left = left[os.write(stream, left[: select.PIPE_BUF]) :]
            except OSError as error:
                raise Ended from error


def receive(stream: int, most: int, end: float | None = None) -> Message:
    """A message read from a file descriptor.

    Args:
      stream: The descriptor.
      most: Bytes that it may hold beside the JSON.
      end: When to give up, by `time.monotonic()`; None for never.

    Raises:
      Ended: There is none any more, or it is longer than it may be.
      Late: It did not come in time.
    """
    json_length, length = _LENGTHS.unpack(_read(stream, _LENGTHS.size, end))
    if json_length > MOST_JSON or length > most:
        raise Ended
    try:
        told = json.loads(_read(stream, json_length, end))
    except ValueError as error:
        raise Ended from error
    return told, _read(stream, length, end)


def _read(stream: int, count: int, end: float | None) -> bytes:
    parts: list[bytes] = []
    while count:
        _wait([stream], [], end)
        part = os.read(stream, min(count, 1 << 20))
        if not part:
            raise Ended
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _wait(reading: list[int], writing: list[int], end: float | None) -> None:
    poll = select.poll()  # unlike select, of any number of files
    for stream in reading:
        poll.register(stream, select.POLLIN)
    for stream in writing:
        poll.register(stream, select.POLLOUT)
    left = None if end is None else 1000 * (end - time.monotonic())
    if left is not None and left <= 0:
        raise Late
    if not poll.poll(left):
        raise Late
