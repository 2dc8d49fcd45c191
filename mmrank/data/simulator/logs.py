"""The logged result pages: who asked what and when, what was shown, what was clicked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd

from mmrank.data.simulator.clicks import ClickModel
from mmrank.data.simulator.clock import DAY, LOG_END, LOG_START
from mmrank.data.simulator.grades import held_share, true_grades
from mmrank.data.simulator.kinds import OVERLAPPING, Kind
from mmrank.data.simulator.products import Products
from mmrank.data.simulator.queries import Queries
from mmrank.data.simulator.shoppers import Shoppers, appeal

SHORTEST, LONGEST = 10, 30
# Share of a page, by how an item relates to the query; what a group lacks the next ones fill.
SHARES = {"holds all": 0.20, "same type": 0.50, "near miss": 0.15, "other": 0.15}
MATCH, RANDOMISED = "match", "randomised"  # columns that are there on request
FRESH_DAYS, FRESH_BOOST = 14, 2.0  # the shop shows what has just arrived more often
TRAIN_UNTIL, VALID_UNTIL = 0.8, 0.9  # of the lists in the order of time


@dataclasses.dataclass(frozen=True)
class LoggingRanker:
    """How the shop orders its pages: what it counts, and what it leaves to chance.

    Attributes:
      sales: Weight of the logarithm of the sales; the words of the query weigh 1 or 2 in all. A
        large one makes a shop that shows its bestsellers first, whatever was asked for.
      randomised: Share of the pages whose items stand in random order, told by a column
        `randomised`; 0 for no such page and column.
      match: Whether the lists have a column `match`: what the ranker counted of the query's words.
    """

    sales: float = 0.2
    randomised: float = 0.0
    match: bool = False


@dataclasses.dataclass(frozen=True)
class _Page:
    """One impression, before anybody looks at it."""

    query: int
    user: int
    time: int


def make_log(
    count: int,
    products: Products,
    shoppers: Shoppers,
    queries: Queries,
    model: ClickModel,
    rng: np.random.Generator,
    progress: Callable[[int], object] = lambda pages: None,
    ranker: LoggingRanker = LoggingRanker(),  # noqa: B008, it is frozen
    kind: Kind = OVERLAPPING,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the logged lists and the events that they caused.

    Args:
      count: Logged pages, one list each.
      products: The catalogue.
      shoppers: Who asks.
      queries: What is asked.
      model: How shoppers examine, click and buy.
      rng: Source of chance.
      progress: Called with 1 after each page.
      ranker: How the pages are ordered.
      kind: What the shoppers like.

    Returns:
      lists: A row per candidate with list, query, user, item (numbers), position (from 1), grade,
        click, dwell, purchase, time and split, in the order of time and position; those of the
        ranker's own columns that it has.
      events: user, item (numbers), event_type and time; each later than its page.
    """
    times = np.sort(rng.integers(LOG_START, LOG_END, count))
    asked = rng.choice(len(queries), size=count, p=queries.popularity)
    users = rng.choice(len(shoppers), size=count, p=shoppers.activity)
    splits = np.select(
        [np.arange(count) < TRAIN_UNTIL * count, np.arange(count) < VALID_UNTIL * count],
        ["train", "valid"],
        "test",
    )
    shown, told, seen, events = [], [], [], []
    for number in range(count):
        page = _Page(int(asked[number]), int(users[number]), int(times[number]))
        items, match, shuffled = _shown(page, products, queries, rng, ranker)
        grade = _grades(page, items, products, shoppers, queries, kind)
        position = np.arange(1, len(items) + 1)
        click, dwell, bought = model.visit(position, grade, rng)
        shown.append(items)
        told.append((match, np.full(len(items), int(shuffled))))
        seen.append((position, grade, click.astype(np.int64), dwell, bought.astype(np.int64)))
        events.extend(_events(page, items, position, click, dwell, bought))
        progress(1)
    page_of = np.repeat(np.arange(count), [len(items) for items in shown])
    names = ("position", "grade", "click", "dwell", "purchase")
    columns = zip(*seen, strict=True)
    lists = pd.DataFrame(
        {
            "list": page_of,
            "query": asked[page_of],
            "user": users[page_of],
            "item": np.concatenate(shown),
        }
        | {name: np.concatenate(parts) for name, parts in zip(names, columns, strict=True)}
        | {"time": times[page_of], "split": splits[page_of]}
    )
    wanted = {MATCH: ranker.match, RANDOMISED: ranker.randomised > 0}
    for name, parts in zip(wanted, zip(*told, strict=True), strict=True):
        if wanted[name]:
            lists[name] = np.concatenate(parts)
    return lists, pd.DataFrame(events, columns=["user", "item", "event_type", "time"])


