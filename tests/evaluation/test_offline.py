from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from math import log2
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmrank.data.tables import DataError, Dataset
from mmrank.evaluation.metrics import DEFAULT_METRICS
from mmrank.evaluation.offline import evaluate_scores, list_offsets
from mmrank.evaluation.report import Report
from mmrank.schema import SchemaError

Shop = Callable[..., Dataset]
# Ordered by these scores, the grades of the test lists are 2 0 1, 0 3 0, and 0 0.
MODEL = np.array([0.9, 0.5, 0.1, 0.9, 0.5, 0.1, 0.1, 0.2])
FIRST = (3 + 1 / 2) / (3 + 1 / log2(3))
SECOND = 1 / log2(3)


def report(dataset: Dataset, **options: Any) -> Report:
    scores = {"model": MODEL, "reverse": -MODEL}
    return evaluate_scores(dataset, dataset.rows("test"), scores, **options)


@pytest.mark.parametrize(
    ("convention", "third", "lists"), [("skip", [], 2), ("zero", [0.0], 3), ("one", [1.0], 3)]
)
def test_means_and_counts(shop: Shop, convention: str, third: list[float], lists: int) -> None:
    found = report(shop(), no_relevant=convention)
    assert (found.lists, found.rows) == (3, 8)
    assert (found.without_positive, found.without_relevant) == (1, 1)
    ndcg = found.metrics["model"]["ndcg@10"]
    assert ndcg.mean == pytest.approx(np.mean([FIRST, SECOND, *third]))
    assert ndcg.lists == lists
    assert ndcg.low <= ndcg.mean <= ndcg.high
    assert list(found.metrics["model"]) == list(DEFAULT_METRICS)
    assert f"--no-relevant {convention}" in found.to_text()


def test_comparison_is_on_the_same_lists(shop: Shop) -> None:
    found = report(shop())
    (ndcg,) = (c for c in found.comparisons if c.metric == "ndcg@10")
    reverse = (1 + 3 / 2) / (3 + 1 / log2(3))  # grades 1 0 2; the second list stays 0 3 0
    assert ndcg.difference.mean == pytest.approx((FIRST - reverse) / 2)
    assert ndcg.relative == pytest.approx((FIRST - reverse) / (reverse + SECOND))
    assert len(found.comparisons) == len(DEFAULT_METRICS)


def test_item_slices_restrict_lists_and_drop_those_without_an_order(shop: Shop) -> None:
    parts = {part.name: part for part in report(shop()).slices}
    # a and b of list 1. List 2 keeps only b; list 3 has no relevant item.
    assert (parts["head items"].lists, parts["head items"].rows) == (1, 2)
    assert parts["head items"].metrics["model"]["ndcg@10"].mean == 1.0
    # b and c of list 1 with grades 0 1; b, c and e of list 2 with grades 0 3 0.
    assert (parts["no photo"].lists, parts["no photo"].rows) == (2, 5)
    assert parts["no photo"].metrics["model"]["ndcg@10"].mean == pytest.approx(1 / log2(3))
    assert parts["no photo"].metrics["reverse"]["ndcg@10"].mean == pytest.approx(
        (1 + 1 / log2(3)) / 2
    )
    assert list(parts["no photo"].metrics["reverse"]) == ["ndcg@10"]
    assert list(parts["no photo"].metrics["model"]) == list(DEFAULT_METRICS)


def test_a_single_candidate_of_a_slice_is_not_a_list(shop: Shop) -> None:
    """In list 2 only b is a head item, and relevant: any scorer would rank it first."""
    dataset = shop()
    graded = dataset.lists.assign(grade=[2, 0, 1, 1, 3, 0, 0, 0, 1, 1])
    parts = {part.name: part for part in report(dataclasses.replace(dataset, lists=graded)).slices}
    assert (parts["head items"].lists, parts["head items"].rows) == (1, 2)


def test_the_order_of_ties_is_drawn_for_every_list(shop: Shop) -> None:
    """Of two equal scores, the relevant one is first in half of the lists, whatever its id."""
    count = 400
    rows = pd.DataFrame(
        {
            "list_id": np.repeat(np.arange(count).astype(str), 2),
            "item_id": ["a", "b"] * count,
            "grade": [1.0, 0.0] * count,
        }
    )
    found = evaluate_scores(shop(), rows, {"constant": np.zeros(2 * count)}, with_slices=False)
    # 1 or 1/2: a standard deviation of 1/4 per list, and four standard errors.
    expected = pytest.approx((1 + 1 / 2) / 2, abs=4 * 0.25 / np.sqrt(count))
    assert found.metrics["constant"]["mrr"].mean == expected


