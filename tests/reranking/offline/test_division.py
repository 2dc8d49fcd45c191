"""A log is divided at a moment in time."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.outputs import InputError
from mmrank.reranking.offline.division import divided


def test_the_latest_pages_are_judged() -> None:
    time = np.random.default_rng(1).permutation(100)
    learned, judged = divided(time, judged=0.3)
    assert sorted(time[judged].tolist()) == list(range(70, 100))
    assert sorted(time[learned].tolist()) == list(range(70))


@pytest.mark.parametrize(("pages", "judged"), [(1, 0.4), (0, 0.4), (2, 0.1)])
def test_too_few_pages(pages: int, judged: float) -> None:
    with pytest.raises(InputError, match="too few to divide; log more"):
        divided(np.zeros(pages), judged)
