"""The log of shown pages and of feedback, written on a thread of its own."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import pathlib
import queue
import secrets
import threading

import numpy as np

from mmrank.data.page_log_lines import FEEDBACK, SHOWN, Feedback, ShownPage, as_line
from mmrank.outputs import UserError
from mmrank.server.guard.budget import MEGABYTE
from mmrank.server.monitor.page_metrics import PageMetrics
from mmrank.server.page_log_options import LogOptions

CLOSES = 10.0  # seconds that writing what waits may take when the server ends
LINE_BYTES, ITEM_BYTES = 2_000, 200  # of memory, roughly: a record, and each item of it
logger = logging.getLogger(__name__)
Record = ShownPage | Feedback


class LogError(UserError):
    """The folder of the log cannot be written to."""


class PageLog:
    """Adds lines to files in a folder; the format is that of `mmrank.data.page_log_lines`.

    `add` never waits for the disk. What cannot be written, because too much waits or because the
    disk is full, is counted, and the first failure and the end of failures are logged. No existing
    file is written to: file names hold the time of the start and a random part.

    Args:
      folder: The folder, made if it does not exist.
      options: See `LogOptions`.
      metrics: Receives counts of lines.

    Raises:
      LogError: The folder cannot be made or written to.

    Example:
      >>> import pathlib
      >>> from prometheus_client import CollectorRegistry
      >>> log = PageLog(pathlib.Path("pages"), LogOptions(), PageMetrics(CollectorRegistry()))
      >>> log.add(Feedback("a7", time=0.5, clicks=("P1",)))
      True
      >>> log.close()
      >>> [file.read_text().count("P1") for file in pathlib.Path("pages").iterdir()]
      [1]
    """

    def __init__(self, folder: pathlib.Path, options: LogOptions, metrics: PageMetrics):
        self._metrics = metrics
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LogError(f"log.folder {folder}: {error.strerror}; name another folder") from error
        if not os.access(folder, os.W_OK | os.X_OK):
            raise LogError(f"log.folder {folder}: cannot be written to; name another folder")
        now = datetime.datetime.now(datetime.timezone.utc)
        start = f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(4)}"
        most = int(options.file_megabytes * MEGABYTE)
        self._files = {
            kind: _File(folder, pattern.replace("*", f"{start}-{{number:06d}}"), most)
            for kind, pattern in (("shown", SHOWN), ("feedback", FEEDBACK))
        }
        self._most, self._waiting = int(options.queue_megabytes * MEGABYTE), 0
        self._lock = threading.Lock()
        self._closed = self._failing = False
        self._queue: queue.SimpleQueue[tuple[Record, int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="page log", daemon=True)
        self._thread.start()

    def add(self, record: Record) -> bool:
        """Returns whether a page or feedback will be written; False if too much waits."""
        size = _memory(record)
        with self._lock:
            taken = not self._closed and self._waiting + size <= self._most
            if taken:
                self._waiting += size
                self._queue.put((record, size))  # under the lock, so that none follows the end
        if not taken:
            self._metrics.lost(_kind(record), "shutdown" if self._closed else "queue")
        return taken

    def close(self, seconds: float = CLOSES) -> None:
        """Writes what waits, then closes the files; gives up after some seconds."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._queue.put(None)
        self._thread.join(seconds)
        if self._thread.is_alive():
            logger.error("the page log was not written within %g s: the disk is too slow", seconds)
            while not self._queue.empty():
                with contextlib.suppress(queue.Empty):
                    entry = self._queue.get_nowait()
                    if entry is not None:
                        self._metrics.lost(_kind(entry[0]), "shutdown")
            self._queue.put(None)

    def _run(self) -> None:
        while (entry := self._queue.get()) is not None:
            record, size = entry
            self._write(record)
            with self._lock:
                self._waiting -= size
                waiting = self._waiting
            self._metrics.waiting(waiting)
        for file in self._files.values():
            file.close()

    def _write(self, record: Record) -> None:
        kind = _kind(record)
        try:
            self._files[kind].write(as_line(record))
        except OSError as error:
            self._metrics.lost(kind, "disk")
            if not self._failing:
                logger.error("the page log cannot be written: %s", error.strerror)
            self._failing = True
        except Exception as error:  # noqa: BLE001 - one record must not end the log
            self._metrics.lost(kind, "invalid")
            logger.error("a record of the page log cannot be written", exc_info=error)
        else:
            self._metrics.line(kind)
            if self._failing:
                logger.warning("the page log can be written again")
            self._failing = False


class _File:
    """The files of one kind, one after another; nothing else writes to them."""

    def __init__(self, folder: pathlib.Path, name: str, most: int):
        self._folder, self._name, self._most = folder, name, most
        self._number = self._size = 0
        self._stream: int | None = None

    def write(self, line: bytes) -> None:
        """Adds a line; if that fails, the file is as it was, or the next line begins a new one."""
        stream = self._stream_for(len(line))
        done = 0
        try:
            while done < len(line):
                done += os.write(stream, line[done:])
        except OSError:
            try:
                os.ftruncate(stream, self._size)
            except OSError:
                # A line cut short can only be the last one of a file.
                self.close()
            raise
        self._size += done

    def close(self) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                os.close(self._stream)
            self._stream = None

    def _stream_for(self, more: int) -> int:
        if self._stream is not None:
            removed = os.fstat(self._stream).st_nlink == 0
            if removed or (self._size and self._size + more > self._most):
                self.close()
        if self._stream is None:
            flags = os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_WRONLY
            file = self._folder / self._name.format(number=self._number)
            self._stream = os.open(file, flags, 0o600)
            self._number, self._size = self._number + 1, 0
        return self._stream


def _kind(record: Record) -> str:
    return "shown" if isinstance(record, ShownPage) else "feedback"


def _memory(record: Record) -> int:
    """Returns the memory (bytes) that a record takes, roughly."""
    if isinstance(record, Feedback):
        ids = [*record.clicks, *record.dwell, *record.carts, *record.purchases]
        return LINE_BYTES + sum(ITEM_BYTES + len(item) for item in ids)
    texts = [value for value in record.query.values() if isinstance(value, str)]
    size = LINE_BYTES + 4 * sum(map(len, texts)) + ITEM_BYTES * len(record.items)
    size += sum(map(len, record.items))
    if record.seen is not None:
        arrays = vars(record.seen).values()
        size += sum(a.nbytes for a in arrays if isinstance(a, np.ndarray))
    return size
