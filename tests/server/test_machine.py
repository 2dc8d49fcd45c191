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

from mmrank.server.machine import JEMALLOC, NICE, lower_priority, release_memory


def test_objects_in_cycles_are_freed() -> None:
    class Graph:
        pass

    graph = Graph()
    graph.itself = graph  # type: ignore[attr-defined]
    seen = weakref.ref(graph)
    del graph
    release_memory()
    assert seen() is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads have no priority there")
def test_low_priority_is_of_one_thread_only() -> None:
    def priority() -> int:
        lower_priority()
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert pool.submit(priority).result() == NICE
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before


def test_the_hint_about_the_allocator() -> None:
    script = "from mmrank.server.machine import allocator_hint; print(allocator_hint())"
    command = [sys.executable, "-c", script]
    plain = {n: v for n, v in os.environ.items() if n != "LD_PRELOAD"}
    priority = subprocess.run(command, capture_output=True, check=True, text=True, env=plain)
    assert ("LD_PRELOAD=" in priority.stdout) == pathlib.Path("/proc/self/maps").exists()
    if pathlib.Path("/proc/self/maps").exists() and ctypes.util.find_library("jemalloc"):
        jemalloc = {**plain, "LD_PRELOAD": JEMALLOC}
        priority = subprocess.run(command, capture_output=True, check=True, text=True, env=jemalloc)
        assert priority.stdout == "None\n"


FREED = """
import ctypes, threading
from mmrank.server.machine import release_memory

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
release_memory()
print(before, after, resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux reports the memory")
@pytest.mark.parametrize("allocator", ["", JEMALLOC])
def test_memory_freed_by_a_thread_returns_to_the_system(allocator: str) -> None:
    if allocator and not ctypes.util.find_library("jemalloc"):
        pytest.skip("jemalloc is not installed: apt-get install libjemalloc2")
    priority = subprocess.run(
        [sys.executable, "-c", FREED],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "LD_PRELOAD": allocator},
    )
    before, after, given_back = map(int, priority.stdout.split())
    assert after - before > 150
    assert given_back - before < 40


TENSORS = """
import pathlib, resource
from mmrank.server.machine import free_tensors_at_once
free_tensors_at_once()
import tensorflow as tf

def resident():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() >> 20

tf.ones([10]) + 1.0
before = resident()
held = [tf.ones([1 << 24]) for _ in range(3)]  # 64 MiB each
after = resident()
del held
print(before, after, resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux reports the memory")
def test_memory_of_tensors_returns_to_the_system() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TENSORS], capture_output=True, check=True, text=True
    )
    before, after, given_back = map(int, ended.stdout.split())
    assert after - before > 150
    assert given_back - before < 40
