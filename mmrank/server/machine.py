"""What is asked of the operating system, where it can do it; nothing elsewhere."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import threading

NICE = 15
_M_ARENA_MAX = -8  # of glibc's malloc.h


def stand_back() -> None:
    """Lets requests go before what this thread does from now on, as preparing a version's graphs.

    Linux alone gives a thread a priority of its own.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def few_arenas() -> None:
    """Has threads allocate from as few heaps as there are cores; to be called before they start.

    glibc makes eight a core, each with holes of its own: after two changes of versions they came to
    12% of a server's memory, so few to 7%. The environment's MALLOC_ARENA_MAX is left as it is.
    """
    if "MALLOC_ARENA_MAX" not in os.environ:
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).mallopt(_M_ARENA_MAX, max(2, os.cpu_count() or 1))


def give_back() -> None:
    """Frees what only cycles hold, as a graph is held, and gives freed memory back to the system.

    Python may look for such cycles after many versions only, and glibc keeps what is freed.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
