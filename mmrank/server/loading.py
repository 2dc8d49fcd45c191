"""A version made ready to serve: verified, loaded, warmed up and told to those who keep of it."""

from __future__ import annotations

import logging
import os
import pathlib
import threading
from collections.abc import Callable, Sequence

from mmrank.server.servable import Servable
from mmrank.server.versions import AUTO, REQUIRED, Model
from mmrank.serving.checksums import CHECKSUMS, verify_checksums

logger = logging.getLogger(__name__)


def load_version(
    number: int,
    folder: pathlib.Path,
    model: Model,
    callbacks: Sequence[Callable[[Servable], None]],
    stop: threading.Event,
) -> Servable:
    """The version in a folder, ready for its first request.

    Args:
      number: The version.
      folder: Its SavedModel.
      model: Says whether checksums are compared and the version is warmed up.
      callbacks: Called with it once it is warm.
      stop: Ends the warm-up early once set.

    Raises:
      Exception: Whatever is wrong with the folder; nothing of it stays loaded.
    """
    listed = (folder / CHECKSUMS).is_file()
    if model.checksums == REQUIRED or (model.checksums == AUTO and listed):
        verify_checksums(folder)
    servable = Servable.load(number, folder)
    try:
        if model.warm_up:
            count = servable.warm_up(stop)
            logger.info("version %d: %d warm-up requests", number, count)
        for callback in callbacks:
            callback(servable)
    except BaseException:
        servable.close()
        raise
    return servable


def stamp_of(folder: pathlib.Path) -> tuple[int, int, int]:
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
