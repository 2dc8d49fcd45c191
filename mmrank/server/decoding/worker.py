"""A process that decodes one file after another until its input ends. Run it with `python -m`."""

from __future__ import annotations

import contextlib
import os
import resource
import sys

from mmrank.data.findings import DataError
from mmrank.data.kinds.media import MediaLimits
from mmrank.server.decoding.frames import Ended, receive, send
from mmrank.serving.files import FileForm, FileProblem, taken


def main() -> None:
    """Reads messages from the standard input and answers them on the standard output."""
    most, megabytes = int(sys.argv[1]), float(sys.argv[2])
    # What libraries print goes to the error stream, so that it does not mix with the answers.
    answers = os.dup(1)
    os.dup2(2, 1)
    _import_decoders()
    _bound_memory(megabytes)
    send(answers, {"ready": True})
    with contextlib.suppress(Ended):
        while True:
            header, data = receive(0, most)
            problem, result = None, b""
            try:
                form = FileForm(**header["form"])
                form.media.check_cost(data, MediaLimits(**header["limits"]))
                result = taken(data, form)
            except FileProblem as error:
                problem = str(error)
            except MemoryError:
                problem = f"needs more than {megabytes:g} MiB of memory to decode"
            except DataError as error:  # a library is not installed
                problem = str(error)
            except Exception:  # noqa: BLE001 - a file can be broken in any way
                problem = "cannot be decoded"
            send(answers, {"problem": problem}, result)


def _import_decoders() -> None:
    """Imports the decoders that are installed, so that the first file does not wait for it."""
    for name in ("av", "soundfile"):
        with contextlib.suppress(ImportError):
            __import__(name)


def _bound_memory(megabytes: float) -> None:
    """Limits the memory (MiB) that the process may take in addition to what it has now.

    Does nothing on systems other than Linux, which do not report the current memory.
    """
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    most = now + int(megabytes * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
