"""What is asked of the operating system, where it can do it; nothing elsewhere."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import resource
import threading

# A third of the share of others: with less, a version would starve beside a server under full load.
NICE = 5
OWN_FILES = 512  # of a server: models, threads, logs
JEMALLOC = "libjemalloc.so.2"
_PURGE = b"arena.4096.purge"  # of all arenas: MALLCTL_ARENAS_ALL in jemalloc's manual


def stand_back() -> None:
    """Lets requests go before what this thread does from now on, as preparing a version's graphs.

    Linux alone gives a thread a priority of its own.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def allocator_hint() -> str | None:
    """How to start a server whose memory stays flat, if this one runs with glibc's allocator.

    What versions leave behind is in pieces that glibc cannot give back, and as TensorFlow prepares
    a graph by many small allocations, loading takes longer too. None elsewhere than on Linux.
    """
    try:
        with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
            if re.search("jemalloc|tcmalloc|mimalloc", maps.read()):
                return None
    except OSError:
        return None
    return f"with jemalloc memory is flat and versions load faster: LD_PRELOAD={JEMALLOC}"


def room_for_connections(count: int) -> None:
    """Lets the process open so many files beside its own, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OWN_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def give_back() -> None:
    """Frees what only cycles hold, as a graph is held, and gives freed memory back to the system.

    Python may look for such cycles after many versions only. glibc keeps what is freed, and
    jemalloc what was freed by a thread that does no more, as one that loaded a version.
    """
    gc.collect()
    process = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):
        process.malloc_trim(0)
    with contextlib.suppress(AttributeError):
        process.mallctl(_PURGE, None, None, None, ctypes.c_size_t(0))
