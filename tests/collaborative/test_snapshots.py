from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mmrank.collaborative.base import Asked
from mmrank.collaborative.options import CollaborativeOptions
from mmrank.collaborative.scorers import SCORERS, make_scorers
from mmrank.collaborative.snapshots import AsOfScores, cut_times
from mmrank.collaborative.vectors import candidate_vectors, standardised
from mmrank.data.tables import Dataset

Shop = Callable[..., Dataset]
Table = dict[str, list[Any]]
OPTIONS = CollaborativeOptions(factors=2, epochs=2, snapshots=3, shrinkage=0.0)


@pytest.fixture(scope="module", autouse=True)
def extra() -> None:
    pytest.importorskip("implicit")


def everything(dataset: Dataset, time: float) -> dict[str, np.ndarray]:
    """All figures of the lists at one time."""
    as_of = AsOfScores(dataset, OPTIONS)
    rows = dataset.lists[dataset.lists["_time"] == time]
    vectors, present = candidate_vectors(as_of, list(SCORERS), rows)
    at = as_of.indices(rows)
    scores = {n: s[at] for n, s in as_of.scores(list(SCORERS)).items()}
    counts = {"user": as_of.user_events[at], "item": as_of.item_events[at]}
    return scores | counts | {"vectors": vectors, "present": present}


# Users 0 and z are new: in the order of ids they come before and after all others.
LATER = {
    "user_id": ["0", "0", "z", "v", "v", "w", "u"],
    "item_id": ["a", "d", "b", "c", "d", "e", "e"],
    "event_type": ["buy"] * 7,
}


@pytest.mark.parametrize("time", [20, 50, 70])
def test_nothing_later_than_a_list_changes_a_figure_of_it(
    shop: Shop, events_table: Table, time: int
) -> None:
    before = everything(shop(), time)
    at_or_after = [time, time + 1, time, time, time + 5, time, time]
    more = LATER | {"time": at_or_after}
    added = everything(shop({n: events_table[n] + more[n] for n in events_table}), time)
    kept = [t < time for t in events_table["time"]]
    removed_table = {
        n: [v for v, k in zip(column, kept, strict=True) if k] for n, column in events_table.items()
    }
    removed = everything(shop(removed_table), time)
    for name, figures in before.items():
        np.testing.assert_array_equal(added[name], figures, err_msg=name)
        np.testing.assert_array_equal(removed[name], figures, err_msg=name)


def test_an_earlier_event_does_change_the_figures(shop: Shop, events_table: Table) -> None:
    more = LATER | {"time": [5] * 7}
    changed = everything(shop({n: events_table[n] + more[n] for n in events_table}), 50)
    before = everything(shop(), 50)
    for name in ("itemknn", "userknn", "als", "gmf", "user", "item", "vectors"):
        assert not np.array_equal(changed[name], before[name]), name


def test_scores_come_from_the_latest_snapshot_and_the_exact_history(shop: Shop) -> None:
    dataset = shop()
    as_of = AsOfScores(dataset, OPTIONS)
    found = as_of.scores(["itemknn"])["itemknn"]
    # Training and validation lists at 20, 50 and 70 give three cuts: 20, 50 and 70.
    for cut, number, time in [(20, 1, 20), (50, 2, 50), (70, 3, 70)]:
        rows = dataset.lists[dataset.lists["list_id"] == str(number)]
        scorer = make_scorers(["itemknn"], OPTIONS)["itemknn"]
        scorer.fit(as_of.interactions.before(cut))
        code = as_of.interactions.codes(rows["user_id"])[:1]
        history = as_of.interactions.histories(code, np.array([float(time)]))
        zeros = np.zeros(len(rows), int)
        expected = scorer.score(Asked(history, code, zeros, rows["_item"].to_numpy()))
        np.testing.assert_allclose(found[rows.index], expected, atol=1e-12)
    assert found[:7].any()


def test_without_a_history_or_a_user_scores_are_absent(shop: Shop) -> None:
    dataset = shop()
    as_of = AsOfScores(dataset, OPTIONS)
    unknown = dataset.lists["list_id"].isin(["4", "5"]).to_numpy()
    for scores in as_of.scores(["itemknn", "userknn"]).values():
        assert not scores[unknown].any()
    vectors, present = candidate_vectors(as_of, ["itemknn"], dataset.lists)
    assert not present[unknown].any()
    assert not vectors[~present].any()
    # Item e has no event, so nothing is known about it, even for a user with a history.
    item_e = (dataset.lists["item_id"] == "e").to_numpy()
    assert not present[item_e].any()
    assert present[~unknown & ~item_e].all()


def test_vectors_end_with_the_number_of_events(shop: Shop) -> None:
    dataset = shop()
    vectors, present = candidate_vectors(
        AsOfScores(dataset, OPTIONS), ["itemknn"], dataset.lists.iloc[:2]
    )
    # At 20, user w has events of two items; item a has two events, item d has one.
    np.testing.assert_allclose(vectors[:, 1:], np.log1p([[2, 2], [2, 1]]), rtol=1e-6)
    assert present.all()
    # Scores are standardised within the list of two: one above the mean, one below.
    np.testing.assert_allclose(vectors[:, 0], [1, -1], rtol=1e-6)


def test_standardised_by_hand() -> None:
    found = standardised(np.array([1.0, 3.0, 5.0, 5.0, 5.0]), np.array([0, 2, 5]))
    np.testing.assert_allclose(found, [-1, 1, 0, 0, 0])


def test_cut_times_are_quantiles_of_the_lists() -> None:
    times = np.array([5.0, 1, 2, 8, 3, 3, 9, 7])
    np.testing.assert_array_equal(cut_times(times, 4), [1, 3, 5, 8])
    np.testing.assert_array_equal(cut_times(np.array([4.0, 4, 4]), 3), [4])
    np.testing.assert_array_equal(cut_times(np.array([np.inf]), 3), [np.inf])


def test_rows_of_another_table_are_refused(shop: Shop) -> None:
    dataset = shop()
    as_of = AsOfScores(dataset, OPTIONS)
    with pytest.raises(ValueError, match="with their index"):
        as_of.indices(dataset.lists.iloc[3:].reset_index(drop=True))


def test_scores_that_differ_by_rounding_are_standardised_to_zero() -> None:
    scores = np.array([0.1 + 0.2, 0.3, 0.3, 1e-20, 3e-20, 0.7, 0.7])
    found = standardised(scores, np.array([0, 3, 5, 7]))
    np.testing.assert_allclose(found, [0, 0, 0, -1, 1, 0, 0], atol=1e-12)


def test_test_lists_have_snapshots_of_their_own(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two test lists need ⌈3 · 2 / 3⌉ = 2 cuts, 70 and 80; the one at 70 is fitted only once."""
    asked: list[float] = []
    as_of = AsOfScores(shop(), OPTIONS)
    before = as_of.interactions.before

    class Noted:
        def __getattr__(self, name: str) -> Any:
            return getattr(interactions, name)

        def before(self, cut: float) -> Any:
            asked.append(cut)
            return before(cut)

    interactions = as_of.interactions
    monkeypatch.setattr(as_of, "interactions", Noted())
    as_of.scores(["itemknn"])
    assert asked == [20, 50, 70, 80]
