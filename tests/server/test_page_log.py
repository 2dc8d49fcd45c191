"""The page log: what is written, what is counted instead, and that nobody waits for the disk."""

from __future__ import annotations

import errno
import logging
import os
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from mmrank.data.page_log_lines import (
    FEEDBACK,
    SHOWN,
    Feedback,
    Seen,
    ShownPage,
    feedback_from_line,
    shown_from_line,
)
from mmrank.server.monitor.page_metrics import PageMetrics
from mmrank.server.page_log import LogError, PageLog
from mmrank.server.page_log_options import LogOptions

PATIENCE = 20.0  # seconds
REPORT = Feedback("a" * 32, 5.0, clicks=("P1",), dwell={"P1": 2.5})


def shown(page: str = "0" * 32, query: str = "红色 dress", **more: Any) -> ShownPage:
    seen = Seen(
        attraction=np.array([0.2, 0.1], np.float32),
        purchase=np.array([0.02, 0.01], np.float32),
        dwell=np.array([10.0, 20.0], np.float32),
        price=np.array([5.0, 7.0], np.float32),
        vector=np.array([[1.0, 0.0], [0.6, 0.8]], np.float32),
    )
    given: dict[str, Any] = {
        "page": page,
        "time": 1.5,
        "model": "shop",
        "version": 3,
        "query": {"query": query, "age": 3},
        "user": None,
        "items": ("P1", "P2", "P3"),
        "scores": np.array([2.0, 1.0, 0.5], np.float32),
        "size": 2,
        "seen": seen,
        "policy": True,
        "base": np.array([1, 0, 2]),
        "order": np.array([0, 1, 2]),
        "exploration": {"kind": "pair_swap", "epsilon": 0.05, "open": [True, True]},
        "probability": 0.05,
        "conditional": np.array([0.05, 1.0]),
    }
    return ShownPage(**{**given, **more})


