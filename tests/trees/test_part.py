"""Lists in the form that trees read."""

from __future__ import annotations

import numpy as np

from mmrank.trees.part import Part


def test_each_list_is_a_group_and_long_lists_are_several() -> None:
    part = Part(np.zeros([9, 1], np.float32), np.zeros(9), np.array([0, 2, 7, 9]))
    np.testing.assert_array_equal(part.groups(), [0, 0, 1, 1, 1, 1, 1, 2, 2])
    groups = part.groups(most=2)
    assert [int((groups == g).sum()) for g in dict.fromkeys(groups)] == [2, 2, 2, 1, 2]
    np.testing.assert_array_equal(part.groups(most=5), part.groups())  # the longest list


def test_some_lists_are_taken_with_their_rows() -> None:
    part = Part(np.arange(9)[:, None].astype("f4"), np.arange(9) % 3, np.array([0, 2, 7, 9]))
    some = part.taken(np.array([True, False, True]))
    np.testing.assert_array_equal(some.features[:, 0], [0, 1, 7, 8])
    np.testing.assert_array_equal(some.grades, [0, 1, 1, 2])
    np.testing.assert_array_equal(some.offsets, [0, 2, 4])
