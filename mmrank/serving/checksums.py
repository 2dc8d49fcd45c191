"""The SHA-256 of every file of an export, in the form that `sha256sum --check` reads."""

from __future__ import annotations

import hashlib
import os
import pathlib

from mmrank.outputs import UserError

CHECKSUMS = pathlib.PurePath("assets.extra", "checksums.sha256")
_BLOCK = 2**20  # bytes read at a time


class ChecksumError(UserError):
    """An export that is not, byte for byte, what was written."""


def write_checksums(folder: pathlib.Path) -> None:
    """Writes the list of an export's files, by path, into the export."""
    lines = [f"{_digest(folder / name)}  {name}\n" for name in _names(folder)]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def verify_checksums(folder: pathlib.Path) -> None:
    """Nothing, if an export holds the files of its list, no other, and each with its bytes.

    Raises:
      ChecksumError: It has no list, or a file is missing, altered, or not in the list.
    """
    remedy = "copy the export anew, or export the run again"
    if not (folder / CHECKSUMS).is_file():
        raise ChecksumError(f"{folder}: no {CHECKSUMS}, so its files cannot be checked; {remedy}")
    said = {}
    for number, line in enumerate((folder / CHECKSUMS).read_text("utf-8").splitlines(), 1):
        digest, gap, name = line.partition("  ")
        if len(digest) != 64 or not gap or not name:
            raise ChecksumError(f"{folder / CHECKSUMS}:{number}: no checksum and name; {remedy}")
        said[name] = digest
    there = set(_names(folder))
    for name in sorted(there | set(said)):
        if name not in there:
            raise ChecksumError(f"{folder / name}: missing; {remedy}")
        if name not in said:
            raise ChecksumError(f"{folder / name}: not in {CHECKSUMS}; {remedy}")
        if _digest(folder / name) != said[name]:
            raise ChecksumError(f"{folder / name}: not the bytes that were exported; {remedy}")


def _names(folder: pathlib.Path) -> list[str]:
    """The files of an export by their paths in it, without the list itself."""
    found = [
        pathlib.Path(parent, name).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder)
        for name in files
    ]
    return sorted(name for name in found if name != CHECKSUMS.as_posix())


def _digest(file: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
