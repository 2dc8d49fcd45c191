"""What no policy may do to a page: moves that break a limit or a rule are closed."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np

from mmrank.config import ConfigError, from_mapping
from mmrank.config.mapping import read_plain
from mmrank.ranges import Count, Range
from mmrank.reranking.moves import moved
from mmrank.reranking.page import Page

__all__ = ["GuardOptions", "Guards", "Rules", "read_rules", "start_order"]


@dataclasses.dataclass(frozen=True)
class GuardOptions:
    """The limits of a page that a policy rearranged.

    Attributes:
      most_shift: Most positions by which a candidate may rise or fall from where it started; None
        for no limit.
      least_relevance: Least share of the ranker's discounted relevance that a page keeps. It is the
        sum of predicted clicks, each divided by log2(1 + position).
      top: Number of positions at the top that have to be diverse.
      most_of_group: Most candidates of one group, such as a brand, among those; None for no limit.
    """

    most_shift: Annotated[int, Range(0)] | None = None
    least_relevance: Annotated[float, Range(0, 1)] = 0.0
    top: Count = 4
    most_of_group: Count | None = None


@dataclasses.dataclass(frozen=True)
class Rules:
    """What a merchandiser decided, by item id.

    Attributes:
      pin: Items that have a fixed position, counted from 1.
      boost: Items that have to be at a position or above it.
      exclude: Items that are never shown.

    Example:
      >>> Rules(pin={"P1": 1}, boost={"P7": 3}, exclude=("P9",)).boost["P7"]
      3
    """

    pin: Mapping[str, Count] = dataclasses.field(default_factory=dict)
    boost: Mapping[str, Count] = dataclasses.field(default_factory=dict)
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        positions = list(self.pin.values())
        if len(set(positions)) < len(positions):
            raise ConfigError("pin: two items have the same position; give each its own")
        for other in ("boost", "exclude"):
            both = sorted(set(self.pin) & set(getattr(self, other)))
            if both:
                raise ConfigError(f"{other}: {both[0]} is pinned too; name it once")
        both = sorted(set(self.boost) & set(self.exclude))
        if both:
            raise ConfigError(f"exclude: {both[0]} is boosted too; name it once")


def read_rules(file: pathlib.Path) -> Rules:
    r"""Returns the rules in a YAML file.

    Raises:
      ConfigError: The file is missing or not YAML, or a rule is unknown or contradicts another.

    Example:
      >>> import pathlib
      >>> _ = pathlib.Path("rules.yaml").write_text("pin: {P1: 1}\nexclude: [P9]\n")
      >>> read_rules(pathlib.Path("rules.yaml")).exclude
      ('P9',)
    """
    return from_mapping(Rules, read_plain(file), str(file))


def start_order(items: Sequence[str] | np.ndarray, rules: Rules) -> np.ndarray:
    """Returns the order of some items after the rules, [n] int.

    Boosted items rise to their positions, and pinned ones are put at theirs; the others keep
    their order. A position beyond the end means the last one. What the rules exclude is not left
    out here.

    Args:
      items: Ids in the ranker's order.
      rules: The rules.

    Example:
      >>> start_order(["P1", "P2", "P3"], Rules(pin={"P1": 2}, boost={"P3": 1})).tolist()
      [2, 0, 1]
    """
    order = list(range(len(items)))
    where = {str(item): i for i, item in enumerate(items)}
    for rule in (rules.boost, rules.pin):
        # From the top down, so that what is inserted later moves no earlier one down.
        for item, position in sorted(rule.items(), key=lambda pair: pair[1]):
            if item not in where:
                continue
            now, wanted = order.index(where[item]), min(position, len(order)) - 1
            if rule is rules.pin or now > wanted:
                order.insert(wanted, order.pop(now))
    return np.array(order, int)


class Guards:
    """Closes moves that break a limit or a rule.

    A page that the ranker orders may break a limit already. A move is open if it breaks no limit,
    or if it breaks none more than the page before it did.

    Args:
      options: The limits.
      rules: The rules.

    Example:
      >>> import numpy as np
      >>> from mmrank.reranking import draw_page
      >>> page = draw_page(3, np.random.default_rng(1))
      >>> guards = Guards(GuardOptions(most_shift=0))
      >>> guards.open(page, np.arange(3), np.arange(3))  # only to finish
      array([ True, False, False])
    """

    def __init__(self, options: GuardOptions | None = None, rules: Rules | None = None):
        self.options, self.rules = options or GuardOptions(), rules or Rules()

    def kept(self, page: Page) -> Page:
        """Returns the page without excluded items."""
        if page.item is None:
            return page
        excluded = np.isin(page.item, self.rules.exclude)
        return page.take(np.flatnonzero(~excluded)) if excluded.any() else page

    def start(self, page: Page) -> np.ndarray:
        """Returns the ranker's order after the rules, [k] int; see `start_order`."""
        return np.arange(page.size) if page.item is None else start_order(page.item, self.rules)

    def open(self, page: Page, start: np.ndarray, order: np.ndarray) -> np.ndarray:
        """Returns which actions are open, [k] bool; finishing always is.

        Args:
          page: The page in the ranker's order.
          start: Its order after the rules.
          order: Its order now.
        """
        if self.options == GuardOptions() and self.rules == Rules():
            return np.ones(page.size, bool)
        after = np.stack([moved(order, action) for action in range(page.size)])
        broken = self._broken(page, start, after)
        return np.asarray((broken <= broken[:1]).all(-1))

    def _broken(self, page: Page, start: np.ndarray, orders: np.ndarray) -> np.ndarray:
        """By how much each order breaks each guard, 0 for not at all, [orders, guards]."""
        limits = self.options
        columns = [np.zeros(len(orders))]
        if limits.most_shift is not None:
            shift = np.abs(np.argsort(orders, -1) - np.argsort(start))
            columns.append(np.maximum(shift - limits.most_shift, 0).sum(-1))
        if limits.least_relevance > 0:
            discount = 1 / np.log2(2 + np.arange(page.size))
            kept = page.attraction[orders] @ discount
            least = limits.least_relevance * (page.attraction @ discount)
            columns.append(np.maximum(least - kept, 0.0))
        if limits.most_of_group is not None:
            if page.group is None:
                raise ValueError("most_of_group: the page has no groups")
            top = page.group[orders[:, : limits.top]]
            most = np.array([np.unique(row, return_counts=True)[1].max() for row in top])
            columns.append(np.maximum(most - limits.most_of_group, 0))
        if page.item is not None:
            position = np.argsort(orders, -1) + 1
            for i, item in enumerate(map(str, page.item)):
                if item in self.rules.pin:
                    wanted = min(self.rules.pin[item], page.size)
                    columns.append(np.abs(position[:, i] - wanted))
                if item in self.rules.boost:
                    columns.append(np.maximum(position[:, i] - self.rules.boost[item], 0))
        return np.stack(columns, -1)
