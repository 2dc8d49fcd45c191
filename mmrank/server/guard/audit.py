"""An append-only record of who asked what, each line bound to the one before by a hash."""

from __future__ import annotations

import contextvars
import datetime
import fcntl
import hashlib
import json
import logging
import os
import pathlib
import threading
from collections.abc import Mapping
from typing import Any

from mmrank.outputs import UserError

START = "0" * 64
logger = logging.getLogger(__name__)
# What the request at hand adds to its line, wherever in the server that is known.
_facts: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "audit_facts", default=None
)


class AuditError(UserError):
    """An audit log that cannot be used, or was changed."""


def begin() -> dict[str, Any]:
    """The facts of a new request, which `note` adds to in this task and its children."""
    facts: dict[str, Any] = {}
    _facts.set(facts)
    return facts


def note(**facts: Any) -> None:
    """Adds to the line of the request at hand; does nothing outside of one.

    What was said first stays: a request knows of itself more than its steps do.
    """
    there = _facts.get()
    if there is not None:
        there |= facts | there


class AuditLog:
    """Lines of JSON added to a file, which is neither shortened nor rewritten.

    A line holds the hash of itself and the one before it (`chain`), so that `verify_audit` finds a
    line that was changed, moved or taken out. Who can write to the file can also reckon all hashes
    anew from there on: keep the last `chain` elsewhere, or let the system forbid all but adding
    (`chattr +a`). If the file is moved away, a new one goes on with the same chain; while that one
    cannot be opened, the moved one is added to. May be used by several threads.

    Raises:
      AuditError: Another process writes to the file, or it does not end as such a file does.
    """

    def __init__(self, file: pathlib.Path):
        self.file = file
        self._lock = threading.Lock()
        self._stream, self._inode = self._open()
        self._stuck = False
        self._chain = _last_chain(file)
        self.add({"action": "opened"})

    def add(self, entry: Mapping[str, Any]) -> None:
        """Adds a line with the time and an entry's plain values."""
        when = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        with self._lock:
            line = {"time": when, **entry}
            if self._moved() and self._renewed():
                line["after"] = self._chain
            text = json.dumps(line, ensure_ascii=False, default=str)
            chain = _link(self._chain, text)
            # One write of a file opened for appending: never half a line among others.
            os.write(
                self._stream, f'{text[:-1]}, "chain": "{chain}"}}\n'.encode("utf-8", "replace")
            )
            self._chain = chain

    def close(self) -> None:
        """Ends the writing."""
        with self._lock:
            os.close(self._stream)

    def _open(self) -> tuple[int, int]:
        try:
            stream = os.open(self.file, os.O_APPEND | os.O_CREAT | os.O_WRONLY, 0o600)
        except OSError as error:
            raise AuditError(f"{self.file}: {error.strerror}; name another audit log") from error
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(stream)
            raise AuditError(
                f"{self.file}: another process writes to it; give each server its own audit log"
            ) from None
        return stream, os.fstat(stream).st_ino

    def _moved(self) -> bool:
        try:
            return self.file.stat().st_ino != self._inode
        except OSError:  # gone, or its folder is out of reach
            return True

    def _renewed(self) -> bool:
        """Whether a new file stands in place of the one moved away, which otherwise is kept."""
        try:
            stream, inode = self._open()
        except AuditError as error:
            if not self._stuck:
                logger.error("%s; meanwhile the file that was moved away is added to", error)
            self._stuck = True
            return False
        os.close(self._stream)
        self._stream, self._inode, self._stuck = stream, inode, False
        return True


def verify_audit(file: pathlib.Path) -> tuple[int, str]:
    """The number of lines, and the last one's chain, of a log that nobody changed.

    Raises:
      AuditError: A line does not follow from the one before it; the message says which.
    """
    chain, count = START, 0
    with file.open(encoding="utf-8", newline="\n") as stream:
        for number, raw in enumerate(stream, 1):
            text, mark, tail = raw.rpartition(', "chain": "')
            if not mark or not raw.endswith('"}\n'):
                raise AuditError(f"{file}: line {number} is not a whole line of an audit log")
            if number == 1:
                chain = json.loads(text + "}").get("after", START)
            chain = _link(chain, text + "}")
            if chain != tail[:64]:
                raise AuditError(
                    f"{file}: line {number} does not follow from the one before it: one of them "
                    "was changed, or lines between them were taken out"
                )
            count = number
    return count, chain


def _link(chain: str, text: str) -> str:
    return hashlib.sha256(chain.encode() + text.encode("utf-8", "replace")).hexdigest()


def _last_chain(file: pathlib.Path) -> str:
    with file.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        if stream.tell() == 0:
            return START
        stream.seek(-min(stream.tell(), 1 << 20), os.SEEK_END)
        last = stream.read().splitlines()[-1]
    try:
        chain = json.loads(last)["chain"]
    except (ValueError, KeyError, TypeError):
        raise AuditError(
            f"{file}: its last line is not one of an audit log; move the file away"
        ) from None
    return str(chain)
