"""The users: their lasting tastes, and their events before the first page was logged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from scipy.special import expit

from mmrank.data.simulator.clock import LOG_START, START
from mmrank.data.simulator.kinds import OVERLAPPING, Kind
from mmrank.data.simulator.products import Products
from mmrank.data.simulator.world import ATTRIBUTES, column

NEW_SHARE = 0.1  # share of the users without an event before the log
MEAN_VIEWS = 40
CART_GIVEN_VIEW, PURCHASE_GIVEN_CART = 0.4, 0.5  # at appeal 1


@dataclasses.dataclass(frozen=True)
class Population:
    """The tastes of the users; row u is the user with index u.

    Attributes:
      colour, brand, style: How much the user likes each value, 0 to 1, [users, values].
      level: The price level that the user prefers, 0 to 1, [users].
      new: Whether the user has no event before the log, [users] bool.
      activity: Share of the logged pages that are the user's, [users], summing to 1.
    """

    colour: np.ndarray
    brand: np.ndarray
    style: np.ndarray
    level: np.ndarray
    new: np.ndarray
    activity: np.ndarray

    def __len__(self) -> int:
        return len(self.level)

    def liking(self, attribute: str) -> np.ndarray:
        """How much each user likes each value of an attribute, [users, values]."""
        return {"colour": self.colour, "brand": self.brand, "style": self.style}[attribute]


def make_population(users: int, rng: np.random.Generator) -> Population:
    """`users` users. A liking is drawn from Beta(0.5, 0.8), so most are near 0 or near 1."""
    likings = {
        name: rng.beta(0.5, 0.8, (users, len(ATTRIBUTES[name])))
        for name in ("colour", "brand", "style")
    }
    activity = rng.gamma(1.5, size=users)
    return Population(
        **likings,
        level=rng.random(users),
        new=rng.random(users) < NEW_SHARE,
        activity=activity / activity.sum(),
    )


def appeal(
    population: Population,
    user: int,
    products: Products,
    items: np.ndarray,
    kind: Kind = OVERLAPPING,
) -> np.ndarray:
    """How much each item appeals to a user, whatever the query; 0 to 1, [len(items)].

    appeal = logistic(8 (w taste + (1 − w) quality − c)), where taste is the weighted mean of the
    user's likings of the item's values and of the nearness of the price level,
    exp(−((item's level − user's level) / 0.25)²). The weights, w and c are the kind's `tastes`,
    `taste` and `usual_appeal`.
    """
    values = products.attributes[items]
    taste = np.zeros(len(values))
    for name, weight in kind.tastes.items():
        if name == "price":
            off = (products.level[items] - population.level[user]) / 0.25
            taste += weight * np.exp(-(off**2))
        else:
            taste += weight * population.liking(name)[user, values[:, column(name)]]
    raw = kind.taste * taste + (1 - kind.taste) * products.quality[items]
    return expit(8 * (raw - kind.usual_appeal))


def past_events(
    population: Population,
    products: Products,
    rng: np.random.Generator,
    kind: Kind = OVERLAPPING,
) -> pd.DataFrame:
    """The events before the log: columns user, item (indices), event_type and time (seconds).

    A user views items that had arrived by the start, drawn with a weight of
    exp(5 appeal) (1 + sales)^0.3. The user puts appealing ones into the cart, and buys some of
    these.
    """
    present = np.flatnonzero(products.arrived < START)
    popularity = (1.0 + products.sales[present]) ** 0.3
    users, items, events, times = [], [], [], []
    for user in np.flatnonzero(~population.new):
        liked = appeal(population, int(user), products, present, kind)
        weight = popularity * np.exp(5 * liked)
        views = 1 + rng.poisson(rng.gamma(2.0, MEAN_VIEWS / 2))
        drawn = np.searchsorted(np.cumsum(weight) / weight.sum(), rng.random(views))
        drawn = np.minimum(drawn, len(present) - 1)
        time = rng.integers(START, LOG_START - 3600, views)
        carted = rng.random(views) < CART_GIVEN_VIEW * liked[drawn]
        bought = carted & (rng.random(views) < PURCHASE_GIVEN_CART * liked[drawn])
        for event, chosen, delay in (
            ("view", np.ones(views, dtype=bool), 0),
            ("cart", carted, 120),
            ("purchase", bought, 600),
        ):
            users.append(np.full(chosen.sum(), user))
            items.append(present[drawn[chosen]])
            events += [event] * int(chosen.sum())
            times.append(time[chosen] + delay)
    none = [np.empty(0, dtype=np.int64)]  # for a shop whose users are all new
    return pd.DataFrame(
        {
            "user": np.concatenate(none + users),
            "item": np.concatenate(none + items),
            "event_type": np.array(events, dtype=object),
            "time": np.concatenate(none + times),
        }
    )
