"""Logs what native libraries print to the error stream, in the same format as other log lines."""

from __future__ import annotations

import contextlib
import faulthandler
import io
import logging
import os
import sys
import threading
from collections.abc import Iterator
from typing import TextIO

MOST = 4_000  # bytes per line
logger = logging.getLogger("native")


class NativeLines:
    """The lines printed to the error stream while it is `diverted`, such as those of TensorFlow.

    Attributes:
      stream: The original error stream, to which logs are written.
    """

    def __init__(self, stream: TextIO, reading: int):
        self.stream = stream
        self._reading = reading
        self._begun = threading.Event()
        self._logged = False
        self._thread = threading.Thread(target=self._read, name="native-lines", daemon=True)
        self._thread.start()

    def log(self) -> None:
        """Logs every line, including earlier ones; to be called once logging is configured."""
        self._logged = True
        self._begun.set()

    def end(self) -> None:
        """Waits until all lines are written: to the log, or unchanged if `log` was not called."""
        self._begun.set()
        self._thread.join(30)

    def _read(self) -> None:
        with open(self._reading, "rb") as lines:
            self._begun.wait()
            while line := lines.readline(MOST):
                text = line.decode("utf-8", "replace")
                if not self._logged:
                    self.stream.write(text)
                elif text.strip():
                    logger.info("%s", text.rstrip())


class _Printed(io.TextIOBase):
    """Sends what Python prints the same way as native lines; drops it if the pipe is full."""

    def write(self, text: str) -> int:
        """Prints a text."""
        with contextlib.suppress(BlockingIOError):
            os.write(2, text.encode("utf-8", "replace"))
        return len(text)


@contextlib.contextmanager
def diverted() -> Iterator[NativeLines]:
    """Diverts the lines that are printed to the error stream within the block.

    Lines that are not read any more, as in a crash, are lost, except Python's own crash report.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    reading, writing = os.pipe()
    # Writing does not block: losing a line is better than a deadlock of a library and the reader.
    os.set_blocking(writing, False)
    os.dup2(writing, 2)
    os.close(writing)
    faults = faulthandler.is_enabled()
    with open(kept, "w", encoding="utf-8", errors="replace", buffering=1) as stream:
        faulthandler.enable(stream)
        native = NativeLines(stream, reading)
        try:
            with contextlib.redirect_stderr(_Printed()):
                yield native
        finally:
            os.dup2(kept, 2)  # also closes the last writing end of the pipe
            native.end()
            faulthandler.disable()
            if faults:
                faulthandler.enable()
