"""Prioritised replay against its formulas."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.reranking.dqn.replay import Replay


def filled(rewards: list[float], size: int, priority: float = 1.0) -> Replay:
    replay = Replay(size, priority)
    for reward in rewards:
        replay.add({"x": np.array([reward])}, 1, reward, {"x": np.array([-reward])}, 0.5)
    return replay


def test_the_oldest_are_replaced() -> None:
    replay = filled([1.0, 2.0, 3.0, 4.0, 5.0], size=3)
    drawn, _, _ = replay.draw(200, 1.0, np.random.default_rng(0))
    assert len(replay) == 3
    assert set(drawn["reward"].tolist()) == {3.0, 4.0, 5.0}
    np.testing.assert_array_equal(drawn["before/x"][:, 0], drawn["reward"])
    np.testing.assert_array_equal(drawn["after/x"][:, 0], -drawn["reward"])
    assert set(drawn["action"].tolist()) == {1}
    assert set(drawn["discount"].tolist()) == {0.5}


@pytest.mark.parametrize("priority", [0.0, 0.5, 1.0])
def test_draws_and_weights_follow_the_priorities(priority: float) -> None:
    replay, errors = filled([1.0, 2.0, 3.0], size=8, priority=priority), np.array([0.1, -0.4, 2.0])
    replay.update(np.arange(3), errors)
    probability = (np.abs(errors) + 1e-3) ** priority
    probability /= probability.sum()
    _, rows, weights = replay.draw(30_000, 0.7, np.random.default_rng(1))
    np.testing.assert_allclose(np.bincount(rows, minlength=3) / 30_000, probability, atol=0.01)
    raw = (3 * probability) ** -0.7
    np.testing.assert_allclose(weights, (raw / raw.max())[rows], rtol=1e-5)


def test_new_transitions_have_the_highest_priority() -> None:
    replay = filled([1.0, 2.0], size=4)
    replay.update(np.arange(2), np.array([9.0, 0.0]))
    replay.add({"x": np.zeros(1)}, 0, 7.0, {"x": np.zeros(1)}, 0.0)
    drawn, _, _ = replay.draw(20_000, 0.0, np.random.default_rng(2))
    share = (drawn["reward"] == 7.0).mean()
    assert share == pytest.approx(0.5, abs=0.02)
