"""Thread priority, limits and memory of the process.

Functions have no effect on operating systems that lack the feature.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import re
import resource
import threading
from collections.abc import Iterator

# Gives a thread a third of the CPU share of other threads. With less, a version would hardly load
# while the server is under full load.
NICE = 5
OWN_FILES = 512  # that the server itself opens: models, threads, logs
JEMALLOC = "libjemalloc.so.2"
_collector = threading.Lock()
_PURGE = b"arena.4096.purge"  # for all arenas: MALLCTL_ARENAS_ALL in jemalloc's manual


def lower_priority() -> None:
    """Lowers the priority of the calling thread, so that requests go before its work.

    Used for threads that prepare the graphs of a version. Only Linux has a priority per thread.
    """
    with contextlib.suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)


def free_tensors_at_once() -> None:
    """Makes TensorFlow free the memory of tensors instead of keeping it; call before its import.

    With oneDNN, it keeps the memory of the largest requests so far in a pool of its own. A value
    that the environment already has is respected.
    """
    os.environ.setdefault("TF_ONEDNN_USE_SYSTEM_ALLOCATOR", "1")


def allocator_hint() -> str | None:
    """Returns advice to use jemalloc if the server runs with glibc's allocator, and None otherwise.

    The memory that unloaded versions free is fragmented, and glibc cannot return it to the system.
    Loading is slower with glibc too, since TensorFlow prepares a graph with many small allocations.
    Returns None on systems other than Linux.
    """
    try:
        with open("/proc/self/maps", encoding="ascii", errors="replace") as maps:
            if re.search("jemalloc|tcmalloc|mimalloc", maps.read()):
                return None
    except OSError:
        return None
    return (
        f"with jemalloc, memory use stays flat and versions load faster: set LD_PRELOAD={JEMALLOC}"
    )


def raise_file_limit(count: int) -> None:
    """Raises the limit of open files to fit a number of connections, if the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + OWN_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def freeze_objects() -> None:
    """Excludes all current objects from garbage collection; to be called before serving begins.

    TensorFlow's hundreds of thousands of objects are never freed. Scanning them takes a fifth of a
    second each time and blocks all threads.
    """
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Pauses Python's cyclic garbage collector within the block.

    For code that makes many objects but no reference cycles. The collector runs after a certain
    number of new objects and blocks all threads. For half a million new lists it took ten times as
    long as making them.
    """
    with _collector:  # else the end of another thread's block would enable it too early
        on = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if on:
                gc.enable()


def release_memory() -> None:
    """Frees objects in reference cycles, such as a graph, and returns freed memory to the system.

    Otherwise Python may collect such cycles only after many versions were loaded. glibc keeps freed
    memory. jemalloc keeps the memory that was freed by a thread that is idle now, such as one that
    loaded a version.
    """
    gc.collect()
    process = ctypes.CDLL(None)
    with contextlib.suppress(AttributeError):
        process.malloc_trim(0)
    with contextlib.suppress(AttributeError):
        process.mallctl(_PURGE, None, None, None, ctypes.c_size_t(0))