class Watched:
    """A log with its metrics."""

    def __init__(self, folder: pathlib.Path, **options: Any):
        self.folder, self.registry = folder, CollectorRegistry()
        self.log = PageLog(folder, LogOptions(**options), PageMetrics(self.registry))

    def metric(self, name: str) -> float:
        """The value of a line of the page of metrics; 0 if it has no such line."""
        for line in generate_latest(self.registry).decode().splitlines():
            if line.startswith(f"mmrank_page_log_{name} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    def lines(self, pattern: str) -> list[bytes]:
        files = sorted(self.folder.glob(pattern))
        return [line for file in files for line in file.read_bytes().splitlines(keepends=True)]


def wait_for(done: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_pages_and_feedback_are_read_back(tmp_path: pathlib.Path) -> None:
    watched = Watched(tmp_path / "new" / "log")
    assert watched.log.add(shown())
    assert watched.log.add(REPORT)
    watched.log.close()
    (page,) = map(shown_from_line, watched.lines(SHOWN))
    assert (page.page, page.items, page.query) == (
        "0" * 32,
        ("P1", "P2", "P3"),
        {"query": "红色 dress", "age": 3.0},
    )
    assert page.order.tolist() == [0, 1, 2]
    assert page.seen is not None
    np.testing.assert_allclose(page.seen.vector, [[1.0, 0.0], [0.6, 0.8]], atol=1e-3)
    (report,) = map(feedback_from_line, watched.lines(FEEDBACK))
    assert report == REPORT
    assert watched.metric('lines_total{kind="shown"}') == 1
    assert watched.metric('lines_total{kind="feedback"}') == 1
    assert watched.metric("waiting_bytes") == 0
    for file in (tmp_path / "new" / "log").iterdir():
        assert file.stat().st_mode & 0o777 == 0o600


def test_two_logs_in_one_folder_have_files_of_their_own(tmp_path: pathlib.Path) -> None:
    both = [Watched(tmp_path), Watched(tmp_path)]
    for number, watched in enumerate(both):
        watched.log.add(shown(str(number)))
        watched.log.close()
    assert len(list(tmp_path.glob(SHOWN))) == 2
    assert {shown_from_line(line).page for line in both[0].lines(SHOWN)} == {"0", "1"}


def test_the_next_file_begins_at_a_size(tmp_path: pathlib.Path) -> None:
    watched = Watched(tmp_path, file_megabytes=0.01)
    for number in range(40):
        watched.log.add(shown(f"{number:032d}"))
    watched.log.close()
    files = sorted(tmp_path.glob(SHOWN))
    assert len(files) > 1
    assert all(file.stat().st_size <= 0.01 * 2**20 for file in files)
    pages = [int(shown_from_line(line).page) for line in watched.lines(SHOWN)]
    assert pages == list(range(40))  # in the order of the files' names


def test_a_line_longer_than_a_file_gets_a_file(tmp_path: pathlib.Path) -> None:
    watched = Watched(tmp_path, file_megabytes=1e-4)
    watched.log.add(shown("1"))
    watched.log.add(shown("2"))
    watched.log.close()
    assert [len(file.read_bytes().splitlines()) for file in sorted(tmp_path.glob(SHOWN))] == [1, 1]


def test_a_slow_disk_delays_nobody_and_what_does_not_fit_is_counted(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, write = threading.Event(), os.write

    def slow(stream: int, data: bytes) -> int:
        held.wait(PATIENCE)
        return write(stream, data)

    watched = Watched(tmp_path, queue_megabytes=0.1)
    monkeypatch.setattr("mmrank.server.page_log.os.write", slow)
    started = time.monotonic()
    taken = [watched.log.add(shown(f"{n:032d}")) for n in range(200)]
    assert time.monotonic() - started < PATIENCE / 4
    assert taken[0]
    assert not taken[-1]
    lost = taken.count(False)
    assert watched.metric('lost_total{kind="shown",reason="queue"}') == lost
    held.set()
    watched.log.close()
    assert len(watched.lines(SHOWN)) == 200 - lost
    assert not watched.log.add(REPORT)  # closed
    assert watched.metric('lost_total{kind="feedback",reason="shutdown"}') == 1


def test_closing_does_not_wait_for_ever(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    held, write = threading.Event(), os.write

    def stuck(stream: int, data: bytes) -> int:
        held.wait(PATIENCE)
        return write(stream, data)

    watched = Watched(tmp_path)
    monkeypatch.setattr("mmrank.server.page_log.os.write", stuck)
    for number in range(5):
        watched.log.add(shown(str(number)))
    wait_for(lambda: watched.log._queue.qsize() == 4)
    watched.log.close(seconds=0.05)
    assert watched.metric('lost_total{kind="shown",reason="shutdown"}') == 4
    assert "not written within" in caplog.text
    held.set()
    watched.log._thread.join(PATIENCE)
    assert not watched.log._thread.is_alive()


def test_a_full_disk_is_counted_and_leaves_no_half_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    write, full = os.write, threading.Event()

    def limited(stream: int, data: bytes) -> int:
        if not full.is_set():
            return write(stream, data)
        if len(data) < 100:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(stream, data[: len(data) - 50])  # the rest does not fit

    watched = Watched(tmp_path)
    monkeypatch.setattr("mmrank.server.page_log.os.write", limited)
    with caplog.at_level(logging.WARNING):
        watched.log.add(shown("1"))
        wait_for(lambda: watched.metric('lines_total{kind="shown"}') == 1)
        full.set()
        watched.log.add(shown("2"))
        watched.log.add(shown("3"))
        wait_for(lambda: watched.metric('lost_total{kind="shown",reason="disk"}') == 2)
        full.clear()
        watched.log.add(shown("4"))
        watched.log.close()
    assert [shown_from_line(line).page for line in watched.lines(SHOWN)] == ["1", "4"]
    assert len(list(tmp_path.glob(SHOWN))) == 1
    lines = [record.getMessage() for record in caplog.records]
    assert [line.partition(":")[0] for line in lines] == [
        "the page log cannot be written",
        "the page log can be written again",
    ]


def test_a_file_that_only_grows_ends_with_the_half_line(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, calls = os.write, list[int]()

    def breaks(stream: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return write(stream, data[:30] if len(calls) == 1 else data)

    def refused(stream: int, size: int) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    watched = Watched(tmp_path)
    monkeypatch.setattr("mmrank.server.page_log.os.write", breaks)
    monkeypatch.setattr("mmrank.server.page_log.os.ftruncate", refused)
    watched.log.add(shown("1"))
    watched.log.add(shown("2"))
    watched.log.close()
    first, second = sorted(tmp_path.glob(SHOWN))
    assert len(first.read_bytes()) == 30
    assert shown_from_line(second.read_bytes()).page == "2"


def test_a_removed_file_is_replaced(tmp_path: pathlib.Path) -> None:
    watched = Watched(tmp_path)
    watched.log.add(shown("1"))
    wait_for(lambda: watched.metric('lines_total{kind="shown"}') == 1)
    for file in tmp_path.glob(SHOWN):
        file.unlink()
    watched.log.add(shown("2"))
    watched.log.close()
    assert [shown_from_line(line).page for line in watched.lines(SHOWN)] == ["2"]


def test_a_record_that_is_no_line_does_not_end_the_log(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched(tmp_path)
    watched.log.add(shown("1", scores=np.array([np.nan, 1.0, 2.0])))
    watched.log.add(shown("2", query="\ud800"))
    watched.log.add(shown("3"))
    watched.log.close()
    assert [shown_from_line(line).page for line in watched.lines(SHOWN)] == ["3"]
    assert watched.metric('lost_total{kind="shown",reason="invalid"}') == 2


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogError, match=r"log\.folder .*file"):
        Watched(tmp_path / "file")
