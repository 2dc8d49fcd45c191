"""Batches against plain loops: unique items, padding, buckets, cuts, order and history."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from mmrank.data.batches import Batch, Batches, HistoryArrays, ListArrays, bucket_lengths

LENGTHS = [3, 5, 2, 4, 9, 3, 12, 2, 40, 5]


@pytest.fixture(scope="module")
def arrays() -> ListArrays:
    """Ten lists over 30 items; the price of item i is i, and the pair value of row r is r."""
    generator = np.random.default_rng(0)
    offsets = np.r_[0, np.cumsum(LENGTHS)].astype(np.int64)
    rows = int(offsets[-1])
    times = np.sort(generator.integers(0, 20, [4, 8]), axis=1).astype(np.float64) * 86_400
    return ListArrays(
        items={"price": np.arange(30, dtype=np.float32), "price_present": np.arange(30) % 3 > 0},
        contexts={"query": np.arange(10, dtype=np.int64) * 100},
        pairs={
            "shown": np.arange(rows, dtype=np.float32) + 1,
            "shown_present": np.ones(rows, bool),
        },
        offsets=offsets,
        candidates=generator.integers(0, 30, rows).astype(np.int32),
        grades=generator.integers(0, 4, rows).astype(np.float32),
        users=np.array([0, 1, 2, 3, -1, 0, 1, 2, 3, -1]),
        times=np.array([5, 10, 0, 30, 10, np.nan, 19, 7, 12, np.nan]) * 86_400,
        history=HistoryArrays(
            name="history",
            length=3,
            starts=np.arange(5, dtype=np.int64) * 8,
            items=generator.integers(0, 30, 32).astype(np.int32),
            types=generator.integers(0, 3, 32).astype(np.int32),
            times=times.reshape(-1),
        ),
    )


@pytest.fixture(params=[True, False], ids=["unique", "repeated"])
def batches(arrays, request) -> Batches:
    return Batches(arrays, 3, (4, 8, 16), seed=5, unique_items=request.param)


def events_before(arrays: ListArrays, number: int) -> list[int]:
    """The latest three events strictly before the list's time, by a plain loop."""
    user, time = arrays.users[number], arrays.times[number]
    if user < 0:
        return []
    own = range(arrays.history.starts[user], arrays.history.starts[user + 1])
    return [e for e in own if np.isnan(time) or arrays.history.times[e] < time][-3:]


def test_every_slot_leads_to_its_item_and_padding_is_masked(arrays, batches):
    for members, batch in batches.once():
        for b, number in enumerate(members):
            first, last = arrays.offsets[number], arrays.offsets[number + 1]
            length = last - first
            assert batch["mask"][b].tolist() == [True] * length + [False] * (
                batch["mask"].shape[1] - length
            )
            prices = batch["price"][batch["slots"][b, :length]]
            assert prices.tolist() == arrays.candidates[first:last].tolist()
            assert batch["grades"][b, :length].tolist() == arrays.grades[first:last].tolist()
            assert batch["shown"][b, :length].tolist() == list(range(first + 1, last + 1))
            assert batch["query"][b] == number * 100
            for name in ("slots", "grades", "shown", "shown_present"):
                assert not batch[name][b, length:].any()


def test_history_is_the_latest_events_before_the_list(arrays, batches):
    seen = 0
    for members, batch in batches.once():
        for b, number in enumerate(members):
            expected = events_before(arrays, number)
            seen += len(expected)
            count = len(expected)
            assert batch["history_mask"][b].tolist() == [True] * count + [False] * (3 - count)
            items = batch["price"][batch["history_slots"][b, :count]]
            assert items.tolist() == arrays.history.items[expected].tolist()
            assert batch["history_types"][b, :count].tolist() == (
                arrays.history.types[expected].tolist()
            )
            now = arrays.times[number]
            if np.isnan(now) and expected:
                now = arrays.history.times[expected[-1]]
            ages = [(now - arrays.history.times[e]) / 86_400 for e in expected]
            assert batch["history_ages"][b, :count].tolist() == pytest.approx(ages)
    assert seen > 10


def test_events_at_the_time_of_the_list_are_not_in_the_history():
    times = np.array([1.0, 2.0, 2.0, 3.0])
    history = HistoryArrays(
        "history", 5, np.array([0, 4]), np.zeros(4, np.int32), np.zeros(4, np.int32), times
    )
    assert history.before(0, 2.0) == slice(0, 1)
    assert history.before(0, 2.5) == slice(0, 3)
    assert history.before(0, 0.5) == slice(0, 0)
    assert history.before(0, np.nan) == slice(0, 4)
    assert history.before(-1, 9.0) == slice(0, 0)


def test_unique_items_appear_once(arrays):
    for members, batch in Batches(arrays, 4, (64,)).once():
        shown = {int(arrays.candidates[r]) for i in members for r in rows_of(arrays, i)}
        shown |= {int(arrays.history.items[e]) for i in members for e in events_before(arrays, i)}
        assert batch["price"].tolist() == sorted(shown)
        assert batch["price_present"].tolist() == [i % 3 > 0 for i in sorted(shown)]


