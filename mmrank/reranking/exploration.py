"""Random changes to pages, so that what users do on them can judge other policies.

`EXPLORATIONS` lists them by name. The probability of every order is known, which the estimators in
`mmrank.reranking.judging` need.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Annotated, ClassVar

import numpy as np

from mmrank.ranges import Range
from mmrank.registry import Entry, Registry
from mmrank.reranking.moves import FINISH, moved

__all__ = [
    "EXPLORATIONS",
    "Boltzmann",
    "BoltzmannOptions",
    "Epsilon",
    "EpsilonOptions",
    "Exploration",
    "PairSwap",
    "PairSwapOptions",
    "conditional_of",
]


class Exploration(abc.ABC):
    """Shows an order at random around the one that would be shown otherwise, the base.

    Attributes:
      respects_guards: Whether only swaps that the guards leave open are made.
    """

    respects_guards: ClassVar[bool] = False

    @abc.abstractmethod
    def order(self, base: np.ndarray, opened: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Returns the order to show, [k] int.

        Args:
          base: Which candidate would be at each position, [k] int.
          opened: Which actions of `mmrank.reranking.moves` are open in the base order, [k] bool.
          rng: Random generator.

        Raises:
          ValueError: A move is closed, and this exploration does not respect that.
        """

    @abc.abstractmethod
    def cumulative(self, base: np.ndarray, opened: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Returns the probability that the positions down to each are as in an order, [k].

        The last is the probability of the whole order.

        Args:
          base, opened: As for `order`.
          order: Any order of the same candidates, [k] int.

        Raises:
          ValueError: A move is closed, and this exploration does not respect that.
        """

    def _check(self, opened: np.ndarray) -> None:
        if not self.respects_guards and not opened.all():
            raise ValueError("moves are closed by guards, which only pair_swap respects")


def conditional_of(cumulative: np.ndarray) -> np.ndarray:
    """Returns the probability of each position given those above it, [k].

    Args:
      cumulative: As from `Exploration.cumulative`, [k]. Below a position that is impossible, the
        result is 0.

    Example:
      >>> import numpy as np
      >>> conditional_of(np.array([0.5, 0.25])).tolist()
      [0.5, 0.5]
    """
    before = np.concatenate([[1.0], cumulative[:-1]])
    return np.divide(cumulative, before, out=np.zeros(len(cumulative)), where=before > 0)


@dataclasses.dataclass(frozen=True)
class PairSwapOptions:
    """Options of `PairSwap`.

    Attributes:
      epsilon: Probability that a swap is made.
    """

    epsilon: Annotated[float, Range(0, 1, above=True)] = 0.05


class PairSwap(Exploration):
    """Swaps one pair of neighbours of the base order with probability epsilon.

    The pair is drawn uniformly from those whose swap is open. Without any, the base order is shown.

    Args:
      epsilon: Probability that a swap is made.

    Example:
      >>> import numpy as np
      >>> swap = PairSwap(epsilon=0.2)
      >>> base, opened = np.array([0, 1, 2]), np.array([True, True, True])
      >>> swap.cumulative(base, opened, np.array([0, 2, 1])).round(3).tolist()
      [0.9, 0.1, 0.1]
    """

    respects_guards = True

    def __init__(self, epsilon: float = PairSwapOptions.epsilon):
        self._epsilon = epsilon

    def order(self, base: np.ndarray, opened: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See `Exploration.order`."""
        swaps = _swaps(opened)
        if not len(swaps) or rng.random() >= self._epsilon:
            return base.copy()
        return moved(base, int(rng.choice(swaps)))

    def cumulative(self, base: np.ndarray, opened: np.ndarray, order: np.ndarray) -> np.ndarray:
        """See `Exploration.cumulative`."""
        swaps = _swaps(opened)
        shown = np.stack([base, *(moved(base, action) for action in swaps)])
        probability = np.full(len(shown), self._epsilon / max(len(swaps), 1))
        probability[0] = 1 - self._epsilon if len(swaps) else 1.0
        return probability @ np.logical_and.accumulate(shown == order, axis=-1)


def _swaps(opened: np.ndarray) -> np.ndarray:
    """The open actions that swap neighbours."""
    actions = np.flatnonzero(opened)
    return actions[actions != FINISH]


@dataclasses.dataclass(frozen=True)
class EpsilonOptions:
    """Options of `Epsilon`.

    Attributes:
      epsilon: Probability of a random order.
    """

    epsilon: Annotated[float, Range(0, 1, above=True)] = 0.05


class Epsilon(Exploration):
    """Shows a uniformly random order with probability epsilon; it may be the base order by chance.

    Args:
      epsilon: Probability of a random order.

    Example:
      >>> import numpy as np
      >>> base, opened = np.array([0, 1]), np.array([True, True])
      >>> Epsilon(epsilon=0.2).cumulative(base, opened, base).round(3).tolist()
      [0.9, 0.9]
    """

    def __init__(self, epsilon: float = EpsilonOptions.epsilon):
        self._epsilon = epsilon

    def order(self, base: np.ndarray, opened: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See `Exploration.order`."""
        self._check(opened)
        return rng.permutation(base) if rng.random() < self._epsilon else base.copy()

    def cumulative(self, base: np.ndarray, opened: np.ndarray, order: np.ndarray) -> np.ndarray:
        """See `Exploration.cumulative`."""
        self._check(opened)
        uniform = np.cumprod(1.0 / np.arange(len(base), 0, -1))
        as_base = np.logical_and.accumulate(base == order)
        return (1 - self._epsilon) * as_base + self._epsilon * uniform


@dataclasses.dataclass(frozen=True)
class BoltzmannOptions:
    """Options of `Boltzmann`.

    Attributes:
      temperature: The higher, the more random. Of two neighbours in the base order, the lower one
        is drawn before the upper one with probability 1 / (1 + exp(1 / temperature)).
    """

    temperature: Annotated[float, Range(0, above=True)] = 0.25


class Boltzmann(Exploration):
    """Draws the order from the top, candidates high in the base order more probably.

    Each position gets one of the candidates that are left, with probability proportional to
    exp(−position in the base order / temperature): a Plackett-Luce model.

    Args:
      temperature: The higher, the more random.

    Source: Plackett, "The analysis of permutations" (Applied Statistics 24, 1975).

    Example:
      >>> import numpy as np
      >>> base, opened = np.array([0, 1]), np.array([True, True])
      >>> Boltzmann(temperature=0.5).cumulative(base, opened, base).round(3).tolist()
      [0.881, 0.881]
    """

    def __init__(self, temperature: float = BoltzmannOptions.temperature):
        self._temperature = temperature

    def order(self, base: np.ndarray, opened: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """See `Exploration.order`."""
        self._check(opened)
        # Sorting by utility plus Gumbel noise draws from the Plackett-Luce model.
        noisy = rng.gumbel(size=len(base)) - np.arange(len(base)) / self._temperature
        return base[np.argsort(-noisy)]

    def cumulative(self, base: np.ndarray, opened: np.ndarray, order: np.ndarray) -> np.ndarray:
        """See `Exploration.cumulative`."""
        self._check(opened)
        utility = -np.argsort(base)[order] / self._temperature
        left = np.logaddexp.accumulate(utility[::-1])[::-1]
        return np.exp(np.cumsum(utility - left))


EXPLORATIONS = Registry(
    "exploration",
    {
        "pair_swap": Entry(PairSwap, PairSwapOptions),
        "epsilon": Entry(Epsilon, EpsilonOptions),
        "boltzmann": Entry(Boltzmann, BoltzmannOptions),
    },
)
