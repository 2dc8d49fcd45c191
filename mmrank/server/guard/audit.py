"""An append-only log of requests, in which a hash links each line to the line before it."""

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
TAIL = 1 << 20  # bytes at the end of a file that are searched for the last whole line
logger = logging.getLogger(__name__)
# What code anywhere in the server adds to the line of the current request.
_facts: contextvars.ContextVar[dict[str, Any] | None] = contextvars.ContextVar(
    "audit_facts", default=None
)


class AuditError(UserError):
    """An audit log cannot be used, or was changed.

    Example:
      >>> import pathlib
      >>> _ = pathlib.Path("notes.txt").write_text("not a log")
      >>> AuditLog(pathlib.Path("notes.txt"))
      Traceback (most recent call last):
      mmrank.server.guard.audit.AuditError: notes.txt: its last line is not a line of an audit ...
    """


def begin() -> dict[str, Any]:
    """Starts a request; returns its facts, to which `note` adds in this task and its children."""
    facts: dict[str, Any] = {}
    _facts.set(facts)
    return facts


def note(**facts: Any) -> None:
    """Adds facts to the line of the current request; does nothing outside of a request.

    Facts that were added earlier are kept: those of a whole request precede those of its steps.
    """
    there = _facts.get()
    if there is not None:
        there |= facts | there


class AuditLog:
    """Adds lines of JSON to a file, and never rewrites whole lines.

    Each line holds a hash (`chain`) of itself and of the line before it, so that `verify_audit`
    finds a line that was changed, moved or removed. Whoever can write to the file can also compute
    all later hashes again. To detect this, keep the last `chain` elsewhere; to prevent it, let the
    system allow only appending (`chattr +a`).

    If the file is moved away, a new file continues the same chain. While the new file cannot be
    opened, lines are added to the moved one. May be used by several threads.

    An incomplete line, left by a full disk or a killed process, is terminated before the next line,
    which holds the hash of the incomplete one (`torn`). The next line also holds the number of
    lines that could not be written (`lost`).

    Raises:
      AuditError: Another process writes to the file, it cannot be written, or it does not end like
        an audit log.

    Example:
      >>> import pathlib
      >>> log = AuditLog(pathlib.Path("audit.jsonl"))
      >>> log.add({"action": "rank", "who": "shop"})
      >>> log.close()
      >>> lines, chain = verify_audit(pathlib.Path("audit.jsonl"))
      >>> lines, len(chain)  # the first line says that the log was opened
      (2, 64)
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
          OSError: The line could not be written, as on a full disk. It counts as lost.
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
            # An incomplete line in the file is terminated first.
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
            self._torn = None if error is None else b""  # all but the end of the line

    def _write(self, data: bytes) -> tuple[bytes, OSError | None]:
        """Writes bytes; returns those that are in the file now, and the error if not all are.

        Bytes that were partly written are removed again, unless the file allows only appending.
        """
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
        """Closes the file."""
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
        except OSError:  # the file or its folder is missing or inaccessible
            return True

    def _renewed(self) -> bool:
        """Opens a new file in place of the one moved away; returns whether that succeeded.

        If it did not, the moved file stays open.
        """
        try:
            stream, inode = self._open()
        except AuditError as error:
            if not self._stuck:
                logger.error(
                    "%s; until this works, lines go to the file that was moved away", error
                )
            self._stuck = True
            return False
        os.close(self._stream)
        self._stream, self._inode, self._stuck = stream, inode, False
        return True


def verify_audit(file: pathlib.Path) -> tuple[int, str]:
    """Checks that a log was not changed; returns its number of lines and the last line's chain.

    Raises:
      AuditError: A line does not follow from the line before it. The message names the line.

    Example:
      >>> import pathlib
      >>> file = pathlib.Path("audit.jsonl")
      >>> log = AuditLog(file)
      >>> log.add({"action": "rank", "who": "shop"})
      >>> log.close()
      >>> verify_audit(file)[0]
      2
      >>> _ = file.write_text(file.read_text().replace("shop", "another"))
      >>> verify_audit(file)
      Traceback (most recent call last):
      mmrank.server.guard.audit.AuditError: audit.jsonl: line 2 does not follow from the ...
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
                    "was changed, or lines between them were removed"
                )
    if torn:
        raise AuditError(f"{file}: line {begun} is not a complete line of an audit log")
    return count, chain


def _link(chain: str, text: str) -> str:
    return hashlib.sha256(chain.encode() + text.encode("utf-8", "replace")).hexdigest()


def _ending(file: pathlib.Path) -> tuple[str, bytes | None]:
    """Returns the chain of a log's last whole line, and the incomplete line after it, or None.

    Raises:
      AuditError: The file is not an audit log.
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
    # If only the end of the last whole line is missing, the incomplete line is empty.
    begun = b"\n".join(torn)
    if chain and (begun.startswith(BEGINS) or BEGINS.startswith(begun)):
        return chain, begun
    raise AuditError(f"{file}: its last line is not a line of an audit log; move the file away")
