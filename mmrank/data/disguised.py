"""Detects by its first bytes a file whose content does not match its name."""

from __future__ import annotations

import pathlib

from mmrank.data.findings import DataError

# The first bytes of other types of files, a description of the type, and the remedy.
_SIGNS = (
    (b"PK\x03\x04", "a zip archive or an Excel file", "unzip it, or save the sheet as csv"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file", "save the sheet as csv"),
    (b"\x1f\x8b", "a gzip file", "rename it to end in .gz"),
    (b"PAR1", "a parquet file", "rename it to end in .parquet"),
    (b"ARROW1", "an Arrow file", "save the table as parquet"),
    (b"SQLite format 3\0", "an SQLite database", "save its table as csv"),
    (b"\x28\xb5\x2f\xfd", "compressed with Zstandard", "decompress it"),
    (b"\xfd7zXZ\0", "compressed with xz", "decompress it"),
    (b"7z\xbc\xaf", "a 7z archive", "decompress it"),
    (b"%PDF-", "a PDF", "save the table as csv"),
)
_PAGES = (b"<!doctype", b"<html", b"<?xml")
_LOOKED_AT = 4096
_MANY_ZEROS = 0.2  # a text may hold a few zero bytes; in UTF-16 every second byte is often zero


def refuse_disguised(file: pathlib.Path, beginning: bytes, encoded: bool) -> None:
    """Checks that a file may be a text table.

    Args:
      file: The file, for the message.
      beginning: Its first bytes, decompressed.
      encoded: Whether its encoding is known, from the schema or from a byte order mark.

    Raises:
      DataError: The file is of another type, or looks like UTF-16 without a byte order mark.
    """
    for sign, what, remedy in _SIGNS:
        if beginning.startswith(sign):
            raise DataError(f"{file}: is {what}; {remedy}")
    start = beginning[:_LOOKED_AT]
    if start.lstrip().lower().startswith(_PAGES):
        raise DataError(f"{file}: is HTML or XML, such as a login page; download the table again")
    if not encoded and start.count(0) > _MANY_ZEROS * len(start):
        order = "be" if start[:1] == b"\0" else "le"
        raise DataError(
            f"{file}: looks like UTF-16 without a byte order mark; save it as UTF-8, or give "
            f"its encoding in the schema: {{file: {file.name}, encoding: utf-16-{order}}}"
        )
