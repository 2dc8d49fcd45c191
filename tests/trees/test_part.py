"""Lists as trees read them."""

from __future__ import annotations

import numpy as np

from mmrank.trees.part import Part


def test_rows_of_a_list_are_a_group_and_long_lists_several() -> None:
    part = Part(np.zeros([9, 1], np.float32), np.zeros(9), np.array([0, 2, 7, 9]))
    np.testing.assert_array_equal(part.groups(), [0, 0, 1, 1, 1, 1, 1, 2, 2])
    groups = part.groups(most=2)
    assert [int((groups == g).sum()) for g in dict.fromkeys(groups)] == [2, 2, 2, 1, 2]
    np.testing.assert_array_equal(part.groups(most=5), part.groups())  # as many as there may be
