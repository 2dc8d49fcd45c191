"""The server's side of a decoding process: sends files, ends it if it is too slow, restarts it."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import threading
import time

import mmrank
from mmrank.data.kinds.media import MediaLimits
from mmrank.server.decoding.frames import Ended, Late, receive, send
from mmrank.serving.files import FileForm, FileProblem, TakenFile

START_SECONDS = 120.0  # enough for a busy machine
# Most bytes of a decoded file: the strip of frames from a clip can be larger than the clip.
MOST_RESULT = 1 << 28


class DecodingProcess:
    """A process that decodes files, started when it is first needed. For one thread at a time.

    Args:
      limits: Bounds of each file.
      most: Bytes of the largest file.
      megabytes: Memory (MiB) that decoding may take.
    """

    def __init__(self, limits: MediaLimits, most: int, megabytes: float):
        self._limits = dataclasses.asdict(limits)
        self._arguments = (str(most), str(megabytes))
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Starts the process unless it runs, and waits until it is ready.

        Raises:
          Ended, Late: The process cannot be started.
        """
        with self._lock:
            if not self.running:
                self.stop()
                self._start()

    def _start(self) -> None:
        root = str(pathlib.Path(mmrank.__file__).resolve().parents[1])
        paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mmrank.server.decoding.worker", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the server
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **ONE_THREAD},
        )
        try:
            receive(self._stream(1), 0, time.monotonic() + START_SECONDS)
        except (Ended, Late):
            self.stop()
            raise

    def taken(self, data: bytes, form: FileForm, end: float) -> TakenFile:
        """Returns the file in the form that the graph takes.

        Args:
          data: Its bytes.
          form: The wanted form.
          end: When to give up, on the clock of `time.monotonic()`, in seconds.

        Raises:
          FileProblem: The file cannot be used, or made the process fail.
          Late: The time limit passed. The process was ended.
        """
        try:
            self.start()
            header = {"form": dataclasses.asdict(form), "limits": self._limits}
            send(self._stream(0), header, data, end)
            answer, result = receive(self._stream(1), MOST_RESULT, end)
        except Late:
            self.stop()
            raise
        except Ended:
            self.stop()
            raise FileProblem("its decoder failed") from None
        if answer.get("problem") is not None:
            raise FileProblem(str(answer["problem"])[:500])
        return TakenFile(result)

    def stop(self) -> None:
        """Ends the process at once."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process = None

    def _stream(self, number: int) -> int:
        assert self._process is not None
        pipe = (self._process.stdin, self._process.stdout)[number]
        assert pipe is not None
        return pipe.fileno()


# A process decodes one file at a time. More threads would take cores from ranking.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
