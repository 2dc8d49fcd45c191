"""Prepares a version to serve: verifies its files, loads it, warms it up and calls callbacks."""

from __future__ import annotations

import concurrent.futures
import logging
import os
import pathlib
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mmrank.server.machine import release_memory
from mmrank.server.servable import Servable
from mmrank.server.versions import AUTO, REQUIRED, Model
from mmrank.serving.checksums import CHECKSUMS, verify_checksums

# An export with these signatures was made by this package, so it has to come with checksums.
OWN_SIGNATURES = frozenset({"rank_items", "lookup_items", "encode_items"})
Stamp = tuple[int, int, int]
T = TypeVar("T")
Run = Callable[..., Any]
logger = logging.getLogger(__name__)


class EscalatingRunner:
    """Runs steps one after another: first on the calling thread, later at higher priority.

    Args:
      executor: Executor of higher priority, on which steps run after `patience` seconds.
      patience: Seconds for which steps run on the calling thread.
      clock: Returns monotonic time in seconds.
    """

    def __init__(
        self,
        executor: concurrent.futures.Executor,
        patience: float,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._executor, self._clock = executor, clock
        self._end = clock() + patience

    def __call__(self, step: Callable[..., T], *arguments: Any) -> T:
        """Runs a step and returns its result."""
        if self._clock() < self._end:
            return step(*arguments)
        return self._executor.submit(step, *arguments).result()


def at_once(step: Callable[..., T], *arguments: Any) -> T:
    """Runs a step on the calling thread and returns its result."""
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
    """Returns the version in a folder, ready for its first request.

    Args:
      number: The version.
      folder: Its SavedModel.
      model: Decides whether checksums are compared and whether the version is warmed up.
      callbacks: Called with the version after its warm-up.
      stop: Ends the warm-up early once set.
      stamp: The folder's `stamp_of` from before any of its files was read.
      run: Runs each step.

    Raises:
      Exception: The folder is invalid in any way, or is still being written. The version is
        unloaded before the error is raised.
    """
    listed = (folder / CHECKSUMS).is_file()
    if model.checksums == REQUIRED or (model.checksums == AUTO and listed):
        run(verify_checksums, folder)
    servable = run(Servable.load, number, folder)
    try:
        if model.checksums == AUTO and not listed and set(servable.signatures) >= OWN_SIGNATURES:
            raise ValueError(
                f"{folder / CHECKSUMS} does not exist: the export is incomplete, or is an old "
                "one; export the run again"
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
    release_memory()  # about half of the memory that loading took
    return servable


def stamp_of(folder: pathlib.Path) -> Stamp:
    """Returns the number of files, their bytes and their newest change (ns since the epoch).

    The stamp of a folder changes while files are copied into it.
    """
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
