"""A process that decodes files, one after another, until its input ends: `python -m` this."""

from __future__ import annotations

import contextlib
import os
import resource
import sys

from mmrank.data.tables import DataError
from mmrank.server.decoding.frames import Ended, receive, send
from mmrank.server.decoding.headers import MediaLimits, check_media
from mmrank.serving.files import FileForm, FileProblem, taken


def main() -> None:
    """Answers messages on the standard input by messages on the standard output."""
    most, megabytes = int(sys.argv[1]), float(sys.argv[2])
    # Libraries that print must not answer.
    answers = os.dup(1)
    os.dup2(2, 1)
    _import_decoders()
    _bound_memory(megabytes)
    send(answers, {"ready": True})
    with contextlib.suppress(Ended):
        while True:
            told, data = receive(0, most)
            problem, result = None, b""
            try:
                form = FileForm(**told["form"])
                check_media(data, form, MediaLimits(**told["limits"]))
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
    """Imports what the first file would, as far as it is installed."""
    for name in ("av", "soundfile"):
        with contextlib.suppress(ImportError):
            __import__(name)


def _bound_memory(megabytes: float) -> None:
    """Lets the process take so much beside what it has now; only Linux tells that."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return
    most = now + int(megabytes * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


if __name__ == "__main__":
    main()
