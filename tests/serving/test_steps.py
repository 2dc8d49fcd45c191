"""Work in steps: the runner decides how it runs, and the result is the same."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.serving.steps import Arrays, Done, Fetch, Run, Steps, advance, finish


def work(start: float) -> Steps[float]:
    doubled = yield Run("double", {"x": np.array([start])})
    more = yield Fetch(lambda: 5.0)
    return float(doubled["y"][0]) + more


def double(signature: str, arrays: Arrays) -> Arrays:
    assert signature == "double"
    return {"y": 2 * arrays["x"]}


def test_finish_runs_every_step() -> None:
    assert finish(work(3.0), double) == 11.0


def test_advance_gives_one_step_at_a_time() -> None:
    steps = work(3.0)
    first = advance(steps)
    assert isinstance(first, Run)
    assert first.arrays["x"].tolist() == [3.0]
    second = advance(steps, {"y": np.array([7.0])})
    assert isinstance(second, Fetch)
    assert second.function() == 5.0
    assert advance(steps, 1.0) == Done(8.0)


def test_errors_of_a_step_end_the_work() -> None:
    def fail(signature: str, arrays: Arrays) -> Arrays:
        raise ValueError(signature)

    with pytest.raises(ValueError, match="double"):
        finish(work(3.0), fail)


def test_work_without_steps() -> None:
    def nothing() -> Steps[str]:
        yield from ()
        return "done"

    assert finish(nothing(), double) == "done"
