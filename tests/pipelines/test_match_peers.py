"""The peers of a ranker: trees that learn from its match features, all in one report."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmrank.build import Run
from mmrank.data.tables import Dataset
from pipelines.benchmarks.match_peers import TREES, Part, grown, measure


def part(lists: int, seed: int) -> Part:
    """Lists of eight whose grades are told by the first of three features, in part by thirds."""
    random = np.random.default_rng(seed)
    features = random.normal(size=(8 * lists, 3))
    grades = np.clip(np.round(features[:, 0] + 1, 0), 0, 2) + (features[:, 0] > 1.8) / 3
    return Part(pd.DataFrame(), features, grades, np.arange(0, 8 * lists + 1, 8))


@pytest.mark.parametrize("objective", TREES.values())
def test_trees_find_what_tells_the_grades(objective: str) -> None:
    trees = grown(objective, part(60, 0), part(20, 1))
    unseen = part(20, 2)
    scores = trees.predict(unseen.features)
    rank_correlation = pd.Series(scores).corr(pd.Series(unseen.grades), method="spearman")
    assert rank_correlation > 0.9


@pytest.mark.slow
def test_all_scorers_stand_in_one_report(run: Run, dataset: Dataset) -> None:
    report = measure([(run, dataset)], "valid")
    rows = dataset.rows("valid")
    assert report.rows == len(rows)
    assert report.lists == rows[dataset.schema.lists.list].nunique()
    assert {"model", *TREES} < set(report.metrics)
    assert any(name.endswith("/bm25") for name in report.metrics)
    assert {c.b for c in report.comparisons} == set(report.metrics) - {"model"}
