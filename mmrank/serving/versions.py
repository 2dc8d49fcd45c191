"""The numbered folders of exports, each of which appears whole or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

from mmrank.serving.checksums import sign_checksums, write_checksums

# No number, so that nothing which looks for versions takes it for one.
_PARTIAL = ".partial-"
LARGEST = 2**63 - 1  # of TensorFlow Serving's version numbers
MOST_DIGITS = len(str(LARGEST))


def versions(out: pathlib.Path) -> list[int]:
    """The numbers of the exports in a folder, in ascending order.

    A number may have zeros before it, as TensorFlow Serving takes it. One beyond 64 bits, which no
    request could name, is none.
    """
    return sorted(_folders(out))


def version_folder(out: pathlib.Path, number: int) -> pathlib.Path:
    """The folder of a version; of several, such as 1 and 001, the one with the shortest name.

    Args:
      out: Folder of the numbered exports.
      number: The version, which need not be there.
    """
    return out / (_folders(out) if out.is_dir() else {}).get(number, str(number))


def _folders(out: pathlib.Path) -> dict[int, str]:
    """The names of the numbered folders by their numbers."""
    names = [p.name for p in out.iterdir()]
    numbered = [n for n in names if n.isascii() and n.isdigit() and len(n) <= MOST_DIGITS]
    found: dict[int, str] = {}
    for name in sorted(numbered, key=len, reverse=True):
        if int(name) <= LARGEST:
            found[int(name)] = name
    return found


def write_version(out: pathlib.Path, fill: Callable[[pathlib.Path], None]) -> pathlib.Path:
    """The folder OUT/N that `fill` has filled, N one above the highest number there.

    It gets its number when everything is in it and on the disk, its list of checksums included,
    which is signed if MMRANK_EXPORT_KEY is in the environment. A process that dies before, even by
    SIGKILL or a power cut, leaves a hidden folder, which the next call removes.

    Args:
      out: Folder of the numbered exports; made if it is not there.
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
    """The folder's place, under the next free number."""
    while True:
        final = out / str(max(versions(out), default=0) + 1)
        try:
            # One step: whoever watches `out` sees all of the folder or nothing.
            os.rename(folder, final)
        except OSError as error:
            # Another export took the number meanwhile.
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        else:
            return final


def _locked_folder(out: pathlib.Path) -> tuple[pathlib.Path, int]:
    """A new hidden folder, and the lock on it, which ends with this process however it ends."""
    while True:
        partial = pathlib.Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=out))
        lock = os.open(partial, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Before it was locked it may have passed for a dead one.
        if partial.is_dir():
            return partial, lock
        os.close(lock)


def _remove_dead(out: pathlib.Path) -> None:
    """Removes what exports left that died."""
    for partial in out.glob(f"{_PARTIAL}*"):
        try:
            lock = os.open(partial, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(partial)
        except BlockingIOError:
            continue  # an export at work
        finally:
            os.close(lock)


def _to_disk(path: pathlib.Path) -> None:
    """Waits until a file, or the names in a folder, would outlive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
