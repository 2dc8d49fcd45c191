from __future__ import annotations

import itertools
from math import log2
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score, roc_auc_score

from mmrank.evaluation.metrics import per_list

NAN = float("nan")


def one(metric: str, scores: list[float], grades: list[float], **options: Any) -> float:
    """The metric of a single list."""
    values = per_list(
        np.array(scores), np.array(grades), np.array([0, len(scores)]), metrics=[metric], **options
    )
    return float(values[metric][0])


# Ordered by score, the grades are 1, 0, 3, 0, 1.
SCORES, GRADES = [0.1, 0.9, 0.5, 0.3, 0.7], [1.0, 1.0, 3.0, 0.0, 0.0]
IDEAL = 7 / log2(2) + 1 / log2(3) + 1 / log2(4)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("ndcg", (1 / log2(2) + 7 / log2(4) + 1 / log2(6)) / IDEAL),
        ("ndcg@1", 1 / 7),
        ("ndcg@2", 1 / (7 + 1 / log2(3))),
        ("ndcg@10", (1 / log2(2) + 7 / log2(4) + 1 / log2(6)) / IDEAL),
        ("mrr", 1.0),
        ("mrr@1", 1.0),
        ("map", (1 / 1 + 2 / 3 + 3 / 5) / 3),
        ("map@3", (1 / 1 + 2 / 3) / 3),
        ("precision@1", 1.0),
        ("precision@2", 1 / 2),
        ("precision@10", 3 / 10),
        ("precision", 3 / 5),
        ("recall@2", 1 / 3),
        ("recall@10", 1.0),
        ("f1@2", 2 / (1 / (1 / 2) + 1 / (1 / 3))),
        ("f1@10", 2 / (1 / (3 / 10) + 1 / 1)),
        ("f1", 2 / (1 / (3 / 5) + 1 / 1)),
        ("accuracy@1", 0.0),
        ("accuracy@3", 1.0),
        ("auc", (2 + 1 + 0) / 6),
    ],
)
def test_by_hand(metric: str, expected: float) -> None:
    assert one(metric, SCORES, GRADES) == pytest.approx(expected, abs=1e-12)


def test_relevant_grade_moves_all_but_ndcg() -> None:
    assert one("mrr", SCORES, GRADES, relevant_grade=2) == pytest.approx(1 / 3)
    assert one("recall@2", SCORES, GRADES, relevant_grade=2) == 0.0
    assert one("auc", SCORES, GRADES, relevant_grade=2) == pytest.approx(2 / 4)
    assert one("ndcg", SCORES, GRADES, relevant_grade=2) == one("ndcg", SCORES, GRADES)


