"""Lists in the form that trees read."""

from __future__ import annotations

import dataclasses

import numpy as np

MOST_CANDIDATES = 1_023  # CatBoost's limit for a list; longer lists are split in training


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The lists of one split, as plain numbers.

    Attributes:
      features: [rows, F] float32; NaN means absent.
      grades: At least 0, [rows].
      offsets: List i holds rows offsets[i] to offsets[i + 1]; [lists + 1] int64.
      positions: The position at which each row was shown, [rows] from 1; None if unknown.

    Example:
      >>> import numpy as np
      >>> part = Part(np.zeros([3, 2]), np.array([1, 0, 2]), np.array([0, 2, 3]))
      >>> part.groups().tolist(), part.taken(np.array([False, True])).grades.tolist()
      ([0, 0, 1], [2])
    """

    features: np.ndarray
    grades: np.ndarray
    offsets: np.ndarray
    positions: np.ndarray | None = None

    def taken(self, lists: np.ndarray) -> Part:
        """Some of the lists, in their order.

        Args:
          lists: Which ones, [lists] bool.
        """
        lengths = np.diff(self.offsets)
        rows = np.repeat(lists, lengths)
        offsets = np.cumsum([0, *lengths[lists]]).astype(np.int64)
        return Part(self.features[rows], self.grades[rows], offsets)

    def groups(self, most: int = MOST_CANDIDATES) -> np.ndarray:
        """A group number for every row, [rows]; shared by the rows of a list that is not split.

        Args:
          most: Maximum rows of a group; a longer list is split into several groups.
        """
        lengths = np.diff(self.offsets)
        indices = np.arange(self.offsets[-1]) - np.repeat(self.offsets[:-1], lengths)
        parts = (lengths.max(initial=0) - 1) // most + 1
        return np.repeat(np.arange(len(lengths)), lengths) * parts + indices // most
