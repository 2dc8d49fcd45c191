"""What the numbers of a config may be: types that name a range, checked where it is read."""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated


@dataclasses.dataclass(frozen=True)
class Range:
    """The finite numbers from one bound to another.

    Attributes:
      low, high: The bounds.
      above, below: Whether the low bound, and the high one, are left out.
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
        if self.high == math.inf:
            return f"above {self.low:g}" if self.above else f"{self.low:g} or more"
        first = f"above {self.low:g} and up" if self.above else f"{self.low:g}"
        last = f"below {self.high:g}" if self.below else f"{self.high:g}"
        return f"{first} to {last}"


Count = Annotated[int, Range(1)]
Whole = Annotated[int, Range(0)]
Seed = Annotated[int, Range(0, 2**32 - 1)]
Positive = Annotated[float, Range(0, above=True)]
Weight = Annotated[float, Range(0)]
Share = Annotated[float, Range(0, 1)]
# Of what is dropped, of which something has to stay; and of what is kept, likewise.
Dropped = Annotated[float, Range(0, 1, below=True)]
Kept = Annotated[float, Range(0, 1, above=True)]
