from __future__ import annotations

import concurrent.futures
import os
import platform
import subprocess
import sys
import threading
import weakref

import pytest

from mmrank.server.machine import NICE, give_back, stand_back


def test_what_only_a_cycle_holds_is_freed() -> None:
    class Graph:
        pass

    graph = Graph()
    graph.itself = graph  # type: ignore[attr-defined]
    seen = weakref.ref(graph)
    del graph
    give_back()
    assert seen() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads have no priority there")
def test_a_thread_stands_back_alone() -> None:
    def told() -> int:
        stand_back()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(told).result() == NICE
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other libraries have no arenas")
def test_threads_share_as_few_heaps_as_there_are_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    # glibc tells of its heaps on a file alone, and those made already would stay: in a new process.
    told = subprocess.run([sys.executable, "-c", ARENAS], capture_output=True, check=True)
    assert int(told.stdout) <= max(2, os.cpu_count() or 1)
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    told = subprocess.run([sys.executable, "-c", ARENAS], capture_output=True, check=True)
    assert int(told.stdout) == 1


ARENAS = """
import ctypes, os, tempfile, threading
from mmrank.server.machine import few_arenas
few_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
barrier = threading.Barrier(20)
def allocate():
    libc.malloc(5000)
    barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(20)]
[t.start() for t in threads]
[t.join() for t in threads]
libc.fopen.restype = ctypes.c_void_p
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count(b"<heap "))
"""
