"""Calibrated probabilities: the fit is the maximum-likelihood fit."""

from __future__ import annotations

import json
import pathlib
import types
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmrank.config import CALIBRATION_FILE, ConfigError
from mmrank.data.tables import Dataset
from mmrank.evaluation.calibration import calibrate, check_calibration, fit_calibration
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import TaskSpec
from mmrank.schema import schema_from_dict

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(-1, 2, 4000)
HAPPENED = RNG.random(4000) < 1 / (1 + np.exp(-(0.5 * LOGITS - 1.2)))


def probabilities(slope: float, offset: float) -> np.ndarray:
    return 1 / (1 + np.exp(-(slope * LOGITS + offset)))


def test_platt_makes_the_likelihood_stationary():
    """The gradients of the likelihood, Σ (p − y) and Σ (p − y) logit, are 0."""
    slope, offset = fit_calibration(LOGITS, HAPPENED, "platt")
    surplus = probabilities(slope, offset) - HAPPENED
    assert abs(surplus.mean()) < 1e-6
    assert abs((surplus * LOGITS).mean()) < 1e-6
    assert slope == pytest.approx(0.5, abs=0.05)
    assert offset == pytest.approx(-1.2, abs=0.1)


def test_temperature_has_no_offset():
    slope, offset = fit_calibration(LOGITS, HAPPENED, "temperature")
    assert offset == 0
    assert abs(((probabilities(slope, 0.0) - HAPPENED) * LOGITS).mean()) < 1e-6


def test_a_scale_of_the_logits_is_undone():
    slope, offset = fit_calibration(LOGITS, HAPPENED, "platt")
    wide, same = fit_calibration(1e4 * LOGITS, HAPPENED, "platt")
    assert wide * 1e4 == pytest.approx(slope, rel=1e-4)
    assert same == pytest.approx(offset, rel=1e-4)


def test_unknown_calibrations_are_refused():
    with pytest.raises(ConfigError, match="unknown 'plat'; did you mean 'platt'"):
        check_calibration("plat")


SCHEMA = schema_from_dict(
    {
        "lists": {"split": "split"},
        "features": [
            {"name": "price", "kind": "number", "side": "item"},
            {"name": "click", "kind": "number", "side": "label"},
        ],
    }
)


def calibrated(folder: pathlib.Path, clicks: dict[str, np.ndarray]) -> Any:
    """The calibration of a ranker with the logits above in every split and these clicks."""
    logits = np.concatenate([LOGITS] * len(clicks))
    frames = [pd.DataFrame({"_split": split, "click": made}) for split, made in clicks.items()]
    lists = pd.concat(frames, ignore_index=True)
    run: Any = types.SimpleNamespace(
        folder=folder,
        outputs=TaskOutputs((TaskSpec("click", "click"),)),
        raw=lambda dataset, rows: {"click": logits[rows.index]},
        with_calibration=lambda fitted: fitted,
    )
    given = calibrate(run, Dataset(folder, SCHEMA, pd.DataFrame(), lists, None), "platt")
    kept = json.loads((folder / CALIBRATION_FILE).read_text(encoding="utf-8"))
    assert {name: tuple(ab) for name, ab in kept.items()} == given
    return given


def test_calibration_is_fitted_on_the_validation_lists(tmp_path: pathlib.Path) -> None:
    """Clicks of train and test lists have other probabilities and have no effect."""
    often = RNG.random(len(LOGITS)) < 0.9
    found = calibrated(tmp_path, {"train": often, "valid": HAPPENED, "test": ~often})
    slope, offset = found["click"]
    surplus = probabilities(slope, offset) - HAPPENED
    assert abs(surplus.mean()) < 1e-6
    assert abs((surplus * LOGITS).mean()) < 1e-6


def test_a_task_with_reversed_logits_is_unchanged(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The slope would be -0.5, which would reverse the order."""
    turned = np.random.default_rng(1).random(len(LOGITS)) < probabilities(-0.5, -1.2)
    assert calibrated(tmp_path, {"valid": turned}) == {}
    assert "task click is unchanged: its logits do not increase with click" in caplog.text
