"""Click rates on the Open Bandit Dataset: from drawn files of its layout, and wrong input."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
import pytest

from mmrank.reranking.judging import ESTIMATORS
from pipelines.judge_obd import judged_rows, main, on_policy, read_log

RATE = np.array([0.02, 0.05, 0.1, 0.2])
BTS = np.array([0.1, 0.2, 0.3, 0.4])


def write(folder: pathlib.Path, rows: int = 3000) -> pathlib.Path:
    rng = np.random.default_rng(0)
    for policy, share in (("random", np.full(4, 0.25)), ("bts", BTS)):
        item = rng.choice(4, rows, p=share)
        file = folder / policy / "men" / "men.csv.gz"
        file.parent.mkdir(parents=True)
        pd.DataFrame(
            {
                "item_id": item,
                "position": rng.integers(1, 4, rows),
                "click": (rng.random(rows) < RATE[item]).astype(int),
                "propensity_score": share[item],
                "user_feature_0": "81ce123cbb5bd8ce818f60fb3586bba5",
            }
        ).to_csv(file)
    return folder


def test_both_directions(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(write(tmp_path)), "--campaigns", "men"]) == 0
    printed = capsys.readouterr().out
    assert printed.count("men: random, 3,000 rows of its own") == 1
    assert printed.count("men: bts, 3,000 rows of its own") == 1
    assert "refused" not in printed


@pytest.mark.parametrize(("name", "share"), [("random", np.full(4, 0.25)), ("bts", BTS)])
def test_estimates_are_near_the_truth(tmp_path: pathlib.Path, name: str, share: np.ndarray) -> None:
    folder, other = write(tmp_path), {"random": "bts", "bts": "random"}[name]
    log, own = read_log(folder, other, "men"), read_log(folder, name, "men")
    judged = judged_rows(name, log, own)
    truth = share @ RATE
    for estimator in ("inverse_propensity", "self_normalised", "doubly_robust", "direct"):
        terms = ESTIMATORS.make(estimator)(judged)
        assert terms.mean() == pytest.approx(truth, rel=0.2)
    found = on_policy(own)
    assert found.low < truth < found.high
    assert found.mean == own.clicks.mean()
    np.testing.assert_allclose(judged.judged[:, 0], share[log.items], rtol=0.2)


def test_wrong_input(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--campaigns", "men"]) == 2
    assert "men.csv.gz" in capsys.readouterr().err
    folder = write(tmp_path / "obd", rows=20)
    file = folder / "bts" / "men" / "men.csv.gz"
    rows = pd.read_csv(file, index_col=0)
    rows.drop(columns="click").to_csv(file)
    assert main(["--data", str(folder), "--campaigns", "men"]) == 2
    assert "no column 'click'" in capsys.readouterr().err
    rows.assign(click=["?"] + [0] * 19).to_csv(file)
    assert main(["--data", str(folder), "--campaigns", "men"]) == 2
    assert "column 'click', row 1: not a number" in capsys.readouterr().err
