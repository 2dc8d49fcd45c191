"""The log of a training in rounds: a line at most every 30 seconds."""

from __future__ import annotations

import types

import pytest

from mmrank.trees import progress
from mmrank.trees.progress import RoundProgress


def test_a_line_at_most_every_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    seconds = iter([100.0, 110.0, 130.0, 159.0, 161.5, 170.0])
    clock = types.SimpleNamespace(monotonic=lambda: next(seconds))
    monkeypatch.setattr(progress, "time", clock)
    rounds = RoundProgress("yetirank", 800)
    with caplog.at_level("INFO"):
        rounds.done(1)
        assert rounds.after_iteration(types.SimpleNamespace(iteration=5))  # goes on
        for n in (8, 9, 10):
            rounds.done(n)
    assert caplog.messages == [
        "yetirank: round 5 of at most 800 after 30 s",
        "yetirank: round 9 of at most 800 after 62 s",
    ]
