"""Lists as trees read them."""

from __future__ import annotations

import dataclasses

import numpy as np

MOST_CANDIDATES = 1_023  # of a list, to CatBoost; longer ones are parted in training


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """The lists of one split, as plain numbers.

    Attributes:
      features: [rows, F] float32; NaN, where there is any, means absent.
      grades: At least 0, [rows].
      offsets: List i holds rows offsets[i] to offsets[i + 1]; [lists + 1] int64.
    """

    features: np.ndarray
    grades: np.ndarray
    offsets: np.ndarray

    def groups(self, most: int = MOST_CANDIDATES) -> np.ndarray:
        """A number for every row that is the same within a list, [rows].

        Args:
          most: Rows of one number; a longer list has several.
        """
        lengths = np.diff(self.offsets)
        places = np.arange(self.offsets[-1]) - np.repeat(self.offsets[:-1], lengths)
        parts = (lengths.max(initial=0) - 1) // most + 1
        return np.repeat(np.arange(len(lengths)), lengths) * parts + places // most
