"""The peers of rankers over folds, in a single report."""

from __future__ import annotations

import pytest

from mmrank.data.tables import Dataset
from mmrank.trained_run import Run
from pipelines.benchmarks.match_peers import STANDARD, main, measure


@pytest.mark.slow
def test_all_scorers_are_in_one_report(
    run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    report = measure([(run, dataset)], "valid", trials=1)
    rows = dataset.rows("valid")
    assert report.rows == len(rows)
    assert {"model", *STANDARD} < set(report.metrics)
    assert any(name.endswith("/bm25") for name in report.metrics)
    assert {c.b for c in report.comparisons} == set(report.metrics) - {"model"}
    assert set(report.costs) == set(STANDARD)


def test_unknown_peers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--run", "nowhere", "--peers", "svm"]) == 2
    assert "unknown peer 'svm'; known: gam, lambdamart" in capsys.readouterr().err
