"""Parts of a serialized message, counted before it is parsed: two bytes can be a message each."""

from __future__ import annotations

from collections.abc import Sequence

# Fields passed on the way that are not counted themselves; real messages have a handful.
MOST_STEPS = 20_000


class TooManyParts(ValueError):
    """A message with more parts than may be."""


def check_parts(data: bytes, path: Sequence[int], most: int) -> int:
    """How many fields a message has at the end of a path of fields, at most `most`.

    Args:
      data: The message. What is no message counts as far as it can be read: its parser refuses it.
      path: Field numbers from the outermost inward, such as (2, 1): the fields 1 of all fields 2.
      most: Bound on the number.

    Raises:
      TooManyParts: There are more, or there are too many fields on the way.
    """
    count, steps = 0, 0
    waiting = [(0, len(data), 0)]
    while waiting:
        at, end, depth = waiting.pop()
        while at < end:
            steps += 1
            tag, at = _varint(data, at, end)
            kind, number = tag & 7, tag >> 3
            size = {0: 0, 1: 8, 5: 4}.get(kind)
            if kind == 0:
                _, at = _varint(data, at, end)
            elif kind == 2:
                size, at = _varint(data, at, end)
                if number == path[depth]:
                    if depth + 1 == len(path):
                        count += 1
                    else:
                        waiting.append((at, min(end, at + size), depth + 1))
            if size is None:
                break
            at += size
            if count > most or steps > most + MOST_STEPS:
                raise TooManyParts(f"more than {most:,} parts in one message")
    return count


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """A number of seven bits a byte, and where the next begins."""
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at
