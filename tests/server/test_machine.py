from __future__ import annotations

import concurrent.futures
import ctypes.util
import os
import pathlib
import subprocess
import sys
import threading
import weakref

import pytest

from mmrank.server.machine import JEMALLOC, NICE, give_back, stand_back


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


def test_what_is_told_of_the_allocator() -> None:
    script = "from mmrank.server.machine import allocator_hint; print(allocator_hint())"
    command = [sys.executable, "-c", script]
    plain = {n: v for n, v in os.environ.items() if n != "LD_PRELOAD"}
    told = subprocess.run(command, capture_output=True, check=True, text=True, env=plain)
    assert ("LD_PRELOAD=" in told.stdout) == pathlib.Path("/proc/self/maps").exists()
    if pathlib.Path("/proc/self/maps").exists() and ctypes.util.find_library("jemalloc"):
        jemalloc = {**plain, "LD_PRELOAD": JEMALLOC}
        told = subprocess.run(command, capture_output=True, check=True, text=True, env=jemalloc)
        assert told.stdout == "None\n"
