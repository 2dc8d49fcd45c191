"""Lists whose grades the first of four features tells, beside noise and a query's own number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmrank.evaluation.peers import Part

LENGTH = 8


@pytest.fixture
def part() -> Callable[[int, int], Part]:
    """Lists of eight candidates: how many, and the seed."""

    def make(lists: int, seed: int) -> Part:
        random = np.random.default_rng(seed)
        features = random.normal(size=(LENGTH * lists, 4)).astype(np.float32)
        # A grade in part by thirds: not every library takes any but whole ones.
        grades = np.clip(np.round(features[:, 0] + 1), 0, 2) + (features[:, 0] > 1.5) / 3
        features[:, 2] = np.repeat(random.normal(size=lists), LENGTH)
        features[random.random(len(features)) < 0.1, 1] = np.nan
        return Part(features, grades, np.arange(0, LENGTH * lists + 1, LENGTH))

    return make
