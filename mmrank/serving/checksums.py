"""The SHA-256 of every file of an export, as `sha256sum --check` reads it, and a signature of them.

Checksums detect damage. Somebody who alters an export on purpose can write a new list of
checksums, but cannot sign it without the key.
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
    """Raised for an export that is not, byte for byte, what was written.

    Example:
      >>> import pathlib
      >>> sign_checksums(pathlib.Path("export"), {"MMRANK_EXPORT_KEY": "short"})
      Traceback (most recent call last):
      mmrank.serving.checksums.ChecksumError: MMRANK_EXPORT_KEY has 5 characters; give at ...
    """


def write_checksums(folder: pathlib.Path) -> None:
    """Writes the checksums of an export's files, by path, into the export."""
    lines = [f"{_digest(folder / name)}  {name}\n" for name in _names(folder)]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")


def verify_checksums(folder: pathlib.Path) -> None:
    """Checks that an export holds exactly the files of its list of checksums, all unaltered.

    Raises:
      ChecksumError: The export has no list, or a file is missing, altered, or not in the list.

    Example:
      >>> import pathlib
      >>> export = pathlib.Path("export")
      >>> (export / "assets.extra").mkdir(parents=True)
      >>> _ = (export / "card.json").write_text("{}")
      >>> write_checksums(export)
      >>> verify_checksums(export)
      >>> _ = (export / "card.json").write_text("{} ")
      >>> verify_checksums(export)
      Traceback (most recent call last):
      mmrank.serving.checksums.ChecksumError: ...card.json...
    """
    remedy = "copy the export again, or export the run again"
    if not (folder / CHECKSUMS).is_file():
        raise ChecksumError(f"{folder}: no {CHECKSUMS}, so its files cannot be checked; {remedy}")
    listed = {}
    for number, line in enumerate((folder / CHECKSUMS).read_text("utf-8").splitlines(), 1):
        digest, gap, name = line.partition("  ")
        if len(digest) != 64 or not gap or not name:
            raise ChecksumError(
                f"{folder / CHECKSUMS}:{number}: not a checksum and a file name; {remedy}"
            )
        listed[name] = digest
    there = set(_names(folder))
    for name in sorted(there | set(listed)):
        if name not in there:
            raise ChecksumError(f"{folder / name}: missing; {remedy}")
        if name not in listed:
            raise ChecksumError(f"{folder / name}: not in {CHECKSUMS}; {remedy}")
        if _digest(folder / name) != listed[name]:
            raise ChecksumError(f"{folder / name}: not the bytes that were exported; {remedy}")


def sign_checksums(folder: pathlib.Path, environment: Mapping[str, str] = os.environ) -> None:
    """Writes an HMAC-SHA-256 of an export's list of checksums, if the environment has a key.

    Raises:
      ChecksumError: The key is too short.
    """
    key = _key(environment)
    if key is not None:
        (folder / SIGNATURE).write_text(_signature(folder, key) + "\n", encoding="ascii")


def verify_signature(folder: pathlib.Path, environment: Mapping[str, str] = os.environ) -> None:
    """Checks that an export's list of checksums is signed by the environment's key, if any.

    Raises:
      ChecksumError: The list is not signed, or signed by another key, or the key is too short.
    """
    key = _key(environment)
    if key is None:
        return
    remedy = f"export it with this {KEY}, or load it only if you trust who made it"
    if not (folder / SIGNATURE).is_file():
        raise ChecksumError(f"{folder}: not signed: no {SIGNATURE}; {remedy}")
    stored = (folder / SIGNATURE).read_bytes().strip()
    if not hmac.compare_digest(stored, _signature(folder, key).encode()):
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
    """Returns the paths of an export's files, relative to it, without the list and its signature.

    Sorted.
    """
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
