"""The recovered share of a gap, and the verdict."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mmrank.evaluation.significance import Interval
from pipelines.debias_report import DEBIASED, METHOD, DebiasReport, recovered


def test_the_share_of_means() -> None:
    """Means .5, .65 and .7: .15 of .2 is recovered; lists without a value have no effect."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.05, 400)
    raw, debiased, true = (np.r_[m + noise - noise.mean(), np.nan] for m in (0.5, 0.65, 0.7))
    share = recovered(raw, debiased, true)
    assert share.mean == pytest.approx(0.75)
    assert (share.low, share.high) == pytest.approx((0.75, 0.75))  # equal in every list
    assert share.lists == 400
    noisy = recovered(raw, np.r_[0.65 + rng.normal(0, 0.2, 400), np.nan], true)
    assert noisy.low < noisy.mean < noisy.high


@pytest.mark.parametrize(
    ("error", "share", "reached"), [(0.1, 0.5, True), (0.11, 0.9, False), (0.02, 0.49, False)]
)
def test_the_verdict(error: float, share: float, reached: bool) -> None:
    report = DebiasReport(
        about={"eta": 1.0},
        truth=(1.0, 0.5),
        propensities={METHOD: (1.0, 0.5)},
        errors={METHOD: error},
        ndcg={DEBIASED: Interval(0.6, 0.5, 0.7, 9)},
        against_raw=(),
        shares={DEBIASED: Interval(share, 0.1, 1.2, 9)},
    )
    assert report.reached is reached
    assert report.to_text().count("NOT reached") == 1 - reached
    assert f'"reached": {str(reached).lower()}' in report.to_json()
    assert dataclasses.asdict(report)["errors"] == {METHOD: error}
