"""The SHA-256 of every file of an export, as `sha256sum --check` reads it, and a signature of that.

A checksum finds damage. Who alters an export on purpose writes a new list; but no signature of it
without the key.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import pathlib
from collections.abc import Mapping

from mmrank.outputs import UserError

CHECKSUMS = pathlib.PurePath("assets.extra", "checksums.sha256")
SIGNATURE = pathlib.PurePath("assets.extra", "checksums.hmac")
KEY = "MMRANK_EXPORT_KEY"  # in the environment
_LEAST_KEY = 32  # characters
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


def sign_checksums(folder: pathlib.Path, environment: Mapping[str, str] = os.environ) -> None:
    """Writes an HMAC-SHA-256 of an export's list of checksums, if the environment has a key.

    Raises:
      ChecksumError: The key is too short to be one.
    """
    key = _key(environment)
    if key is not None:
        (folder / SIGNATURE).write_text(_signature(folder, key) + "\n", encoding="ascii")


def verify_signature(folder: pathlib.Path, environment: Mapping[str, str] = os.environ) -> None:
    """Nothing, if an export's list of checksums is signed by the key, or there is no key.

    Raises:
      ChecksumError: It is not signed, or by another key, or the key is too short to be one.
    """
    key = _key(environment)
    if key is None:
        return
    remedy = f"export it with this {KEY}, or load it only if you trust who made it"
    if not (folder / SIGNATURE).is_file():
        raise ChecksumError(f"{folder}: not signed: no {SIGNATURE}; {remedy}")
    said = (folder / SIGNATURE).read_bytes().strip()
    if not hmac.compare_digest(said, _signature(folder, key).encode()):
        raise ChecksumError(f"{folder / SIGNATURE}: not the signature of this key; {remedy}")


def _key(environment: Mapping[str, str]) -> bytes | None:
    key = environment.get(KEY, "")
    if not key:
        return None
    if len(key) < _LEAST_KEY:
        raise ChecksumError(
            f"{KEY} has {len(key)} characters; give at least {_LEAST_KEY} that nobody can guess, "
            "such as those of `openssl rand -hex 32`"
        )
    return key.encode()


def _signature(folder: pathlib.Path, key: bytes) -> str:
    return hmac.new(key, (folder / CHECKSUMS).read_bytes(), hashlib.sha256).hexdigest()


def _names(folder: pathlib.Path) -> list[str]:
    """The files of an export by their paths in it, without the list itself and its signature."""
    found = [
        pathlib.Path(parent, name).relative_to(folder).as_posix()
        for parent, _, files in os.walk(folder)
        for name in files
    ]
    return sorted(set(found) - {CHECKSUMS.as_posix(), SIGNATURE.as_posix()})


def _digest(file: pathlib.Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
