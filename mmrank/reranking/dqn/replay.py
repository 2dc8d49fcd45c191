"""Transitions that a policy learns from again, the surprising ones more often."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeVar

import numpy as np

__all__ = ["Replay", "observations_of"]

Observation = Mapping[str, np.ndarray]
T = TypeVar("T")


def observations_of(batch: Mapping[str, T], when: Literal["before", "after"]) -> dict[str, T]:
    """Returns the observations before or after the moves of a batch of `Replay.draw`.

    Example:
      >>> observations_of({"reward": 1.0, "before/mask": 2.0, "after/mask": 3.0}, "before")
      {'mask': 2.0}
    """
    start = f"{when}/"
    return {n.removeprefix(start): v for n, v in batch.items() if n.startswith(start)}


class Replay:
    """The latest transitions, drawn with probability p^priority / Σ p^priority.

    p is the absolute error of a transition when it was last drawn, and the highest so far for a new
    one. Importance weights (1 / (N · probability))^correction, divided by the largest of their
    batch, correct for the unequal drawing.

    Source: Schaul et al., "Prioritized experience replay" (ICLR 2016), section 3.

    Args:
      size: Number of transitions kept.
      priority: Exponent of the priorities; 0 draws uniformly.

    Example:
      >>> import numpy as np
      >>> replay, seen = Replay(size=2, priority=1.0), {"mask": np.ones(1)}
      >>> for reward in (1.0, 2.0, 3.0):
      ...     replay.add(seen, 0, reward, seen, 1.0)
      >>> drawn, rows, weights = replay.draw(4, 1.0, np.random.default_rng(0))
      >>> len(replay), set(drawn["reward"].tolist()) <= {2.0, 3.0}, weights.tolist()
      (2, True, [1.0, 1.0, 1.0, 1.0])
    """

    def __init__(self, size: int, priority: float):
        self._size, self._exponent = size, priority
        self._columns: dict[str, np.ndarray] = {}
        self._powers = np.zeros(size)  # the priorities to the power of the exponent
        self._highest, self._next, self._filled = 1.0, 0, 0

    def __len__(self) -> int:
        return self._filled

    def add(
        self,
        before: Observation,
        action: int,
        reward: float,
        after: Observation,
        discount: float,
    ) -> None:
        """Adds a transition, instead of the oldest one if it is full.

        Args:
          before, after: Observations.
          action: The action in `before`.
          reward: The rewards up to `after`, added up.
          discount: What the value of `after` counts; 0 where the episode has ended.
        """
        row = {
            "action": np.int64(action),
            "reward": np.float32(reward),
            "discount": np.float32(discount),
            **{f"before/{name}": value for name, value in before.items()},
            **{f"after/{name}": value for name, value in after.items()},
        }
        if not self._columns:
            for name, value in row.items():
                array = np.asarray(value)
                self._columns[name] = np.zeros((self._size, *array.shape), array.dtype)
        for name, value in row.items():
            self._columns[name][self._next] = value
        self._powers[self._next] = self._highest**self._exponent
        self._next = (self._next + 1) % self._size
        self._filled = min(self._filled + 1, self._size)

    def draw(
        self, count: int, correction: float, rng: np.random.Generator
    ) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Returns transitions by column, their rows [count], and importance weights [count]."""
        powers = self._powers[: self._filled]
        sums = np.cumsum(powers)
        rows = np.searchsorted(sums, rng.random(count) * sums[-1], side="right")
        rows = np.minimum(rows, self._filled - 1)
        weights = (self._filled * powers[rows] / sums[-1]) ** -correction
        drawn = {name: column[rows] for name, column in self._columns.items()}
        return drawn, rows, (weights / weights.max()).astype(np.float32)

    def update(self, rows: np.ndarray, errors: np.ndarray) -> None:
        """Sets the priorities of drawn transitions.

        Args:
          rows: As `draw` returned them, [count].
          errors: Their errors, [count].
        """
        priorities = np.abs(errors) + 1e-3  # so that none is never drawn again
        self._powers[rows] = priorities**self._exponent
        self._highest = max(self._highest, float(priorities.max()))
