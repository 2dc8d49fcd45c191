"""When a store is queried and when it is not."""

from __future__ import annotations

from mmrank.serving.embeddings.breaker import Breaker


class Clock:
    """A clock in seconds that the test advances."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_only_after_consecutive_failures() -> None:
    breaker = Breaker(3, 1.0, 8.0, Clock())
    for report in (breaker.failure, breaker.failure, breaker.success, breaker.failure):
        report()
    breaker.failure()
    assert breaker.allow()
    assert not breaker.open
    breaker.failure()
    assert breaker.open
    assert not breaker.allow()


def test_one_probe_after_each_pause_and_pauses_double() -> None:
    clock = Clock()
    breaker = Breaker(1, 1.0, 5.0, clock)
    breaker.failure()
    for pause in (1.0, 2.0, 4.0, 5.0, 5.0):
        clock.now += pause - 0.01
        assert not breaker.allow()
        clock.now += 0.01
        assert breaker.allow()
        assert not breaker.allow()  # other calls wait for the probe
        breaker.failure()


def test_a_probe_that_succeeds_closes_it_and_forgets_the_pauses() -> None:
    clock = Clock()
    breaker = Breaker(1, 1.0, 8.0, clock)
    breaker.failure()
    clock.now = 1.0
    assert breaker.allow()
    breaker.failure()
    clock.now = 3.0
    assert breaker.allow()
    breaker.success()
    assert breaker.allow()
    assert breaker.allow()
    breaker.failure()
    clock.now = 3.99
    assert not breaker.allow()
    clock.now = 4.0
    assert breaker.allow()


def test_calls_in_progress_when_it_opened_do_not_double_the_pause() -> None:
    clock = Clock()
    breaker = Breaker(2, 1.0, 30.0, clock)
    for _ in range(8):
        assert breaker.allow()
    assert [breaker.failure() for _ in range(8)] == [False, True] + [False] * 6
    clock.now = 1.0
    assert breaker.allow()
    for _ in range(3):  # the probe's failure, and failures of earlier calls
        assert not breaker.failure()
    clock.now = 2.99
    assert not breaker.allow()
    clock.now = 3.0
    assert breaker.allow()
    assert breaker.success()
    assert not breaker.success()


def test_a_probe_that_never_reports_times_out() -> None:
    clock = Clock()
    breaker = Breaker(1, 1.0, 8.0, clock)
    breaker.failure()
    clock.now = 1.0
    assert breaker.allow()
    clock.now = 2.0
    assert breaker.allow()
