from __future__ import annotations

import concurrent.futures
import os
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
