"""The budget of a request for each kind of cost; costs are counted before the work is done."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from mmrank.server.errors import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, ServingError
from mmrank.server.guard.options import Limits

MEGA = 1_000_000
MEGABYTE = 1 << 20
STEP = 1 << 20
# Bytes of memory that parsed JSON takes for each `[`, `{` and `,`. Measured with the shortest
# lists, objects and values, which are the worst case, and rounded up.
_LIST, _OBJECT, _VALUE = 64, 140, 52


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of cost.

    Attributes:
      limit: The field of `Limits` that bounds it.
      unit: The number of cost units in one unit of the limit, such as pixels in a megapixel.
      words: The error message when the limit is exceeded, with placeholders `spent` and `most`.
    """

    limit: str
    unit: int
    words: str


KINDS = {
    "candidates": Kind(
        "request_candidates", 1, "{spent:,.0f} candidates in one request; the most is {most:,}"
    ),
    "values": Kind(
        "request_values",
        1,
        "{spent:,.0f} values in the JSON of one request; the most is {most:,}; send fewer at a "
        "time, or over gRPC",
    ),
    "files": Kind("request_files", 1, "{spent:,.0f} files in one request; the most is {most:,}"),
    "pixels": Kind(
        "request_megapixels",
        MEGA,
        "the images have {spent:.0f} megapixels together; the most of a request is {most:g}",
    ),
    "memory": Kind(
        "request_megabytes",
        MEGABYTE,
        "the request would take {spent:,.0f} MiB of memory; the most is {most:g}; send fewer "
        "values at a time",
    ),
}


class Budget:
    """The costs of one request so far. A request that exceeds a limit fails as the client's error.

    Args:
      limits: See `Limits`.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._spent: collections.Counter[str] = collections.Counter()

    def take(self, kind: str, amount: int) -> None:
        """Counts a cost before it arises.

        Args:
          kind: One of `KINDS`.
          amount: The cost in pixels, bytes or pieces.

        Raises:
          ServingError: The request's total cost of this kind exceeds the limit.
        """
        given = KINDS[kind]
        self._spent[kind] += amount
        most = getattr(self._limits, given.limit)
        if self._spent[kind] > most * given.unit:
            spent = self._spent[kind] / given.unit
            raise ServingError(INVALID_ARGUMENT, given.words.format(spent=spent, most=most))


class Memory:
    """Bounds the memory that all requests in progress hold. May be used by several threads.

    Args:
      most: Most bytes that all requests together may hold.
    """

    def __init__(self, most: int):
        self._most, self._held = most, 0
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that all requests hold now."""
        return self._held

    @contextmanager
    def request(self) -> Iterator[Held]:
        """Yields what counts the bytes of one request; they are released after the block."""
        held = Held(self)
        try:
            yield held
        finally:
            self._change(held, 0, refused=False)

    def _change(self, held: Held, count: int, refused: bool) -> None:
        with self._lock:
            more = count - held.count
            if refused and more > 0 and self._held + more > self._most:
                raise ServingError(
                    RESOURCE_EXHAUSTED,
                    f"the requests in progress use all of the {self._most / MEGABYTE:,.0f} "
                    "MiB that they may use together; try again later",
                )
            self._held += more
            held.count = count


class Held:
    """The bytes that one request holds. Made by `Memory.request`.

    Attributes:
      count: The bytes.
    """

    def __init__(self, memory: Memory):
        self._memory, self.count = memory, 0

    def __call__(self, count: int) -> None:
        """Sets the bytes that the request holds by now.

        Raises:
          ServingError: All requests together would hold too much (RESOURCE_EXHAUSTED).
        """
        self._memory._change(self, count, refused=True)

    def add(self, count: int) -> None:
        """Adds a reply's bytes. It was made already, so that only later requests are refused."""
        self._memory._change(self, self.count + count, refused=False)


def json_costs(body: bytes) -> tuple[int, int]:
    """Returns estimates, without parsing, of a JSON body's values and keys, and of its memory.

    Both are about the most that such a body can have; the memory is in bytes.
    """
    lists = objects = commas = keys = 0
    for at in range(0, len(body), STEP):  # in steps, so that other threads can run in between
        part = body[at : at + STEP]
        lists += part.count(b"[")
        objects += part.count(b"{")
        commas += part.count(b",")
        keys += part.count(b":")
    size = 2 * len(body) + _LIST * lists + _OBJECT * objects + _VALUE * commas
    return lists + objects + commas + keys, size