def test_mrr_is_zero_past_its_cutoff() -> None:
    assert one("mrr@2", [3.0, 2.0, 1.0], [0.0, 0.0, 1.0]) == 0.0
    assert one("mrr@3", [3.0, 2.0, 1.0], [0.0, 0.0, 1.0]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(("convention", "expected"), [("skip", NAN), ("zero", 0.0), ("one", 1.0)])
def test_the_convention_applies_to_every_metric(convention: str, expected: float) -> None:
    values = per_list(
        np.array([1.0, 2.0, 1.0, 2.0]),
        np.array([0.0, 0.0, 0.0, 1.0]),
        np.array([0, 2, 4]),
        no_relevant=convention,
    )
    for name, value in values.items():
        np.testing.assert_equal(value[0], expected, err_msg=name)
        short = {"precision@5": 0.2, "precision@10": 0.1, "f1@5": 2 / 6, "f1@10": 2 / 11}
        assert value[1] == pytest.approx(short.get(name, 1.0))


@pytest.mark.parametrize("convention", ["skip", "zero", "one"])
def test_auc_of_all_relevant_is_never_defined(convention: str) -> None:
    assert np.isnan(one("auc", [1.0, 2.0], [1.0, 1.0], no_relevant=convention))


def test_a_grade_below_relevant_counts_only_for_ndcg() -> None:
    assert one("ndcg", [1.0, 2.0], [0.0, 0.5]) == 1.0
    assert np.isnan(one("mrr", [1.0, 2.0], [0.0, 0.5]))


def test_list_without_rows_is_a_list_without_relevant_item() -> None:
    values = per_list(
        np.array([1.0, 2.0]), np.array([0.0, 1.0]), np.array([0, 0, 2]), metrics=["ndcg@5", "mrr"]
    )
    np.testing.assert_array_equal(values["ndcg@5"], [NAN, 1.0])
    np.testing.assert_array_equal(values["mrr"], [NAN, 1.0])


@pytest.mark.parametrize("best_first", [True, False])
def test_all_ties_score_like_a_random_order(best_first: bool) -> None:
    lists, size = 4000, 4
    grades = np.tile([1.0, 0, 0, 0] if best_first else [0, 0, 0, 1.0], lists)
    offsets = np.arange(0, lists * size + 1, size)
    values = per_list(np.zeros(lists * size), grades, offsets, metrics=["mrr", "auc"])
    expected = np.mean([1 / rank for rank in range(1, size + 1)])
    # The standard error of the mean of 4,000 reciprocal ranks is 0.0046.
    assert values["mrr"].mean() == pytest.approx(expected, abs=0.02)
    np.testing.assert_array_equal(values["auc"], 0.5)


def test_tie_keys_make_ties_independent_of_the_order_of_rows() -> None:
    keys = np.arange(100, 108, dtype=np.uint64)
    grades = np.array([0, 1, 2, 3, 0, 1, 2, 3.0])
    offsets = np.array([0, 8])
    shuffle = np.random.default_rng(0).permutation(8)
    straight = per_list(np.zeros(8), grades, offsets, tie_keys=keys)
    shuffled = per_list(np.zeros(8), grades[shuffle], offsets, tie_keys=keys[shuffle])
    assert straight == shuffled
    by_seed = {one("ndcg", [0.0] * 8, list(grades), tie_keys=keys, seed=s) for s in range(20)}
    assert len(by_seed) > 10


def _by_loop(scores: np.ndarray, grades: np.ndarray) -> dict[str, Any]:
    """The metrics of one list without ties, directly by their definitions."""
    ranked = [g for _, g in sorted(zip(-scores, grades, strict=True))]
    relevant = [g >= 1 for g in ranked]
    positions = [position for position, hit in enumerate(relevant, 1) if hit]
    pairs = [(i, j) for i in range(len(ranked)) for j in range(len(ranked))]
    pairs = [(i, j) for i, j in pairs if relevant[i] and not relevant[j]]
    return {
        "mrr": 1 / positions[0] if positions else NAN,
        "map": np.mean([sum(relevant[:p]) / p for p in positions]) if positions else NAN,
        "precision@5": sum(relevant[:5]) / 5 if positions else NAN,
        "recall@5": sum(relevant[:5]) / len(positions) if positions else NAN,
        "f1@5": 2 * sum(relevant[:5]) / (5 + len(positions)) if positions else NAN,
        "accuracy@1": float(ranked[0] == max(ranked)) if positions else NAN,
        "auc": np.mean([i < j for i, j in pairs]) if pairs else NAN,
    }


def test_many_lists_equal_loops_and_sklearn() -> None:
    rng = np.random.default_rng(3)
    sizes = rng.integers(2, 30, 200)
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    scores = rng.permutation(offsets[-1]).astype(float)
    grades = rng.choice([0, 0, 0, 1, 2, 0.5], offsets[-1])
    values = per_list(scores, grades, offsets)
    for i, (start, end) in enumerate(itertools.pairwise(offsets)):
        s, g = scores[start:end], grades[start:end]
        for name, expected in _by_loop(s, g).items():
            np.testing.assert_allclose(values[name][i], expected, err_msg=name)
        if (g > 0).any():
            assert values["ndcg@5"][i] == pytest.approx(ndcg_score([2**g - 1], [s], k=5))
        if 0 < (g >= 1).sum() < len(g):
            assert values["auc"][i] == pytest.approx(roc_auc_score(g >= 1, s))
            assert values["map"][i] == pytest.approx(average_precision_score(g >= 1, s))


def test_auc_with_ties_equals_sklearn() -> None:
    rng = np.random.default_rng(5)
    scores, grades = rng.integers(0, 4, 60).astype(float), rng.integers(0, 2, 60)
    values = per_list(scores, grades, np.array([0, 20, 60]), metrics=["auc"])["auc"]
    assert values[0] == pytest.approx(roc_auc_score(grades[:20], scores[:20]))
    assert values[1] == pytest.approx(roc_auc_score(grades[20:], scores[20:]))


def test_equals_tf_ranking() -> None:
    tfr = pytest.importorskip("tensorflow_ranking")
    rng = np.random.default_rng(7)
    scores, grades = rng.normal(size=(20, 12)), rng.integers(0, 4, (20, 12)).astype(float)
    offsets = np.arange(0, 241, 12)
    values = per_list(scores.ravel(), grades.ravel(), offsets)
    metrics = {
        "ndcg@10": tfr.keras.metrics.NDCGMetric(topn=10),
        "mrr": tfr.keras.metrics.MRRMetric(),
        "map": tfr.keras.metrics.MeanAveragePrecisionMetric(),
        "precision@5": tfr.keras.metrics.PrecisionMetric(topn=5),
        "recall@5": tfr.keras.metrics.RecallMetric(topn=5),
    }
    for name, metric in metrics.items():
        assert float(metric(grades, scores)) == pytest.approx(values[name].mean(), abs=1e-5), name


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(0, 4)), min_size=1, max_size=20))
def test_bounds_and_the_best_order(rows: list[tuple[float, int]]) -> None:
    scores, grades = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    offsets = np.array([0, len(rows)])
    for value in per_list(scores, grades, offsets).values():
        assert np.isnan(value[0]) or 0 <= value[0] <= 1 + 1e-12
    best = per_list(grades, grades, offsets, metrics=["ndcg@5", "mrr", "map", "auc"])
    assert all(np.isnan(v[0]) or v[0] == pytest.approx(1.0) for v in best.values())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metrics": ["ndgc@10"]}, r"unknown metric 'ndgc@10'; known: ndcg, mrr"),
        ({"metrics": ["ndcg@0"]}, "unknown metric"),
        ({"metrics": ["auc@5"]}, "no cutoff"),
        ({"no_relevant": "drop"}, "known: skip, zero, one"),
        ({"scores": np.array([1.0, np.nan])}, r"1 score\(s\).*row 1"),
        ({"grades": np.array([-1.0, 0.0])}, r"1 grade\(s\).*row 0"),
        ({"grades": np.array([1.0])}, "must both be"),
        ({"offsets": np.array([0, 1])}, "number of rows, 2"),
        ({"offsets": np.array([0, 2, 1, 2])}, "must not decrease"),
    ],
)
def test_wrong_input_is_refused(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {
        "scores": np.zeros(2),
        "grades": np.ones(2),
        "offsets": np.array([0, 2]),
    }
    with pytest.raises(ValueError, match=message):
        per_list(**{**good, **change})
