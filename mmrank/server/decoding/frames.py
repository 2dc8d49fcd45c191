"""Messages between the server and a decoding process: a JSON object and bytes, each with a length.

Messages contain no code (unlike pickle). If a malicious file takes over a decoder, the decoder can
send wrong answers, but cannot make the server run code.
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
    """The other process has ended, or sent an invalid message."""


class Late(Exception):
    """The time limit passed."""


def send(stream: int, header: dict[str, Any], data: bytes = b"", end: float | None = None) -> None:
    """Writes a message to a file descriptor; `end` and errors as in `receive`."""
    text = json.dumps(header).encode()
    for part in (_LENGTHS.pack(len(text), len(data)) + text, data):
        left = memoryview(part)
        while left:
            _wait([], [stream], end)
            try:
                left = left[os.write(stream, left[: select.PIPE_BUF]) :]
            except OSError as error:
                raise Ended from error


def receive(stream: int, most: int, end: float | None = None) -> Message:
    """Returns a message read from a file descriptor.

    Args:
      stream: The descriptor.
      most: Most bytes that the message may hold in addition to the JSON.
      end: When to give up, on the clock of `time.monotonic()`, in seconds; None for never.

    Raises:
      Ended: The stream ended, or the message is too long or invalid.
      Late: The message did not arrive in time.
    """
    json_length, length = _LENGTHS.unpack(_read(stream, _LENGTHS.size, end))
    if json_length > MOST_JSON or length > most:
        raise Ended
    try:
        header = json.loads(_read(stream, json_length, end))
    except ValueError as error:
        raise Ended from error
    return header, _read(stream, length, end)


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
    poll = select.poll()  # unlike select, works with any file descriptor number
    for stream in reading:
        poll.register(stream, select.POLLIN)
    for stream in writing:
        poll.register(stream, select.POLLOUT)
    left = None if end is None else 1000 * (end - time.monotonic())
    if left is not None and left <= 0:
        raise Late
    if not poll.poll(left):
        raise Late
