import dataclasses

import numpy as np
import pytest

from mmrank.data.simulator.clock import LOG_START, START
from mmrank.data.simulator.products import make_products
from mmrank.data.simulator.users import appeal, make_population, past_events


def test_appeal_by_hand() -> None:
    products = make_products(60, np.random.default_rng(0))
    colour, _, _, style, _, brand, _ = products.attributes[5]
    population = make_population(2, np.random.default_rng(1))
    population.colour[1, colour], population.brand[1, brand], population.style[1, style] = (
        0.9,
        0.2,
        0.6,
    )
    population.level[1] = products.level[5] + 0.25
    taste = 0.40 * 0.9 + 0.25 * 0.2 + 0.20 * 0.6 + 0.15 * np.exp(-1.0)
    raw = 0.85 * taste + 0.15 * products.quality[5]
    expected = 1 / (1 + np.exp(-8 * (raw - 0.42)))
    found = appeal(population, 1, products, np.array([5]))
    np.testing.assert_allclose(found, [expected], rtol=1e-12)


def test_users_view_items_that_appeal_to_them() -> None:
    products = make_products(300, np.random.default_rng(0))
    users = make_population(40, np.random.default_rng(1))
    events = past_events(users, products, np.random.default_rng(2))
    every = np.arange(len(products))
    lifts = []
    for user, rows in events[events.event_type == "view"].groupby("user"):
        liked = appeal(users, int(user), products, every)
        lifts.append(liked[rows["item"]].mean() - liked.mean())
    assert np.mean(lifts) > 0.15


def test_past_events_are_before_the_log_and_of_existing_items() -> None:
    products = make_products(300, np.random.default_rng(0))
    users = make_population(40, np.random.default_rng(1))
    events = past_events(users, products, np.random.default_rng(2))
    assert events["time"].between(START, LOG_START - 1).all()
    assert (products.arrived[events["item"]] < START).all()
    assert not users.new[events["user"]].any()
    counts = events["event_type"].value_counts()
    assert counts["view"] > counts["cart"] > counts["purchase"] > 0


def test_a_shop_of_new_users_has_no_past_events() -> None:
    products = make_products(60, np.random.default_rng(0))
    users = make_population(3, np.random.default_rng(1))
    users = dataclasses.replace(users, new=np.ones(3, dtype=bool))
    events = past_events(users, products, np.random.default_rng(2))
    assert events.columns.tolist() == ["user", "item", "event_type", "time"]
    assert events.empty


def test_activity_is_a_distribution() -> None:
    assert make_population(50, np.random.default_rng(0)).activity.sum() == pytest.approx(1)
