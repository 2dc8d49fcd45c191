"""When a new folder counts as complete, and on which thread slow steps of loading run."""

from __future__ import annotations

import concurrent.futures
import threading

from mmrank.server.arrivals import LONGEST, Arrivals
from mmrank.server.loading import EscalatingRunner


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_folder_rests_only_once_changes_stop() -> None:
    clock = Clock()
    arrivals = Arrivals(1.0, clock)
    for size in range(5):  # a copy in progress
        assert not arrivals.is_stable(7, (1, size, 0))
        clock.now += 5
    assert not arrivals.is_stable(7, (2, 9, 0))
    clock.now += 0.5
    assert not arrivals.is_stable(7, (2, 9, 0))
    clock.now += 0.5
    assert arrivals.is_stable(7, (2, 9, 0))
    assert not arrivals.is_stable(8, (2, 9, 0))  # another version


def test_each_refusal_doubles_the_wait() -> None:
    clock = Clock()
    arrivals = Arrivals(1.0, clock)
    for number in range(9):
        arrivals.is_stable(7, (1, number, 0))
        wait = min(LONGEST, 2.0**number)
        clock.now += wait - 0.1
        assert not arrivals.is_stable(7, (1, number, 0))
        clock.now += 0.1
        assert arrivals.is_stable(7, (1, number, 0))
        arrivals.refused(7)
    arrivals.loaded(7)
    arrivals.is_stable(7, (1, 0, 0))
    clock.now += 1
    assert arrivals.is_stable(7, (1, 0, 0))


def test_steps_that_waited_too_long_run_on_another_thread() -> None:
    clock = Clock()
    with concurrent.futures.ThreadPoolExecutor(1, "hasty") as fast:
        run = EscalatingRunner(fast, 20.0, clock)
        where = [run(lambda: threading.current_thread().name)]
        clock.now += 19.9
        where.append(run(lambda: threading.current_thread().name))
        clock.now += 0.2
        where.append(run(lambda: threading.current_thread().name))
    assert where[:2] == [threading.current_thread().name] * 2
    assert where[2].startswith("hasty")
