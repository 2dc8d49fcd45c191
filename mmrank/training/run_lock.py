"""Locks a run's folder, so that only one training at a time uses it."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pathlib
import socket
from collections.abc import Iterator

from mmrank.outputs import OutputError

LOCK = ".training"
logger = logging.getLogger(__name__)


@contextlib.contextmanager
def locked_run(folder: pathlib.Path, claimed: bool = False) -> Iterator[None]:
    """Creates a run's folder if needed and locks it against other trainings while the block runs.

    The system releases the lock when the process ends for any reason, including `kill -9`. So a
    lock file left by a dead process locks nothing. If the folder was made for this run and is still
    empty afterwards, it is removed.

    Args:
      folder: The folder.
      claimed: Whether the caller has just made the folder for this run.

    Raises:
      OutputError: Another training holds the lock.
    """
    claimed = claimed or not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = _acquired(folder / LOCK)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        # The file is deleted before the lock is released. A process that opens the name from now on
        # creates a new file.
        (folder / LOCK).unlink(missing_ok=True)
        os.close(handle)
        if claimed:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _acquired(file: pathlib.Path) -> int:
    """Returns the handle of the opened and locked file."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is(handle, file):
                return handle
        except BlockingIOError:
            owner = os.read(handle, 200).decode(errors="replace").strip() or "another process"
            os.close(handle)
            raise OutputError(
                f"{file.parent}: {owner} is training this run; wait until it has ended, or give "
                "another folder with --out"
            ) from None
        except OSError as error:
            logger.warning("%s: cannot be locked on this disk: %s", file, error)
            return handle
        os.close(handle)  # its owner has just ended and deleted the file


def _is(handle: int, file: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False
