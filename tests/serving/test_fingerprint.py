"""When item vectors of two models may share a store."""

from __future__ import annotations

import dataclasses

import pytest

from mmrank.serving.fingerprint import item_fingerprint
from mmrank.trained_run import Run


def test_the_scorer_does_not_change_the_fingerprint(run: Run) -> None:
    before = item_fingerprint(run.model, run.fitted)
    assert len(before) == 16
    assert int(before, 16) >= 0
    head = run.model.scorer.trainable_weights[-1]
    head.assign_add(head * 0 + 1.0)
    try:
        assert item_fingerprint(run.model, run.fitted) == before
    finally:
        head.assign_sub(head * 0 + 1.0)


def test_any_weight_of_the_item_tower_changes_the_fingerprint(run: Run) -> None:
    before = item_fingerprint(run.model, run.fitted)
    weight = run.model.item_tower.weights[-1]
    kept = weight.numpy()
    weight.assign(kept + 1.0)
    try:
        assert item_fingerprint(run.model, run.fitted) != before
    finally:
        weight.assign(kept)
    assert item_fingerprint(run.model, run.fitted) == before


@pytest.mark.parametrize("option", ["normalization", "max_tokens"])
def test_options_of_a_feature_change_the_fingerprint(
    run: Run, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = item_fingerprint(run.model, run.fitted)
    kind = run.fitted.columns["title"]
    value = getattr(kind.options, option)
    other = value + 1 if isinstance(value, int) else f"{value}x"
    monkeypatch.setattr(kind, "options", dataclasses.replace(kind.options, **{option: other}))
    assert item_fingerprint(run.model, run.fitted) != before
