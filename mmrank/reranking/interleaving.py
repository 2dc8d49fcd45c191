"""Interleaving: one page of two rankers' orders, and which ranker the clicks on it favour."""

from __future__ import annotations

import abc
import dataclasses
from typing import Annotated

import numpy as np

from mmrank.ranges import Range
from mmrank.registry import Entry, Registry

__all__ = ["INTERLEAVINGS", "NO_TEAM", "Interleaved", "Interleaving", "Probabilistic", "TeamDraft"]

NO_TEAM = -1


@dataclasses.dataclass(frozen=True)
class Interleaved:
    """A page interleaved from two orders.

    Attributes:
      order: Which candidate is at each position, [n] int.
      teams: The order that each position was taken from: 0, 1, or −1 where it earns neither order
        credit, [n] int.
    """

    order: np.ndarray
    teams: np.ndarray


class Interleaving(abc.ABC):
    """A way to interleave two orders of the same candidates, and to credit the clicks.

    All methods take the orders `a` and `b`, [n] int, each a permutation of 0 to n − 1; they raise
    `ValueError` if they are not.
    """

    @abc.abstractmethod
    def interleave(self, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> Interleaved:
        """Returns a page drawn from both orders."""

    @abc.abstractmethod
    def conditional(self, a: np.ndarray, b: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Probability of the candidate at each position given those above it, [n] float64.

        The product is the probability that `interleave` draws this order. From the first candidate
        on that cannot be drawn, it is 0.
        """

    @abc.abstractmethod
    def credit(self, a: np.ndarray, b: np.ndarray, shown: Interleaved, clicks: np.ndarray) -> float:
        """Which order the clicks on a page favour: above 0 for `a`, below 0 for `b`, 0 for a tie.

        Args:
          a, b: The two orders.
          shown: The page that was shown.
          clicks: Whether each position was clicked, [n] bool.

        Returns:
          A number from −1 to 1. If both orders are equal, its expectation is 0 whatever users do.
        """


class TeamDraft(Interleaving):
    """Two captains take turns in picking their best candidate left; a coin says who goes first.

    The order with more clicks on its picks wins. Positions down to the first at which the two
    orders differ have no team, because clicks there do not distinguish the orders: crediting them
    by the coin, as in the source, only adds noise.

    Source: Radlinski, Kurup and Joachims, "How does clickthrough data reflect retrieval quality?"
      (CIKM 2008): team-draft interleaving.

    Example:
      >>> import numpy as np
      >>> a, b = np.array([0, 1, 2]), np.array([0, 2, 1])
      >>> method = TeamDraft()
      >>> shown = method.interleave(a, b, np.random.default_rng(0))
      >>> shown.order.tolist(), shown.teams.tolist()
      ([0, 1, 2], [-1, 0, 1])
      >>> method.credit(a, b, shown, np.array([True, False, True]))
      -1.0
    """

    def interleave(self, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> Interleaved:
        _check(a, b)
        left = _Left(a, b)
        order, teams, lead = list[int](), list[int](), 0
        while len(order) < len(a):
            team = int(rng.integers(2)) if lead == 0 else int(lead > 0)
            order.append(left.first(team))
            left.taken.add(order[-1])
            teams.append(team)
            lead += 1 - 2 * team  # above 0 after a pick of a's, so that b is next
        return Interleaved(np.array(order, int), np.where(_same_top(a, b), NO_TEAM, teams))

    def conditional(self, a: np.ndarray, b: np.ndarray, order: np.ndarray) -> np.ndarray:
        _check(a, b, order)
        left = _Left(a, b)
        weights = {0: 1.0}  # probability of each lead of a's team, given the candidates above
        found = np.zeros(len(order))
        for position, candidate in enumerate(order.tolist()):
            after = dict.fromkeys((-1, 0, 1), 0.0)
            for lead, weight in weights.items():
                for team in (0, 1) if lead == 0 else (int(lead > 0),):
                    if left.first(team) == candidate:
                        after[lead + 1 - 2 * team] += weight * (0.5 if lead == 0 else 1.0)
            found[position] = sum(after.values())
            if found[position] == 0:
                break
            weights = {lead: weight / found[position] for lead, weight in after.items()}
            left.taken.add(candidate)
        return found

    def credit(self, a: np.ndarray, b: np.ndarray, shown: Interleaved, clicks: np.ndarray) -> float:
        _check(a, b, shown.order, clicks=clicks)
        won, lost = (int(clicks[shown.teams == team].sum()) for team in (0, 1))
        return float(np.sign(won - lost))


@dataclasses.dataclass(frozen=True)
class ProbabilisticOptions:
    """Options of `Probabilistic`.

    Attributes:
      decay: How fast a candidate's probability falls with its rank, tau in the paper.
    """

    decay: Annotated[float, Range(0, 20)] = 3.0


class Probabilistic(Interleaving):
    """At each position, a coin says from which order's distribution a candidate is drawn.

    An order gives the candidate at rank r a probability proportional to 1 / r^decay, renormalised
    over the candidates left. Any page can be drawn, so that no difference between the orders goes
    unnoticed. The credit is the probability that `a` has more clicks than `b`, less that of the
    opposite, over all assignments of the positions to the two orders that could have given the page
    shown; the coins that fell are not used. An assignment gives position i to `a` with the
    probability p_a / (p_a + p_b), given the candidates above.

    Source: Hofmann, Whiteson and de Rijke, "A probabilistic method for inferring preferences from
      clicks" (CIKM 2011), which uses decay 3, with marginalised outcomes. Where the authors
      enumerate the assignments, a convolution gives the same, because the coins are independent.

    Args:
      decay: See `ProbabilisticOptions`.

    Example:
      A click on the candidate that `a` has first and `b` last of two, 8/9 against 1/9:

      >>> import numpy as np
      >>> a, b = np.array([0, 1]), np.array([1, 0])
      >>> shown = Interleaved(np.array([0, 1]), np.array([0, 1]))
      >>> round(Probabilistic().credit(a, b, shown, np.array([True, False])), 4)
      0.7778
    """

    def __init__(self, decay: float = ProbabilisticOptions.decay):
        self.decay = decay

    def interleave(self, a: np.ndarray, b: np.ndarray, rng: np.random.Generator) -> Interleaved:
        _check(a, b)
        # By exponential races: whoever of those left arrives first was drawn with a probability in
        # proportion to its rate, and the later arrivals are as if nothing had happened before.
        arrivals = np.log(rng.exponential(size=(2, len(a)))) - np.log(self._weights(a, b))
        left = _Left(*np.argsort(arrivals, -1))
        teams, order = rng.integers(2, size=len(a)), list[int]()
        for team in teams.tolist():
            order.append(left.first(team))
            left.taken.add(order[-1])
        return Interleaved(np.array(order, int), teams)

    def conditional(self, a: np.ndarray, b: np.ndarray, order: np.ndarray) -> np.ndarray:
        _check(a, b, order)
        return self._at_positions(a, b, order).mean(0)

    def credit(self, a: np.ndarray, b: np.ndarray, shown: Interleaved, clicks: np.ndarray) -> float:
        _check(a, b, shown.order, clicks=clicks)
        at = self._at_positions(a, b, shown.order)
        to_a = (at[0] / at.sum(0))[np.asarray(clicks, bool)]
        number = np.ones(1)  # probability that a has 0, 1, ... of the clicks
        for p in to_a:
            number = np.convolve(number, [1 - p, p])
        return float(number @ np.sign(2 * np.arange(len(number)) - len(to_a)))

    def _weights(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """What each order's probabilities are proportional to, by candidate, [2, n]."""
        ranks = np.argsort(np.stack([a, b]), -1) + 1
        return np.asarray(ranks**-self.decay)

    def _at_positions(self, a: np.ndarray, b: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Each order's probability of the candidate at each position given those above, [2, n]."""
        weights = self._weights(a, b)[:, order]
        left = np.cumsum(weights[:, ::-1], -1)[:, ::-1]
        return np.asarray(weights / left)


INTERLEAVINGS = Registry(
    "interleaving",
    {
        "team_draft": Entry(TeamDraft),
        "probabilistic": Entry(Probabilistic, ProbabilisticOptions),
    },
)


class _Left:
    """The candidates of two orders that are not taken yet."""

    def __init__(self, a: np.ndarray, b: np.ndarray):
        self.taken = set[int]()
        self._orders, self._next = (a.tolist(), b.tolist()), [0, 0]

    def first(self, team: int) -> int:
        """The best candidate left in the order of a team."""
        order = self._orders[team]
        while order[self._next[team]] in self.taken:
            self._next[team] += 1
        return int(order[self._next[team]])


def _same_top(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which positions come before the first at which the orders differ, [n] bool."""
    return np.logical_and.accumulate(a == b)


def _check(*orders: np.ndarray, clicks: np.ndarray | None = None) -> None:
    """Checks that the orders are permutations of one length, and clicks of that length too."""
    size = len(orders[0])
    for order in orders:
        if order.shape != (size,) or not np.array_equal(np.sort(order), np.arange(size)):
            raise ValueError(f"an order must have each of 0 to {size - 1} once, got {order}")
    if clicks is not None and clicks.shape != (size,):
        raise ValueError(f"clicks: shape {clicks.shape}, but ({size},) is needed")
