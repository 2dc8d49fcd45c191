"""The numbered folders of exports, each written whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

from mmrank.serving.checksums import sign_checksums, write_checksums

# The name is not a number, so that programs that look for versions ignore the folder.
_PARTIAL = ".partial-"
LARGEST = 2**63 - 1  # of TensorFlow Serving's version numbers
MOST_DIGITS = len(str(LARGEST))


def versions(out: pathlib.Path) -> list[int]:
    """Returns the numbers of the exports in a folder, in ascending order.

    A number may have leading zeros, as TensorFlow Serving accepts it. A number beyond signed 64
    bits is left out, since no request could name it.
    """
    return sorted(_folders(out))


def version_folder(out: pathlib.Path, number: int) -> pathlib.Path:
    """Returns the folder of a version; of several, such as 1 and 001, the shortest name.

    Args:
      out: Folder of the numbered exports.
      number: The version, which need not exist.
    """
    return out / (_folders(out) if out.is_dir() else {}).get(number, str(number))


def _folders(out: pathlib.Path) -> dict[int, str]:
    """Returns the names of the numbered folders by their numbers."""
    names = [p.name for p in out.iterdir()]
    numbered = [n for n in names if n.isascii() and n.isdigit() and len(n) <= MOST_DIGITS]
    found: dict[int, str] = {}
    for name in sorted(numbered, key=len, reverse=True):
        if int(name) <= LARGEST:
            found[int(name)] = name
    return found


def write_version(out: pathlib.Path, fill: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """Writes the folder OUT/N, N one above the highest number in OUT, and returns its path.

    The folder gets its number when all its files are on the disk, including its list of checksums,
    which is signed if MMRANK_EXPORT_KEY is in the environment. A process that dies earlier, even by
    SIGKILL or a power cut, leaves a hidden folder, which the next call removes.

    Args:
      out: Folder of the numbered exports; made if it does not exist.
      fill: Makes the folder that it is given and fills it.
    """
    out.mkdir(parents=True, exist_ok=True)
    _remove_dead(out)
    partial, lock = _locked_folder(out)
    try:
        folder = partial / "export"
        fill(folder)
        write_checksums(folder)
        sign_checksums(folder)
        for parent, _, files in os.walk(folder):
            for name in (*files, "."):
                _to_disk(pathlib.Path(parent, name))
        final = _numbered(folder, out)
        _to_disk(out)
    finally:
        shutil.rmtree(partial)
        os.close(lock)
    return final


def _numbered(folder: pathlib.Path, out: pathlib.Path) -> pathlib.Path:
    """Renames the folder to the next free number in `out`, and returns its new path."""
    while True:
        final = out / str(max(versions(out), default=0) + 1)
        try:
            # Renaming is atomic: a process that watches `out` sees the whole folder or nothing.
            os.rename(folder, final)
        except OSError as error:
            # Another export has taken the number in the meantime.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return final


def _locked_folder(out: pathlib.Path) -> tuple[pathlib.Path, int]:
    """Makes a hidden folder, and returns it with a lock on it.

    The lock is released when this process ends, however it ends.
    """
    while True:
        partial = pathlib.Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=out))
        lock = os.open(partial, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Before it was locked, another process may have taken it for a dead one and removed it.
        if partial.is_dir():
            return partial, lock
        os.close(lock)


def _remove_dead(out: pathlib.Path) -> None:
    """Removes the hidden folders of exports that died."""
    for partial in out.glob(f"{_PARTIAL}*"):
        try:
            lock = os.open(partial, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(partial)
        except BlockingIOError:
            continue  # an export that is still running
        finally:
            os.close(lock)


def _to_disk(path: pathlib.Path) -> None:
    """Waits until a file, or the list of names in a folder, would survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
