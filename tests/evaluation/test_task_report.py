"""The report on tasks: parts by the training labels of an item, and paired differences."""

from __future__ import annotations

import types

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from mmrank.data.tables import load_dataset
from mmrank.evaluation.auc import auc_differences, weighted_aucs
from mmrank.evaluation.tasks import classify_tasks, task_report
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import TaskSpec


def test_weighted_auc_is_that_of_repeated_rows():
    rng = np.random.default_rng(0)
    logits = rng.integers(0, 5, 60).astype(float)  # with ties
    happened = rng.random(60) < 0.3
    draws = [np.ones(60), rng.integers(0, 3, 60).astype(float)]
    given = weighted_aucs(happened, logits, draws)
    for value, draw in zip(given, draws, strict=True):
        rows = np.repeat(np.arange(60), draw.astype(int))
        assert value == pytest.approx(roc_auc_score(happened[rows], logits[rows]), abs=1e-12)


def test_intervals_of_auc_resample_lists():
    """A list whose rows are repeated nine times contains no additional information."""
    rng = np.random.default_rng(2)
    happened = np.tile([True, False, False], 30)
    logits = {"a": rng.normal(size=90) + happened, "b": rng.normal(size=90)}
    kept = rng.random(90) < 0.9
    found = []
    for times in (1, 9):
        again = np.repeat(np.arange(90).reshape(30, 3), times, axis=0).ravel()
        offsets = np.arange(31) * 3 * times
        values = {name: given[again] for name, given in logits.items()}
        found += auc_differences("click", "all", happened[again], values, kept[again], offsets, 0)
    once, nine = found
    assert once.low < once.difference < once.high
    for end in ("difference", "low", "high"):
        assert getattr(nine, end) == pytest.approx(getattr(once, end), abs=1e-12)


def test_parts_follow_the_training_labels_of_the_item(tiny_shop):
    """One scorer knows the clicks, the other knows nothing."""
    dataset = load_dataset(tiny_shop)
    rows = dataset.rows("test")
    outputs = TaskOutputs((TaskSpec("click", "click"), TaskSpec("rank", "grade", "softmax_loss")))
    clicks = rows["click"].to_numpy(float)
    knows = {"click": 4 * clicks - 2, "rank": rows["grade"].to_numpy(float)}
    blind = {"click": np.zeros(len(rows)), "rank": np.zeros(len(rows))}
    given = task_report(
        dataset, rows, {"knows": outputs, "blind": outputs}, {"knows": knows, "blind": blind}
    )
    train = dataset.rows("train")
    counts = train[train["click"] > 0].groupby("_item").size()
    seen = rows["_item"].map(counts).fillna(0).to_numpy()
    by_part = {(f.part, f.scorer): f for f in given.figures if f.task == "click"}
    for part, inside in {
        "all": seen >= 0,
        "items without training clicks": seen == 0,
        "items with 1 to 5 training clicks": (seen > 0) & (seen <= 5),
    }.items():
        figures = by_part[part, "knows"]
        assert figures.rows == inside.sum()
        assert figures.positives == clicks[inside].sum()
    assert by_part["all", "knows"].figures["auc"] == 1
    assert by_part["all", "blind"].figures["auc"] == 0.5
    assert by_part["all", "blind"].figures["log_loss"] == pytest.approx(np.log(2), rel=1e-5)
    (whole,) = [d for d in given.differences if (d.task, d.part) == ("click", "all")]
    assert (whole.a, whole.b) == ("knows", "blind")
    assert whole.difference == whole.low == whole.high == 0.5
    text = given.to_text()
    assert "items without training clicks" in text
    assert "+0.5000 [+0.5000 +0.5000]" in text


def test_probabilities_are_classified_at_one_half(tiny_shop):
    """Every click and the first ten others have logit 2; a listwise task has no probability."""
    dataset = load_dataset(tiny_shop)
    rows = dataset.rows("test")
    clicked = rows["click"].to_numpy(float) > 0
    logits = np.where(clicked, 2.0, -2.0)
    logits[np.flatnonzero(~clicked)[:10]] = 2.0
    outputs = TaskOutputs((TaskSpec("click", "click"), TaskSpec("rank", "grade", "softmax_loss")))
    raw = {"click": logits, "rank": np.zeros(len(rows))}
    run = types.SimpleNamespace(outputs=outputs, raw=lambda dataset, rows: raw)
    plain = types.SimpleNamespace(outputs=None)
    (found,) = classify_tasks(dataset, rows, {"model": run, "run plain": plain})
    assert found.name == "model: click"
    assert found.at.accuracy == pytest.approx(1 - 10 / len(rows))
    assert found.at.precision == pytest.approx(clicked.sum() / (clicked.sum() + 10))
    assert found.curves.roc_auc == pytest.approx(1 - 10 / (2 * (~clicked).sum()))