def test_list_slices_follow_the_convention(shop: Shop) -> None:
    parts = {part.name: part for part in report(shop(), no_relevant="zero").slices}
    assert parts["without query"].lists == 1
    assert parts["without query"].metrics["model"]["ndcg@10"].mean == 0.0
    assert parts["short queries"].metrics["model"]["ndcg@10"].mean == pytest.approx(FIRST)


def test_ties_do_not_depend_on_the_order_of_the_rows(shop: Shop) -> None:
    dataset = shop()
    rows = dataset.rows("test")
    order = np.array([2, 0, 1, 5, 3, 4, 7, 6])
    straight, turned = (
        evaluate_scores(dataset, frame, {"constant": np.zeros(8)})
        for frame in (rows, rows.iloc[order])
    )
    assert straight.metrics == turned.metrics


def test_report_is_json_and_a_table_of_100_columns(shop: Shop) -> None:
    dataset = shop()
    scores = {"model": MODEL} | {f"baseline{i}": np.roll(MODEL, i) for i in range(6)}
    found = evaluate_scores(dataset, dataset.rows("test"), scores)
    text = found.to_text()
    assert max(map(len, text.splitlines())) <= 100
    for word in ("small shop", "split test: 3 lists", "1 lists (skipped)", "95% bootstrap", "auc"):
        assert word in text
    assert all(text.count(f"model - {name}") == 1 for name in scores if name != "model")
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["metrics"]["model"]["ndcg@10"]["mean"] == pytest.approx((FIRST + SECOND) / 2)
    assert plain["no_relevant"] == "skip"
    assert {s["name"] for s in plain["slices"]} >= {"no photo", "head items"}


def test_lists_without_relevant_items_have_no_figure(shop: Shop) -> None:
    dataset = shop()
    rows = dataset.rows("test").iloc[6:]
    found = evaluate_scores(dataset, rows, {"model": MODEL[6:], "other": MODEL[6:]})
    assert found.to_dict()["metrics"]["model"]["ndcg@10"]["mean"] is None
    assert found.to_dict()["comparisons"][0]["p_value"] is None
    assert "-" in found.to_text()


def test_wrong_input_is_refused(shop: Shop) -> None:
    dataset = shop()
    rows = dataset.rows("test")
    with pytest.raises(ValueError, match="no scores"):
        evaluate_scores(dataset, rows, {})
    with pytest.raises(ValueError, match=r"'model'.*\(2,\) for 8 rows"):
        evaluate_scores(dataset, rows, {"model": np.zeros(2)})
    with pytest.raises(DataError, match="'model': 8 of 8 scores are not finite"):
        evaluate_scores(dataset, rows, {"model": np.full(8, np.nan)})
    with pytest.raises(DataError, match="has no rows"):
        evaluate_scores(dataset, rows.iloc[:0], {"model": np.zeros(0)})
    with pytest.raises(DataError, match="must be adjacent"):
        evaluate_scores(dataset, rows.iloc[[0, 3, 1]], {"model": np.zeros(3)})
    with pytest.raises(DataError, match=r"lists.parquet, column 'grade': 1 grade"):
        evaluate_scores(dataset, rows.assign(grade=[1, 0, -1, 0, 0, 0, 0, 0]), {"model": MODEL})


def test_schema_without_a_grade(shop: Shop) -> None:
    dataset = shop(changed={"features": [{"name": "title", "kind": "text", "side": "item"}]})
    with pytest.raises(SchemaError, match="'grade'"):
        report(dataset)


def test_list_offsets() -> None:
    np.testing.assert_array_equal(list_offsets(pd.Series([*"aabccc"])), [0, 2, 3, 6])


def test_ten_thousand_lists_are_quick(shop: Shop) -> None:
    lists, size = 10_000, 50
    rng = np.random.default_rng(0)
    dataset = shop()
    rows = pd.DataFrame(
        {
            "list_id": np.repeat(np.arange(lists).astype(str), size),
            "item_id": np.tile(np.arange(size).astype(str), lists),
            "grade": rng.integers(0, 4, lists * size) * (rng.random(lists * size) < 0.1),
        }
    )
    scores = {name: rng.random(lists * size) for name in ("model", "random")}
    start = time.perf_counter()
    evaluate_scores(dataset, rows, scores, with_slices=False)
    assert time.perf_counter() - start < 20  # about 3 s on an idle core
