"""The estimators against the Open Bandit Pipeline's, as recorded: CI does without it."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from pipelines.benchmarks.judge_peers import CANDIDATES, drawn_log, estimates, main

# Printed by obp 0.5.5 on `drawn_log(500)`, from `python -m pipelines.benchmarks.judge_peers`.
OBP = {
    "inverse_propensity": 2.252965,  # SlateStandardIPS, InverseProbabilityWeighting
    "self_normalised": 2.045256,  # SelfNormalizedSlateStandardIPS
    "cascade_doubly_robust": 1.969432,  # SlateCascadeDoublyRobust
    "direct": 0.495740,  # DirectMethod
    "doubly_robust": 2.216388,  # DoublyRobust
    "switch_doubly_robust": 1.323832,  # SwitchDoublyRobust
    "cascade_doubly_robust, q = 0": 2.007445,  # SlateRewardInteractionIPS
}


def test_estimates_are_those_of_obp() -> None:
    assert estimates(drawn_log(500)) == pytest.approx(OBP, abs=1e-6)


def test_the_log_is_one_of_two_policies() -> None:
    log = drawn_log(200)
    for policy in (log.logged, log.judged):
        np.testing.assert_allclose(policy.prod(-1).sum(-1), 1.0)
    choices = log.choices()
    np.testing.assert_allclose(choices.sum(-1), 1.0)
    row, index = np.arange(200)[:, np.newaxis], np.arange(CANDIDATES)
    shown = choices[row, index, log.orders[log.shown]]
    np.testing.assert_allclose(shown, log.pages().judged)


@pytest.mark.skipif(importlib.util.find_spec("obp") is not None, reason="obp is installed")
def test_without_obp(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "obp cannot be imported" in capsys.readouterr().err
