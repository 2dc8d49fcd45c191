"""The alarm for guards that stop a policy too often."""

from __future__ import annotations

import logging

import pytest

from mmrank.server.monitor.guard_alarm import GuardAlarm

NAMES = ("window_pages", "stopped_share", "stopped_threshold", "alarm")


class Clock:
    """A clock that a test sets."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def read(alarm: GuardAlarm) -> dict[str, float]:
    found = {family.name: family.samples[0].value for family in alarm.collect()}
    return {name: found[f"mmrank_guard_{name}"] for name in NAMES}


def test_the_alarm_is_on_above_the_share(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    alarm = GuardAlarm(share=0.5, minutes=60, least=4, clock=clock)
    with caplog.at_level(logging.WARNING):
        for stopped in (True, True, False, False):
            alarm.page(stopped)
        assert read(alarm) == {
            "window_pages": 4,
            "stopped_share": 0.5,
            "stopped_threshold": 0.5,
            "alarm": 0,
        }
        alarm.page(True)
        alarm.page(True)
        assert read(alarm)["alarm"] == 1
        assert read(alarm)["stopped_share"] == pytest.approx(4 / 6)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "3 of 5 pages" in line
    assert "on" in line


def test_few_pages_raise_no_alarm() -> None:
    alarm = GuardAlarm(share=0.5, minutes=60, least=4, clock=Clock())
    for _ in range(3):
        alarm.page(True)
    assert read(alarm)["alarm"] == 0


def test_pages_leave_the_window(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    alarm = GuardAlarm(share=0.1, minutes=60, least=1, clock=clock)
    with caplog.at_level(logging.WARNING):
        alarm.page(True)
        clock.seconds = 30 * 60
        alarm.page(False)
        assert read(alarm)["window_pages"] == 2
        clock.seconds = 60 * 60
        assert read(alarm) == {
            "window_pages": 1,
            "stopped_share": 0,
            "stopped_threshold": 0.1,
            "alarm": 0,
        }
        clock.seconds = 100 * 60
        assert read(alarm)["window_pages"] == 0
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split()[-1] for line in lines] == ["on", "off"]
