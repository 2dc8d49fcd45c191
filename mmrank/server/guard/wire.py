"""Counts the parts of a serialized message before it is parsed.

A short message can be costly to parse, since a nested message may take only two bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

# Most fields that are read on the way without being counted; real messages have a handful.
MOST_STEPS = 20_000
# Text values and features in messages of tensors and of examples take fifty nanoseconds each to
# parse, and parsing blocks all threads. They are counted only in messages of more bytes than this.
LARGE = 1 << 21
VALUE_BYTES = 16  # of a message for each value that it may hold
EXAMPLE_VALUES = (1, 1, 2, (1, 2, 3), 1)
LIST_VALUES = ((1, 2), *EXAMPLE_VALUES)
INPUT_VALUES = (2, (1, 2), *LIST_VALUES)
TENSOR_VALUES = (2, 2, 8)


Path = Sequence[int | tuple[int, ...]]


class TooManyParts(ValueError):
    """A message has more parts than allowed."""


def check_values(data: bytes, path: Path) -> None:
    """Checks that a large message has at most one value per 16 bytes at the end of a path.

    Raises:
      TooManyParts: The message is large and has more values.
    """
    if len(data) > LARGE:
        check_parts(data, path, len(data) // VALUE_BYTES)


def check_parts(data: bytes, path: Path, most: int) -> int:
    """Returns the number of fields at the end of a path of fields, which is at most `most`.

    Args:
      data: The message. Bytes that are not a message are counted as far as they can be read; the
        parser will refuse them.
      path: Field numbers from the outermost inward. For example, (2, 1) counts the fields 1 of all
        fields 2. A tuple in place of a number matches any of its numbers.
      most: Bound on the number of fields.

    Raises:
      TooManyParts: There are more fields, or too many other fields on the way.
    """
    count, steps = 0, 0
    levels = [(p,) if isinstance(p, int) else p for p in path]
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
                if number in levels[depth]:
                    if depth + 1 == len(levels):
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
    """Returns a number that is stored with seven bits per byte, and the index after it."""
    value = shift = 0
    while at < end and shift < 64:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            break
    return value, at
