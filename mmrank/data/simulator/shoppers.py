"""The shoppers: lasting tastes, and what they did before the first page was logged."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from scipy.special import expit

from mmrank.data.simulator.clock import LOG_START, START
from mmrank.data.simulator.kinds import OVERLAPPING, Kind
from mmrank.data.simulator.products import Products
from mmrank.data.simulator.world import ATTRIBUTES, column

NEW_SHARE = 0.1  # shoppers without any event before the log
MEAN_VIEWS = 40
CART_GIVEN_VIEW, PURCHASE_GIVEN_CART = 0.4, 0.5  # at appeal 1


@dataclasses.dataclass(frozen=True)
class Shoppers:
    """The shoppers' tastes; row u is shopper number u.

    Attributes:
      colour, brand, style: How much the shopper likes each value, 0 to 1, [users, values].
      level: The price level the shopper is at ease with, 0 to 1, [users].
      new: Whether the shopper has no event before the log, [users] bool.
      activity: Share of the logged pages that the shopper asks for, [users], summing to 1.
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
        """How much each shopper likes each value, [users, values]."""
        return {"colour": self.colour, "brand": self.brand, "style": self.style}[attribute]


def make_shoppers(users: int, rng: np.random.Generator) -> Shoppers:
    """That many shoppers. A liking is Beta(0.5, 0.8): most values are liked much or not at all."""
    likings = {
        name: rng.beta(0.5, 0.8, (users, len(ATTRIBUTES[name])))
        for name in ("colour", "brand", "style")
    }
    activity = rng.gamma(1.5, size=users)
    return Shoppers(
        **likings,
        level=rng.random(users),
        new=rng.random(users) < NEW_SHARE,
        activity=activity / activity.sum(),
    )


def appeal(
    shoppers: Shoppers,
    user: int,
    products: Products,
    items: np.ndarray,
    kind: Kind = OVERLAPPING,
) -> np.ndarray:
    """How much each item appeals to a shopper, whatever was asked for; 0 to 1, [len(items)].

    appeal = logistic(8 (w taste + (1 − w) quality − c)), where taste is the weighted mean of the
    shopper's likings of the item's values and of the nearness of the price level,
    exp(−((level − own level) / 0.25)²). Weights, w and c are the kind's (`tastes`, `taste` and
    `usual_appeal`).
    """
    values = products.attributes[items]
    taste = np.zeros(len(values))
    for name, weight in kind.tastes.items():
        if name == "price":
            off = (products.level[items] - shoppers.level[user]) / 0.25
            taste += weight * np.exp(-(off**2))
        else:
            taste += weight * shoppers.liking(name)[user, values[:, column(name)]]
    raw = kind.taste * taste + (1 - kind.taste) * products.quality[items]
    return expit(8 * (raw - kind.usual_appeal))


def past_events(
    shoppers: Shoppers,
    products: Products,
    rng: np.random.Generator,
    kind: Kind = OVERLAPPING,
) -> pd.DataFrame:
    """The events before the log: columns user, item (numbers), event_type and time (seconds).

    A shopper views items that had arrived by the start, drawn with a weight of
    exp(5 appeal) (1 + sales)^0.3, and puts the appealing ones into the cart and buys some of them.
    """
    present = np.flatnonzero(products.arrived < START)
    popularity = (1.0 + products.sales[present]) ** 0.3
    users, items, events, times = [], [], [], []
    for user in np.flatnonzero(~shoppers.new):
        liked = appeal(shoppers, int(user), products, present, kind)
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
    none = [np.empty(0, dtype=np.int64)]  # for a shop whose shoppers are all new
    return pd.DataFrame(
        {
            "user": np.concatenate(none + users),
            "item": np.concatenate(none + items),
            "event_type": np.array(events, dtype=object),
            "time": np.concatenate(none + times),
        }
    )
