from __future__ import annotations

import numpy as np
import pytest

from mmrank.data.runs import run_starts


@pytest.mark.parametrize(
    ("values", "starts"),
    [
        (np.array([3, 3, 1, 1, 1, 3]), [0, 2, 5]),
        (np.array(["a", "b", "b"], dtype=object), [0, 1]),
        (np.array([7]), [0]),
        (np.zeros(0), []),
        (np.zeros(0, dtype=object), []),
    ],
)
def test_starts(values: np.ndarray, starts: list[int]) -> None:
    found = run_starts(values)
    assert found.dtype == np.int64
    assert found.tolist() == starts
