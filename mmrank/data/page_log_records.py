"""The records of a log of shown pages: what a line of it holds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["Feedback", "Interleaved", "Seen", "ShownPage"]


@dataclasses.dataclass(frozen=True, eq=False)
class Seen:
    """What a policy saw of the candidates that it may rearrange, in the ranker's order.

    Attributes:
      attraction: Predicted probability of a click, [k].
      purchase: Predicted probability that a clicked candidate is bought, [k].
      dwell: Expected seconds on a clicked candidate, [k].
      price: Prices, 0 where unknown, [k].
      vector: Vectors whose cosine says how alike two candidates are, float16 [k, d]; None if they
        were not logged, which saves most of a line.
      group: A group of each candidate, such as its brand; None if there are none.
      fingerprint: What the vectors mean: the `item_fingerprint` of the ranker; empty if unknown.
    """

    attraction: np.ndarray
    purchase: np.ndarray
    dwell: np.ndarray
    price: np.ndarray
    vector: np.ndarray | None = None
    group: tuple[str, ...] | None = None
    fingerprint: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Interleaved:
    """How two rankers shared a page.

    Attributes:
      kind: `team_draft` or `probabilistic`.
      versions: The versions of both rankers.
      teams: Which ranker a click on each position counts for, 0 or 1; -1 for neither, [n] int.
      orders: The orders of both rankers, [2, n] int.
    """

    kind: str
    versions: tuple[int, int]
    teams: np.ndarray
    orders: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class ShownPage:
    """A page that was shown, with all that is needed to compute probabilities of it again.

    Attributes:
      page: Id of the page.
      time: Seconds since 1970.
      model, version: What ranked the page.
      query: The features of the query that are texts or numbers.
      user: Id or pseudonym of the user; None if unknown.
      items: Ids of all candidates shown, in the ranker's order, n of them.
      scores: The ranker's scores, [n].
      size: The first `size` candidates, k, may be rearranged; the others keep their places.
      seen: What a policy saw of those; None if it saw nothing.
      policy: Whether a policy rearranged the page.
      base: The order that would be shown without exploration: which candidate is at each position,
        [n] int.
      order: The order shown, [n] int.
      exploration: Kind and options of the exploration, and as `open` which moves were open in the
        base order, [k] bool; None without exploration.
      probability: Probability of the order shown, given the request; above 0.
      conditional: Probability of the candidate at each of the first k positions given those above
        it, [k]; their product is `probability`, except on interleaved pages, where positions below
        the first k may be random too.
      interleaved: How two rankers shared the page; None if they did not.

    Raises:
      ValueError: A field contradicts another.
    """

    page: str
    time: float
    model: str
    version: int
    query: Mapping[str, str | float]
    user: str | None
    items: tuple[str, ...]
    scores: np.ndarray
    size: int
    seen: Seen | None
    policy: bool
    base: np.ndarray
    order: np.ndarray
    exploration: Mapping[str, Any] | None
    probability: float
    conditional: np.ndarray
    interleaved: Interleaved | None = None

    def __post_init__(self) -> None:
        n, k = len(self.items), self.size
        if not self.page:
            raise ValueError("page: the id is empty")
        if not n or len(set(self.items)) < n:
            raise ValueError("items: none, or one of them twice")
        if not 1 <= k <= n:
            raise ValueError(f"size: {k}, but the page has {n} items")
        _check_shape("scores", self.scores, (n,))
        orders = [("base", self.base), ("order", self.order)]
        if self.interleaved is not None:
            orders += [("interleaved.orders", order) for order in self.interleaved.orders]
            teams = self.interleaved.teams
            _check_shape("interleaved.teams", teams, (n,))
            if not np.isin(teams, (-1, 0, 1)).all():
                raise ValueError("interleaved.teams: expected 0, 1 or -1 for each position")
        for name, order in orders:
            if order.shape != (n,) or not (np.sort(order) == np.arange(n)).all():
                raise ValueError(f"{name}: expected each of 0 to {n - 1} once")
        _check_shape("conditional", self.conditional, (k,))
        if not ((self.conditional > 0) & (self.conditional <= 1)).all():
            raise ValueError("conditional: expected probabilities, above 0 to 1")
        if not 0 < self.probability <= 1:
            raise ValueError("probability: expected one, above 0 to 1")
        product = self.conditional.prod()
        if self.interleaved is None and not math.isclose(self.probability, product, rel_tol=1e-6):
            raise ValueError("probability: is not the product of `conditional`")
        if self.exploration is not None and len(self.exploration["open"]) != k:
            raise ValueError(f"exploration.open: {k} values are needed, one for each move")
        if self.seen is not None:
            _check_seen(self.seen, k)


@dataclasses.dataclass(frozen=True)
class Feedback:
    """What a user did on a page, as far as one report says.

    Attributes:
      page: Id of the page.
      time: Seconds since 1970.
      clicks, carts, purchases: Ids of the items.
      dwell: Seconds by item id.
    """

    page: str
    time: float
    clicks: tuple[str, ...] = ()
    dwell: Mapping[str, float] = dataclasses.field(default_factory=dict)
    carts: tuple[str, ...] = ()
    purchases: tuple[str, ...] = ()


def _check_shape(name: str, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape:
        raise ValueError(f"{name}: shape {values.shape}, but {shape} is needed")


def _check_seen(seen: Seen, k: int) -> None:
    for name in ("attraction", "purchase", "dwell", "price"):
        _check_shape(f"seen.{name}", getattr(seen, name), (k,))
    for name in ("attraction", "purchase"):
        value = getattr(seen, name)
        if not ((value >= 0) & (value <= 1)).all():
            raise ValueError(f"seen.{name}: expected probabilities, 0 to 1")
    for name in ("dwell", "price"):
        if not (getattr(seen, name) >= 0).all():
            raise ValueError(f"seen.{name}: must be 0 or more")
    vector = seen.vector
    if vector is not None and (len(vector) != k or not np.isfinite(vector).all()):
        raise ValueError(f"seen.vector: expected {k} vectors of finite numbers")
    if seen.group is not None and len(seen.group) != k:
        raise ValueError(f"seen.group: {len(seen.group)} groups, but {k} are needed")
