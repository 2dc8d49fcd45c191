"""The benchmark of trees as ops: the same scores, and a time for each way."""

from __future__ import annotations

from pipelines.benchmarks.forest_latency import WAYS, measure


def test_each_way_is_timed_at_each_length() -> None:
    rows = list(measure([5, 20], trees=10, depth=3, features=4, threads=1, repeats=2))
    assert [row.candidates for row in rows] == [5, 20]
    for row in rows:
        assert set(row.milliseconds) == set(WAYS)
        assert all(ms > 0 for ms in row.milliseconds.values())
        assert len(row.to_text().split()) == 5
