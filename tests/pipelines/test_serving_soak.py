"""The parts of the soak test that judge: load at a given rate, the search, and the verdict."""

from __future__ import annotations

import pathlib
import threading
import time

import pytest

from pipelines.benchmarks.serving_soak import Watched, main, report
from pipelines.benchmarks.soak.load import (
    Measured,
    Outcome,
    Reply,
    closed_loop,
    highest_rate,
    open_loop,
)


def test_requests_are_due_once_and_evenly() -> None:
    seen: list[int] = []
    lock = threading.Lock()

    def send(number: int) -> Reply:
        with lock:
            seen.append(number)
        return Reply()

    measured = open_loop(send, rate=200, seconds=0.25, workers=4)
    assert sorted(seen) == list(range(50))
    assert [o.due for o in measured.outcomes] == [n / 200 for n in range(50)]


def test_waiting_for_other_requests_counts() -> None:
    def slow(number: int) -> Reply:
        time.sleep(0.02)
        return Reply()

    # One worker handles 50 a second; at 500 a second, the tenth request waits for nine others.
    measured = open_loop(slow, rate=500, seconds=0.02, workers=1)
    assert len(measured.outcomes) == 10
    assert measured.outcomes[-1].seconds > 9 * 0.02
    assert measured.outcomes[-1].seconds > measured.outcomes[0].seconds


def test_the_load_can_end_early() -> None:
    stop = threading.Event()
    stop.set()
    assert not open_loop(lambda n: Reply(), 100, 60, 2, stop).outcomes


def test_only_good_answers_count_in_the_closed_loop() -> None:
    def every_other(number: int) -> Reply:
        time.sleep(0.005)
        return Reply(error="odd" if number % 2 else "")

    assert 0 < closed_loop(every_other, 2, 0.2) <= 200.0 * 1.1


def test_the_search_goes_down_until_a_rate_is_held() -> None:
    rates: list[float] = []

    def send(number: int) -> Reply:
        return Reply(error="too much" if len(rates) < 2 and number == 0 else "")

    def counted(number: int) -> Reply:
        reply = send(number)
        if number == 0:
            rates.append(0.0)
        return reply

    rate, tried = highest_rate(counted, start=100, seconds=0.05, workers=2, most_ms=1000)
    assert rate == pytest.approx(81)
    assert [failed for _, _, failed in tried] == [1, 1, 0]
    with pytest.raises(RuntimeError, match="no highest rate"):
        highest_rate(lambda n: Reply(error="no"), 100, 0.01, 1, 1000)


def test_the_search_also_goes_up() -> None:
    errors = iter(["", "", "", "busy"])  # for the first request of each rate
    rate, tried = highest_rate(
        lambda n: Reply(error="" if n else next(errors)), 10, 0.1, workers=1, most_ms=1000
    )
    assert rate == pytest.approx(10 * 1.1**2)
    assert [r for r, _, _ in tried] == pytest.approx([10, 11, 12.1, 13.31])


def test_percentiles_exclude_failures() -> None:
    outcomes = [Outcome(0.0, 0.001 * n, Reply()) for n in range(1, 102)]
    outcomes.append(Outcome(0.0, 9.0, Reply(error="late")))
    assert Measured(outcomes).milliseconds(50) == [pytest.approx(51)]
    assert Measured(outcomes).failures == {"late": 1}


def good(rate: float = 10.0, seconds: float = 10.0) -> list[Outcome]:
    """Versions 1 to 4 answer, and Redis is unavailable in the middle."""
    count = int(rate * seconds)
    return [Outcome(n / rate, 0.01, Reply(1 + 4 * n // count, 50 <= n < 60)) for n in range(count)]


def flat(growth: float = 0.0) -> Watched:
    memory = [(t / 10, 1e9 * (1 + growth * (t >= 50))) for t in range(100)]
    return Watched(memory)


def test_the_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(Measured(good()), flat(0.04), 10.0, 10.0)
    assert "+4.0%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("outcomes", "watched"),
    [
        ([*good(), Outcome(9.9, 0.1, Reply(error="rank: status 500"))], flat()),
        (good(), flat(0.06)),
        (good()[:90], flat()),
        ([Outcome(o.due, o.seconds, Reply(1, o.reply.store_away)) for o in good()], flat()),
        ([Outcome(o.due, o.seconds, Reply(o.reply.version)) for o in good()], flat()),
        (good(), Watched(flat().memory, held={"slow readers were disconnected": False})),
    ],
    ids=["failure", "memory", "too few", "no change", "no outage", "no nuisance"],
)
def test_violations_fail(outcomes: list[Outcome], watched: Watched) -> None:
    assert not report(Measured(outcomes), watched, 10.0, 10.0)


def test_wrong_input(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--export", str(tmp_path), "--data", str(tmp_path)]
    assert main(arguments) == 2
    assert "is not an export of mmrank" in capsys.readouterr().err
