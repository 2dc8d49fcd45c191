"""What native libraries print to the error stream, as lines of the log like all others."""

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

MOST = 4_000  # bytes of a line
logger = logging.getLogger("native")


class NativeLines:
    """What goes to the error stream while `diverted`, TensorFlow's and gRPC's own lines among it.

    Attributes:
      stream: The error stream itself, for logs to be written to.
    """

    def __init__(self, stream: TextIO, reading: int):
        self.stream = stream
        self._reading = reading
        self._begun = threading.Event()
        self._logged = False
        self._thread = threading.Thread(target=self._read, name="native-lines", daemon=True)
        self._thread.start()

    def log(self) -> None:
        """Has every line logged, those that came before too, now that logs know where to go."""
        self._logged = True
        self._begun.set()

    def end(self) -> None:
        """Waits until all is written, as it is if nobody wanted it logged."""
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
    """What Python prints there meanwhile, on the same way: without an error if nobody reads."""

    def write(self, text: str) -> int:
        """Prints a text."""
        with contextlib.suppress(BlockingIOError):
            os.write(2, text.encode("utf-8", "replace"))
        return len(text)


@contextlib.contextmanager
def diverted() -> Iterator[NativeLines]:
    """The lines that are printed to the error stream within the block.

    What is printed while nothing is read, as in a crash, is lost, but for Python's own account.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    reading, writing = os.pipe()
    # Rather lose a line than have a library wait for a reader that waits for it.
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
            os.dup2(kept, 2)  # which closes the last writing end of the pipe
            native.end()
            faulthandler.disable()
            if faults:
                faulthandler.enable()
