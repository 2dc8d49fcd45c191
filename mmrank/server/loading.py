"""A version made ready to serve: verified, loaded, warmed up and told to those who keep of it."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mmrank.server.machine import give_back
from mmrank.server.servable import Servable
from mmrank.server.versions import AUTO, REQUIRED, Model
from mmrank.serving.checksums import CHECKSUMS, verify_checksums

# Signatures by which an export of this package is known, which always comes with its checksums.
OURS = frozenset({"rank_items", "lookup_items", "encode_items"})
Stamp = tuple[int, int, int]
T = TypeVar("T")
Run = Callable[..., Any]
logger = logging.getLogger(__name__)


class Haste:
    """Runs steps in turn: on the calling thread, and once that took too long on another.

    Args:
      hasty: Where steps go then.
      patience: Seconds after which that is so.
      clock: Seconds that never run backward.
    """

    def __init__(
        self,
        hasty: concurrent.futures.Executor,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._hasty, self._clock = hasty, clock
        self._end = clock() + patience

    def __call__(self, step: Callable[..., T], *arguments: Any) -> T:
        """The step's result."""
        if self._clock() < self._end:
            return step(*arguments)
        return self._hasty.submit(step, *arguments).result()


def at_once(step: Callable[..., T], *arguments: Any) -> T:
    """The step's result, on the calling thread."""
    return step(*arguments)


def load_version(
    number: int,
    folder: pathlib.Path,
    model: Model,
    callbacks: Sequence[Callable[[Servable], None]],
    stop: threading.Event,
    stamp: Stamp,
    run: Run = at_once,
) -> Servable:
    """The version in a folder, ready for its first request.

    Args:
      number: The version.
      folder: Its SavedModel.
      model: Says whether checksums are compared and the version is warmed up.
      callbacks: Called with it once it is warm.
      stop: Ends the warm-up early once set.
      stamp: The folder's `stamp_of` before anything of it was read.
      run: Runs each of its steps.

    Raises:
      Exception: Whatever is wrong with the folder, or it is still being written; nothing of it
        stays loaded.
    """
    listed = (folder / CHECKSUMS).is_file()
    if model.checksums == REQUIRED or (model.checksums == AUTO and listed):
        run(verify_checksums, folder)
    servable = run(Servable.load, number, folder)
    try:
        if model.checksums == AUTO and not listed and set(servable.signatures) >= OURS:
            raise ValueError(
                f"{folder / CHECKSUMS} is not there: the export is not whole, or is an old one; "
                "export the run anew"
            )
        if model.warm_up:
            count = servable.warm_up(stop, run)
            logger.info("version %d: %d warm-up requests", number, count)
        if stamp_of(folder) != stamp:
            raise ValueError("its files changed while it was loaded")
        for callback in callbacks:
            run(callback, servable)
    except BaseException:
        servable.close()
        raise
    give_back()  # half of what loading took
    return servable


def stamp_of(folder: pathlib.Path) -> Stamp:
    """Files, bytes and newest change (ns) of a folder, by which a copy that goes on is noticed."""
    count, size, newest = 0, 0, 0
    for parent, _, files in os.walk(folder):
        for name in files:
            try:
                stat = os.stat(os.path.join(parent, name))
            except FileNotFoundError:  # renamed meanwhile
                continue
            count, size = count + 1, size + stat.st_size
            newest = max(newest, stat.st_mtime_ns)
    return count, size, newest
