"""What is asked of the operating system, where it can do it; nothing elsewhere."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import threading

NICE = 15


def stand_back() -> None:
    """Lets requests go before what this thread does from now on, as preparing a version's graphs.

    Linux alone gives a thread a priority of its own.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def give_back() -> None:
    """Frees what only cycles hold, as a graph is held, and gives freed memory back to the system.

    Python may look for such cycles after many versions only, and glibc keeps what is freed.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
