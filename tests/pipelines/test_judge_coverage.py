"""The measurement of coverage on few and small logs."""

from __future__ import annotations

import numpy as np
import pytest

from mmrank.reranking import USERS, Rewards, draw_page
from mmrank.reranking.played import draw_pages
from pipelines import judge_coverage
from pipelines.judge_coverage import Row, best_swaps, main


def test_the_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(judge_coverage, "POOL", 500)
    command = ["--users", "saturation", "--logs", "2", "--pages", "400"]
    main(command)
    printed = capsys.readouterr().out.splitlines()
    rows = [line.split() for line in printed if line.startswith("saturation")]
    assert len(rows) == 14
    for row in rows:
        if row[2] != "direct" and row[4] != "-":
            assert float(row[4]) in (0.0, 0.5, 1.0)
    assert "could not be shown by the policy that logged them" in printed[-2]
    assert "are not a sum of pages that the log may show" in printed[-1]
    assert main(["--users", "tired"]) == 2
    assert "unknown user model 'tired'" in capsys.readouterr().err


def test_the_judged_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_coverage, "POOL", 40)
    pages = draw_pages(lambda rng: draw_page(4, rng), 40, seed=1)
    user = USERS.make("saturation")
    orders, worth = best_swaps(pages, user)
    assert ((orders != np.arange(4)).sum(-1) <= 2).all()
    swapped = [[0, 1, 2, 3], [1, 0, 2, 3], [0, 2, 1, 3], [0, 1, 3, 2]]
    first = draw_page(4, np.random.default_rng(1))
    values = [float(user.expected(first.take(np.array(o)), Rewards())) for o in swapped]
    assert orders[0].tolist() == swapped[int(np.argmax(values))]
    assert worth >= user.expected(pages, Rewards()).mean()


@pytest.mark.parametrize(
    ("coverage", "exempt", "wrong"),
    [(0.95, "", False), (0.89, "", True), (1.0, "", True), (0.5, "its model", False)],
)
def test_wrong_coverage(coverage: float, exempt: str, wrong: bool) -> None:
    row = Row("cascade", "epsilon", "direct", 0.0, coverage, 0.0, 0.0, exempt)
    assert row.wrong == wrong
    assert ("WRONG" in str(row)) == wrong
