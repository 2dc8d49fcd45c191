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


FREED = """
import ctypes, threading
from mmrank.server.machine import give_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 >> 20

process = ctypes.CDLL(None)
process.malloc.restype = ctypes.c_void_p

def use():
    # Small, so that glibc keeps them, as it does wherever one beyond them is in use.
    held = [ctypes.c_void_p(process.malloc(4000)) for _ in range(50_000)]
    for one in held:
        ctypes.memset(one, 1, 4000)
    kept.append(process.malloc(4000))
    for one in held:
        process.free(one)
    done.set()
    threading.Event().wait()  # idle, as the thread that loaded a version

kept, done = [], threading.Event()
before = resident()
threading.Thread(target=use, daemon=True).start()
done.wait()
after = resident()
give_back()
print(before, after, resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the memory is told by Linux")
@pytest.mark.parametrize("allocator", ["", JEMALLOC])
def test_what_a_thread_freed_goes_back_to_the_system(allocator: str) -> None:
    if allocator and not ctypes.util.find_library("jemalloc"):
        pytest.skip("jemalloc is not installed: apt-get install libjemalloc2")
    told = subprocess.run(
        [sys.executable, "-c", FREED],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "LD_PRELOAD": allocator},
    )
    before, after, given_back = map(int, told.stdout.split())
    assert after - before > 150
    assert given_back - before < 40
