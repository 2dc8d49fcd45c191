from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmrank.collaborative.matrix import DAY, read_interactions
from mmrank.data.tables import Dataset

Shop = Callable[..., Dataset]
Table = dict[str, list[Any]]


def test_the_matrix_contains_events_strictly_before_a_time(shop: Shop) -> None:
    events = read_interactions(shop(), {})
    matrix = events.before(15)
    assert sp.issparse(matrix)
    u, v, w, x = events.codes(pd.Series(["u", "v", "w", "x"]))
    expected = np.zeros([4, 5])
    expected[u, :3] = 1
    expected[v, :2] = 1  # w's event at 15 is not before 15, and neither is any event of x
    np.testing.assert_array_equal(matrix.toarray(), expected)
    assert not expected[[w, x]].any()


def test_histories_are_the_users_own_events_before_each_time(shop: Shop) -> None:
    events = read_interactions(shop(), {})
    users = events.codes(pd.Series(["u", "u", "nobody", "w"]))
    assert users[2] == -1
    rows = events.histories(users, np.array([12.0, np.inf, np.inf, 1.0]))
    np.testing.assert_array_equal(
        rows.toarray(), [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0], [0] * 5, [0] * 5]
    )


def test_weights_by_type_and_age(shop: Shop, events_table: Table) -> None:
    times = {"time": [0.0, 0, 0, 0, 0, 0, 0, 2 * DAY, 0]}
    events = read_interactions(
        shop(events_table | times), {"buy": 4.0, "view": 1.0}, half_life_days=1.0
    )
    matrix = events.before(3 * DAY).toarray()
    x, u = events.codes(pd.Series(["x", "u"]))
    assert matrix[x, 3] == 4 * 0.5  # one day old
    assert matrix[u, 0] == 0.125  # three days old


def test_a_type_of_weight_zero_is_left_out(shop: Shop) -> None:
    events = read_interactions(shop(), {"view": 0.0})
    assert list(events.names) == ["x"]
    assert len(events.items) == 1


def test_repeated_events_add_up_and_exact_repetitions_count_once(
    shop: Shop, events_table: Table
) -> None:
    more = {
        "user_id": ["x", "x", "x"],
        "item_id": ["a", "a", "a"],
        "event_type": ["view"] * 3,
        "time": [5, 5, 6],
    }
    events = read_interactions(shop({n: events_table[n] + more[n] for n in events_table}), {})
    x = events.codes(pd.Series(["x"]))[0]
    assert events.before(100)[x, 0] == 2


def test_events_of_unknown_items_and_without_a_user_are_left_out(
    shop: Shop, events_table: Table
) -> None:
    more = {
        "user_id": [None, "u"],
        "item_id": ["a", "unlisted"],
        "event_type": ["view"] * 2,
        "time": [1, 1],
    }
    events = read_interactions(shop({n: events_table[n] + more[n] for n in events_table}), {})
    assert len(events.items) == len(events_table["time"])


def test_events_of_two_types_in_one_second_are_two_events(shop: Shop, events_table: Table) -> None:
    more = {"user_id": ["x"] * 2, "item_id": ["a"] * 2, "event_type": ["view", "buy"]}
    more |= {"time": [5, 5]}
    both = {n: events_table[n] + more[n] for n in events_table}
    events = read_interactions(shop(both), {"buy": 4.0, "view": 1.0})
    x = events.codes(pd.Series(["x"]))[0]
    assert events.before(100)[x, 0] == 1 + 4


def test_without_an_end_of_time_the_latest_event_is_now(shop: Shop, events_table: Table) -> None:
    """The latest event is u's of item d; u's events of a, b and c are 3, 2 and 1 days older."""
    days = [5, 6, 7, 1, 1, 1, 1, 1, 8]
    events = read_interactions(
        shop(events_table | {"time": [d * DAY for d in days]}), {}, half_life_days=1.0
    )
    u, v = events.codes(pd.Series(["u", "v"]))
    expected = [0.5**3, 0.5**2, 0.5, 1, 0]
    np.testing.assert_allclose(events.before(np.inf).toarray()[u], expected)
    # Whichever users are asked for: v's two events are a week before u's last event.
    for asked in ([u, v], [u], [v]):
        found = events.histories(np.array(asked), np.full(len(asked), np.inf)).toarray()
        of_each = {u: expected, v: [0.5**7, 0.5**7, 0, 0, 0]}
        np.testing.assert_allclose(found, [of_each[n] for n in asked])
