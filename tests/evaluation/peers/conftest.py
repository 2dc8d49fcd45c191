"""Lists graded by the first of four features; two others are noise, one is constant in a query."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mmrank.evaluation.peers import Part

LENGTH = 8


@pytest.fixture
def part() -> Callable[[int, int], Part]:
    """A function of the number of lists and the seed, which makes lists of eight candidates."""

    def make(lists: int, seed: int) -> Part:
        random = np.random.default_rng(seed)
        features = random.normal(size=(LENGTH * lists, 4)).astype(np.float32)
        # Some grades are fractional (thirds), because not every library accepts them.
        grades = np.clip(np.round(features[:, 0] + 1), 0, 2) + (features[:, 0] > 1.5) / 3
        features[:, 2] = np.repeat(random.normal(size=lists), LENGTH)
        features[random.random(len(features)) < 0.1, 1] = np.nan
        positions = np.tile(np.arange(LENGTH) + 1, lists)  # which do not depend on the grades
        return Part(features, grades, np.arange(0, LENGTH * lists + 1, LENGTH), positions)

    return make