def _shown(
    page: _Page,
    products: Products,
    queries: Queries,
    rng: np.random.Generator,
    ranker: LoggingRanker,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """The item numbers on a page, best first as the logging ranker sees it.

    The ranker is mediocre: it counts the words of the query that the item's texts bear, adds the
    logarithm of the sales, and much noise. It sees no photo and no taste.

    Returns:
      Item numbers, what it counted of the words, and whether the order is random instead.
    """
    wanted = queries.wanted[page.query]
    named = wanted >= 0
    same = products.types == queries.types[page.query]
    agree = products.attributes[:, named] == wanted[named]
    group = np.select(
        [same & agree.all(axis=1), same, agree.any(axis=1)], [0, 1, 2], len(SHARES) - 1
    )
    group[products.arrived > page.time] = -1  # not in the shop yet
    items = _candidates(group, products, page.time, rng)
    told = (same & products.type_named)[items].astype(float)
    if named.any():
        told += (agree & products.named[:, named])[items].mean(axis=1)
    noise = rng.normal(0, 1.0, len(items))
    score = told + ranker.sales * np.log1p(products.sales[items]) + noise
    shuffled = ranker.randomised > 0 and bool(rng.random() < ranker.randomised)
    order = rng.permutation(len(items)) if shuffled else np.argsort(-score, kind="stable")
    return items[order], told[order], shuffled


def _candidates(
    group: np.ndarray, products: Products, time: int, rng: np.random.Generator
) -> np.ndarray:
    length = int(rng.integers(SHORTEST, LONGEST + 1))
    chosen: list[np.ndarray] = []
    spare: list[np.ndarray] = []
    for number, share in enumerate(SHARES.values()):
        members = np.flatnonzero(group == number)
        fresh = time - products.arrived[members] < FRESH_DAYS * DAY
        # Sampling without replacement in proportion to a weight: the smallest exponential keys.
        key = rng.exponential(size=len(members)) / np.where(fresh, FRESH_BOOST, 1.0)
        if len(members) > length:  # only the smallest keys need an order
            smallest = np.argpartition(key, length)[:length]
            members, key = members[smallest], key[smallest]
        members = members[np.argsort(key, kind="stable")]
        quota = round(share * length)
        chosen.append(members[:quota])
        spare.append(members[quota:])
    picked = np.concatenate(chosen)[:length]
    return np.concatenate([picked, np.concatenate(spare)[: length - len(picked)]])


def _grades(
    page: _Page,
    items: np.ndarray,
    products: Products,
    shoppers: Shoppers,
    queries: Queries,
    kind: Kind,
) -> np.ndarray:
    wanted = queries.wanted[page.query]
    return true_grades(
        products.types[items] == queries.types[page.query],
        held_share(wanted, products.attributes[items]),
        int((wanted >= 0).sum()),
        appeal(shoppers, page.user, products, items, kind),
    )


def _events(
    page: _Page,
    shown: np.ndarray,
    position: np.ndarray,
    click: np.ndarray,
    dwell: np.ndarray,
    bought: np.ndarray,
) -> list[tuple[int, int, str, int]]:
    """The events of a page: a view per click, a cart and a purchase where it was bought.

    The shopper reads from top to bottom, 2 seconds per position, and stays on what was clicked.
    """
    rows = []
    clock = float(page.time)
    for k in np.flatnonzero(click):
        item, opened = int(shown[k]), int(clock + 2 * position[k])
        rows.append((page.user, item, "view", opened))
        clock += dwell[k]
        if bought[k]:
            left = int(np.ceil(opened + dwell[k]))
            rows.append((page.user, item, "cart", left + 1))
            rows.append((page.user, item, "purchase", left + 120))
    return rows
