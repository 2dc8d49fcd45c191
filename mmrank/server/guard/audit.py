"""An append-only record of who asked what, each line bound to the one before by a hash."""

from __future__ import annotations

import contextlib
import contextvars
import datetime
import errno
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
BEGINS = b'{"time": "'  # every line
TAIL = 1 << 20  # bytes in which the last whole line is looked for
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

    Half a line, left by a full disk or a process that was killed, is ended by the next line, which
    holds its hash (`torn`); lines that could not be written are counted in the next (`lost`).

    Raises:
      AuditError: Another process writes to the file, or it does not end as such a file does.
    """

    def __init__(self, file: pathlib.Path):
        self.file = file
        self._lock = threading.Lock()
        self._stream, self._inode = self._open()
        self._stuck = False
        self._lost = 0
        try:
            self._chain, self._torn = _ending(file)
            self.add({"action": "opened"})
        except AuditError:
            os.close(self._stream)
            raise
        except OSError as error:
            os.close(self._stream)
            raise AuditError(
                f"{file}: cannot be written: {error.strerror}; make room, or name another audit log"
            ) from error

    @property
    def failing(self) -> bool:
        """Whether the last line could not be written."""
        return self._lost > 0

    def add(self, entry: Mapping[str, Any]) -> None:
        """Adds a line with the time and an entry's plain values.

        Raises:
          OSError: It could not be written, as on a full disk. Nothing of it counts.
        """
        when = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        with self._lock:
            line = {"time": when, **entry}
            if self._moved() and self._renewed():
                line["after"] = self._chain
                self._torn = None
            if self._torn:
                line["torn"] = hashlib.sha256(self._torn).hexdigest()
            if self._lost:
                line["lost"] = self._lost
            text = json.dumps(line, ensure_ascii=False, default=str)
            chain = _link(self._chain, text)
            whole = f'{text[:-1]}, "chain": "{chain}"}}\n'.encode("utf-8", "replace")
            # What stands there unended is ended first.
            data = (b"" if self._torn is None else b"\n") + whole
            written, error = self._write(data)
            if error is not None and written != data[:-1]:
                self._lost += 1
                if self._torn == b"" and written:
                    self._torn = written[1:] or None
                elif written:
                    self._torn = (self._torn or b"") + written
                raise error
            self._chain, self._lost = chain, 0
            self._torn = None if error is None else b""  # all of the line but its end

    def _write(self, data: bytes) -> tuple[bytes, OSError | None]:
        """What stands of some bytes now, and why not all of them; half of them are taken back."""
        size, done = os.fstat(self._stream).st_size, 0
        while done < len(data):
            try:
                count = os.write(self._stream, data[done:])
                if not count:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                done += count
            except OSError as error:
                with contextlib.suppress(OSError):  # a file that may only be added to
                    os.ftruncate(self._stream, size)
                    done = 0
                return data[:done], error
        return data, None

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
    chain, count, torn, begun = START, 0, b"", 0
    with file.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            text, mark, tail = raw.decode("utf-8", "replace").rpartition(', "chain": "')
            count = number
            if not mark or not raw.endswith(b'"}\n'):
                torn, begun = torn + raw, begun or number
                continue
            try:
                line = json.loads(text + "}")
            except ValueError:
                line = {}
            if torn and line.get("torn") != hashlib.sha256(torn[:-1]).hexdigest():
                break
            if number == 1 or (torn and begun == 1):
                chain = line.get("after", START)
            torn, begun = b"", 0
            chain = _link(chain, text + "}")
            if chain != tail[:64]:
                raise AuditError(
                    f"{file}: line {number} does not follow from the one before it: one of them "
                    "was changed, or lines between them were taken out"
                )
    if torn:
        raise AuditError(f"{file}: line {begun} is not a whole line of an audit log")
    return count, chain


def _link(chain: str, text: str) -> str:
    return hashlib.sha256(chain.encode() + text.encode("utf-8", "replace")).hexdigest()


def _ending(file: pathlib.Path) -> tuple[str, bytes | None]:
    """The chain of a log's last whole line, and what stands behind it; None if nothing does.

    Raises:
      AuditError: It is no audit log.
    """
    with file.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        if stream.tell() == 0:
            return START, None
        whole = stream.tell() <= TAIL
        stream.seek(-min(stream.tell(), TAIL), os.SEEK_END)
        lines = stream.read().split(b"\n")
    torn: list[bytes] = []
    while lines:
        try:
            chain = str(json.loads(lines[-1])["chain"])
        except (ValueError, KeyError, TypeError):
            torn.insert(0, lines.pop())
            continue
        if torn == [b""]:
            return chain, None
        break
    else:
        chain = START if whole else ""
    # A whole line without its end has nothing behind it.
    begun = b"\n".join(torn)
    if chain and (begun.startswith(BEGINS) or BEGINS.startswith(begun)):
        return chain, begun
    raise AuditError(f"{file}: its last line is not one of an audit log; move the file away")
