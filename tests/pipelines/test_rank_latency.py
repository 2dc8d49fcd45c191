"""The verdict of the comparison of two checkouts."""

from __future__ import annotations

import os
import pathlib
import time

import pytest

from pipelines.benchmarks.hostile.memory import Tree
from pipelines.benchmarks.rank_latency import HERE, OTHER, Measured, judge, main, report
from pipelines.benchmarks.serving_latency import Timing


def of(way: str, milliseconds: float, processor: float, clients: int = 1) -> Measured:
    return Measured(Timing(way, 100, clients, [milliseconds / 1e3] * 5, 1.0), processor / 1e3)


@pytest.mark.parametrize(
    ("here", "passed"),
    [((10.0, 4.0), [True, True]), ((10.6, 4.1), [False, True]), ((9.0, 4.3), [True, False])],
)
def test_at_most_a_twentieth_slower_passes(here: tuple[float, float], passed: list[bool]) -> None:
    found = [of(HERE, *here), of(OTHER, 10.0, 4.0)]
    assert [p for _, p in judge(found)] == passed
    assert report(found).count("FAILED") == passed.count(False)


def test_numbers_of_clients_are_judged_apart() -> None:
    found = [of(w, 5.0 * c, 1.0, c) for w in (HERE, OTHER) for c in (1, 8)]
    words = [w for w, _ in judge(found)]
    assert [w.split(":")[0] for w in words] == [
        f"100 candidates, {c} clients, {what}"
        for c in (1, 8)
        for what in ("median", "processor time per request")
    ]


def test_processor_time_of_this_process() -> None:
    tree = Tree(os.getpid())
    before, own = tree.processor(), time.process_time()
    while time.process_time() < own + 0.2:
        pass
    assert tree.processor() - before >= 0.15


def test_wrong_input(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "x", "--data", "x", "--other", str(tmp_path)]) == 2
    assert "not a checkout of this project" in capsys.readouterr().err