def rows_of(arrays: ListArrays, number: int) -> range:
    return range(arrays.offsets[number], arrays.offsets[number + 1])


def test_repeated_items_appear_once_per_slot(arrays):
    batch = Batches(arrays, 10, (64,), unique_items=False).make(np.arange(10))
    assert len(batch["price"]) == sum(LENGTHS) + batch["history_mask"].sum()


@pytest.mark.parametrize(
    ("length", "padded"), [(1, 4), (4, 4), (5, 8), (8, 8), (16, 16), (17, 32), (32, 32), (33, 64)]
)
def test_bucket_lengths(length, padded):
    """Above the largest bucket, the next power of two is used."""
    assert bucket_lengths(np.array([length]), (16, 4, 8)).tolist() == [padded]


def test_lists_of_one_bucket_are_batched_together(arrays):
    plan = Batches(arrays, 3, (4, 8, 16)).plan(0)
    assert sorted(np.concatenate(plan).tolist()) == list(range(10))
    for members in plan:
        assert 1 <= len(members) <= 3
        assert (
            len({int(bucket_lengths(np.array([LENGTHS[i]]), (4, 8, 16))[0]) for i in members}) == 1
        )


def test_a_cut_keeps_the_highest_grades_in_the_order_of_the_list(arrays):
    batches = Batches(arrays, 1, (4, 8, 16), max_candidates=6, seed=1)
    draws = set()
    for epoch in range(6):
        batch = batches.make(np.array([8]), epoch)
        assert batch["mask"].sum() == 6
        rows = (batch["shown"][0, :6] - 1).astype(int).tolist()
        assert rows == sorted(rows)
        all_grades = sorted(arrays.grades[list(rows_of(arrays, 8))], reverse=True)
        assert sorted(batch["grades"][0, :6].tolist(), reverse=True) == all_grades[:6]
        draws.add(tuple(rows))
    assert len(draws) > 1, "ties at the cut are drawn again in every epoch"


def test_seeds_draw_different_orders_and_cuts(arrays):
    orders, cuts = set(), set()
    for seed in range(6):
        batches = Batches(arrays, 3, (4, 8, 16), max_candidates=6, seed=seed)
        orders.add(tuple(np.concatenate(batches.plan(1)).tolist()))
        cuts.add(tuple(batches.make(np.array([8]), 1)["shown"][0, :6].tolist()))
    assert len(orders) > 1
    assert len(cuts) > 1


def same(one: Batch, other: Batch) -> bool:
    return one.keys() == other.keys() and all(
        np.array_equal(one[n], other[n]) and one[n].dtype == other[n].dtype for n in one
    )


@pytest.mark.parametrize("start", [1, 4, 9])
def test_a_stream_can_start_anywhere(arrays, start):
    batches = Batches(arrays, 3, (4, 8, 16), max_candidates=6, seed=2)
    whole = list(itertools.islice(batches.stream(0), start + 8))
    tail = list(itertools.islice(batches.stream(start), 8))
    assert all(same(a, b) for a, b in zip(whole[start:], tail, strict=True))


def test_epochs_differ_in_order_and_hold_every_list_once(arrays):
    batches = Batches(arrays, 3, (4, 8, 16), seed=2)
    plans = [batches.plan(e) for e in range(4)]
    assert len({len(p) for p in plans}) == 1
    flat = [np.concatenate(p).tolist() for p in plans]
    assert all(sorted(f) == list(range(10)) for f in flat)
    assert len({tuple(f) for f in flat}) > 1
    assert [m.tolist() for m in batches.plan(0)] == [m.tolist() for m in plans[0]]


def test_shards_partition_the_steps(arrays):
    batches = Batches(arrays, 2, (4, 8, 16), seed=2)
    whole = list(itertools.islice(batches.stream(0), 12))
    for index in range(3):
        own = list(itertools.islice(batches.stream(1, (index, 3)), 3))
        expected = [whole[3 * s + index] for s in (1, 2, 3)]
        assert all(same(a, b) for a, b in zip(own, expected, strict=True))


def test_without_events_the_history_is_empty(arrays):
    empty = np.zeros(0, np.int32)
    none = HistoryArrays("history", 3, np.zeros(1, np.int64), empty, empty, np.zeros(0))
    lists = dataclasses.replace(arrays, history=none, users=np.full(10, -1))
    batch = Batches(lists, 10, (64,)).make(np.arange(10))
    assert batch["history_mask"].shape == (10, 3)
    assert not batch["history_mask"].any()
    bare = Batches(dataclasses.replace(arrays, history=None), 10, (64,)).make(np.arange(10))
    assert not any(n.startswith("history") for n in bare)


def test_neighbours_stay_together_in_blocks(arrays):
    """All lists are in one bucket, so that every batch of two is a block of two."""
    batches = Batches(arrays, 2, (64,), seed=3, block=2)
    orders = set()
    for epoch in range(4):
        plan = [tuple(m.tolist()) for m in batches.plan(epoch)]
        assert sorted(plan) == [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)]
        orders.add(tuple(plan))
    assert len(orders) > 1
