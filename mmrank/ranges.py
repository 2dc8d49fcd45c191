"""The valid ranges of numbers in a config, as types; checked when the config is read."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated


@dataclasses.dataclass(frozen=True)
class Range:
    """The finite numbers from one bound to another.

    Attributes:
      low, high: The bounds.
      above, below: Whether the low bound, and the high bound, are excluded.

    Example:
      >>> 0.5 in Range(0, 1), 0 in Range(0, above=True), float("inf") in Range(0)
      (True, False, False)
      >>> str(Range(0, 1, below=True))
      '0 to below 1'
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        low = value > self.low if self.above else value >= self.low
        high = value < self.high if self.below else value <= self.high
        return math.isfinite(value) and low and high

    def __str__(self) -> str:
        low, high = f"{self.low:.10g}", f"{self.high:.10g}"
        if self.high == math.inf:
            return f"above {low}" if self.above else f"{low} or more"
        first = f"above {low} and up" if self.above else low
        last = f"below {high}" if self.below else high
        return f"{first} to {last}"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """A set of allowed values.

    Attributes:
      values: The allowed numbers or texts.

    Example:
      >>> 2 in OneOf((0, 2)), 1 in OneOf((0, 2))
      (True, False)
    """

    values: tuple[int | str, ...]

    def __contains__(self, value: float | str) -> bool:
        return value in self.values

    def __str__(self) -> str:
        return " or ".join(map(str, self.values))


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]  # as NumPy takes it
Positive = Annotated[float, Range(0, above=True)]
Weight = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
# The share of something that is dropped, never all of it; and the share that is kept, never none.
Dropped = Annotated[float, Range(0, 1, below=True)]
Kept = Annotated[float, Range(0, 1, above=True)]
