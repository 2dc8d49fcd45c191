"""The budget of a request: what it may cost of each kind, taken from before the work is done."""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mmrank.server.errors import INVALID_ARGUMENT, RESOURCE_EXHAUSTED, ServingError
from mmrank.server.guard.options import Limits

MEGA = 1_000_000
MEGABYTE = 1 << 20
STEP = 1 << 20
# What the reader of JSON makes of a byte that begins a list, an object or a next value: measured
# with the shortest ones, the worst, and rounded up.
_LIST, _OBJECT, _VALUE = 64, 140, 52


@dataclasses.dataclass(frozen=True)
class Kind:
    """One kind of cost.

    Attributes:
      limit: The field of `Limits` that bounds it.
      unit: What one of the limit's units is of the kind's.
      words: What is said when it is spent, with the placeholders spent and most.
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
    """What is left to one request. A kind that is spent ends it as the client's fault.

    Args:
      limits: See there.
    """

    def __init__(self, limits: Limits):
        self._limits = limits
        self._spent: collections.Counter[str] = collections.Counter()

    def take(self, kind: str, amount: int) -> None:
        """Counts a cost, before it arises.

        Args:
          kind: One of `KINDS`.
          amount: In pixels, bytes or pieces.

        Raises:
          ServingError: That is more than the request may cost.
        """
        given = KINDS[kind]
        self._spent[kind] += amount
        most = getattr(self._limits, given.limit)
        if self._spent[kind] > most * given.unit:
            spent = self._spent[kind] / given.unit
            raise ServingError(INVALID_ARGUMENT, given.words.format(spent=spent, most=most))


class Memory:
    """What all requests at work hold together, bounded. May be used by several threads.

    Args:
      most: Bytes.
    """

    def __init__(self, most: int):
        self._most, self._held = most, 0
        self._lock = threading.Lock()

    @property
    def held(self) -> int:
        """Bytes that are held."""
        return self._held

    @contextmanager
    def request(self) -> Iterator[Callable[[int], None]]:
        """A function to be told the bytes that one request holds by now, given back in the end.

        Told so, it raises ServingError (RESOURCE_EXHAUSTED) if all together hold too much.
        """
        mine = 0

        def hold(count: int) -> None:
            nonlocal mine
            with self._lock:
                if count > mine and self._held + count - mine > self._most:
                    raise ServingError(
                        RESOURCE_EXHAUSTED,
                        f"the requests at work fill the {self._most / MEGABYTE:,.0f} MiB that they "
                        "may together; try again later",
                    )
                self._held += count - mine
                mine = count

        try:
            yield hold
        finally:
            with self._lock:
                self._held -= mine


def json_costs(body: bytes) -> tuple[int, int]:
    """About the most values of a JSON body, and bytes that they take, told without reading it."""
    lists = objects = commas = 0
    for at in range(0, len(body), STEP):  # in steps, between which other threads have their turn
        part = body[at : at + STEP]
        lists += part.count(b"[")
        objects += part.count(b"{")
        commas += part.count(b",")
    size = 2 * len(body) + _LIST * lists + _OBJECT * objects + _VALUE * commas
    return lists + objects + commas, size
