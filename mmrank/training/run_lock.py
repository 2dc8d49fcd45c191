"""One training at a time in a run's folder."""

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
    """Holds a run's folder, which is made, against other trainings while the block runs.

    The system lets go of the lock when the process ends, by whatever end, `kill -9` among them: a
    file that a dead owner left locks nothing. The folder goes again if nothing was put into it.

    Args:
      folder: The folder.
      claimed: Whether it was made for this run just before.

    Raises:
      OutputError: Another training holds it.
    """
    claimed = claimed or not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    handle = _acquired(folder / LOCK)
    try:
        os.ftruncate(handle, 0)
        os.write(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
    finally:
        # Before it is let go: who opens the name from now on makes a file of its own.
        (folder / LOCK).unlink(missing_ok=True)
        os.close(handle)
        if claimed:
            with contextlib.suppress(OSError):
                folder.rmdir()


def _acquired(file: pathlib.Path) -> int:
    """The open and locked file."""
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
                f"{file.parent}: {owner} is training this run; wait until it has ended, or name "
                "another folder with --out"
            ) from None
        except OSError as error:
            logger.warning("%s: cannot be locked on this disk: %s", file, error)
            return handle
        os.close(handle)  # its owner has just ended and taken the name away


def _is(handle: int, file: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False
