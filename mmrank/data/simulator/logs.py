"""The logged result pages: their users, queries and times, the items shown, and the clicks."""

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
from mmrank.data.simulator.users import Population, appeal

SHORTEST, LONGEST = 10, 30
# Shares of a page by how an item relates to the query. Other groups fill up, in this order, for a
# group with too few items.
SHARES = {"holds all": 0.20, "same type": 0.50, "near miss": 0.15, "other": 0.15}
SHARED, RANDOMISED = "shared_words", "randomised"  # columns that are written on request
FRESH_DAYS, FRESH_BOOST = 14, 2.0  # the shop shows new items more often
TRAIN_UNTIL, VALID_UNTIL = 0.8, 0.9  # shares of the lists in the order of time


@dataclasses.dataclass(frozen=True)
class LoggingRanker:
    """The ranker that orders the logged pages: its weights and its randomness.

    Attributes:
      sales: Weight of the logarithm of the sales; the words of the query count up to 2 in total.
        With a large weight the shop shows its bestsellers first, whatever the query.
      randomised: Share of the pages whose items are in random order. A column `randomised` marks
        them; with 0 there are no such pages and no such column.
      match: Whether the lists have a column `shared_words` with the ranker's score for the query's
        words.
    """

    sales: float = 0.2
    randomised: float = 0.0
    match: bool = False


@dataclasses.dataclass(frozen=True)
class _Page:
    """The query, user and time of one impression."""

    query: int
    user: int
    time: int


def make_log(
    count: int,
    products: Products,
    population: Population,
    queries: Queries,
    model: ClickModel,
    rng: np.random.Generator,
    progress: Callable[[int], object] = lambda pages: None,
    ranker: LoggingRanker = LoggingRanker(),  # noqa: B008, it is frozen
    kind: Kind = OVERLAPPING,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of the logged lists, and the events that they caused.

    Args:
      count: Number of logged pages, one list each.
      products: The catalogue.
      population: The users who send the queries.
      queries: The distinct queries.
      model: How users examine, click and buy.
      rng: Random generator.
      progress: Called with 1 after each page.
      ranker: How the pages are ordered.
      kind: What the users like.

    Returns:
      lists: A row per candidate with list, query, user, item (indices), position (from 1), grade,
        click, dwell, purchase, time and split, in the order of time and position; and the columns
        `shared_words` and `randomised` if the ranker asks for them.
      events: user, item (indices), event_type and time; each later than its page.
    """
    times = np.sort(rng.integers(LOG_START, LOG_END, count))
    asked = rng.choice(len(queries), size=count, p=queries.popularity)
    users = rng.choice(len(population), size=count, p=population.activity)
    splits = np.select(
        [np.arange(count) < TRAIN_UNTIL * count, np.arange(count) < VALID_UNTIL * count],
        ["train", "valid"],
        "test",
    )
    shown, facts, seen, events = [], [], [], []
    for number in range(count):
        page = _Page(int(asked[number]), int(users[number]), int(times[number]))
        items, match, shuffled = _shown(page, products, queries, rng, ranker)
        grade = _grades(page, items, products, population, queries, kind)
        position = np.arange(1, len(items) + 1)
        click, dwell, bought = model.visit(position, grade, rng)
        shown.append(items)
        facts.append((match, np.full(len(items), int(shuffled))))
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
    wanted = {SHARED: ranker.match, RANDOMISED: ranker.randomised > 0}
    for name, parts in zip(wanted, zip(*facts, strict=True), strict=True):
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
    """The items on a page, in the order of the logging ranker's scores.

    The ranker is mediocre: its score is a word score plus the weighted logarithm of the sales plus
    much noise. The word score is 1 if the item's texts name the type that the query asks for, plus
    the share of the query's attributes that they name. It uses neither photos nor tastes.

    Returns:
      Item indices, their word scores, and whether the order is random instead.
    """
    wanted = queries.wanted[page.query]
    named = wanted >= 0
    same = products.types == queries.types[page.query]
    agree = products.attributes[:, named] == wanted[named]
    group = np.select(
        [same & agree.all(axis=1), same, agree.any(axis=1)], [0, 1, 2], len(SHARES) - 1
    )
    group[products.arrived > page.time] = -1  # not yet in the shop
    items = _candidates(group, products, page.time, rng)
    match = (same & products.type_named)[items].astype(float)
    if named.any():
        match += (agree & products.named[:, named])[items].mean(axis=1)
    noise = rng.normal(0, 1.0, len(items))
    score = match + ranker.sales * np.log1p(products.sales[items]) + noise
    shuffled = ranker.randomised > 0 and bool(rng.random() < ranker.randomised)
    order = rng.permutation(len(items)) if shuffled else np.argsort(-score, kind="stable")
    return items[order], match[order], shuffled


def _candidates(
    group: np.ndarray, products: Products, time: int, rng: np.random.Generator
) -> np.ndarray:
    length = int(rng.integers(SHORTEST, LONGEST + 1))
    chosen: list[np.ndarray] = []
    spare: list[np.ndarray] = []
    for number, share in enumerate(SHARES.values()):
        members = np.flatnonzero(group == number)
        fresh = time - products.arrived[members] < FRESH_DAYS * DAY
        # Samples without replacement in proportion to a weight, by the smallest exponential keys.
        key = rng.exponential(size=len(members)) / np.where(fresh, FRESH_BOOST, 1.0)
        if len(members) > length:  # only the smallest keys need sorting
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
    population: Population,
    queries: Queries,
    kind: Kind,
) -> np.ndarray:
    wanted = queries.wanted[page.query]
    return true_grades(
        products.types[items] == queries.types[page.query],
        held_share(wanted, products.attributes[items]),
        int((wanted >= 0).sum()),
        appeal(population, page.user, products, items, kind),
    )


def _events(
    page: _Page,
    shown: np.ndarray,
    position: np.ndarray,
    click: np.ndarray,
    dwell: np.ndarray,
    bought: np.ndarray,
) -> list[tuple[int, int, str, int]]:
    """The events of a page: a view per click, and a cart and a purchase for each item bought.

    The user reads from top to bottom, 2 seconds per position, and stays on each clicked item for
    its dwell time.
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
