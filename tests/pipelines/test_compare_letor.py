"""NDCG of all folds under three conventions, by a loop over lists; and the whole command."""

from __future__ import annotations

import json
import pathlib

import numpy as np
import pandas as pd
import pytest
import yaml

from mmrank.data.tables import load_dataset
from mmrank.outputs import InputError
from pipelines.compare_letor import RESULT, folds_in, list_values, main, summary
from pipelines.prepare_letor import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Three parts of ten lists of five; the first number is the grade plus noise."""
    folder = tmp_path_factory.mktemp("letor")
    rng = np.random.default_rng(0)
    for number in (1, 2, 3):
        lines = []
        for query in range(10):
            for document in range(5):
                grade = 0 if query == 0 else document % 3
                lines.append(
                    f"{grade} qid:{number}{query} 1:{grade + rng.normal(0, 0.3):.3f} "
                    f"2:{rng.normal():.3f} #docid = {document}\n"
                )
        (folder / f"S{number}.txt").write_text("".join(lines))
    prepare([folder], folder / "prepared")
    return folder / "prepared"


def ndcg(scores: np.ndarray, grades: np.ndarray, k: int) -> float:
    def gain(order: np.ndarray) -> float:
        return sum((2.0 ** grades[d] - 1) / np.log2(r + 2) for r, d in enumerate(order[:k]))

    return gain(np.argsort(-scores)) / gain(np.argsort(-grades))


def test_lists_without_relevance_count_by_the_convention(data):
    dataset = load_dataset(data / "fold1")
    rows = dataset.rows("test")
    scores = np.random.default_rng(1).permutation(len(rows)).astype(float)
    values = list_values(dataset, rows, {"some": scores})["some"]
    table = rows.assign(score=scores)
    expected = [
        ndcg(of["score"].to_numpy(), of["grade"].to_numpy(), 5) if of["grade"].max() else np.nan
        for _, of in table.groupby("list_id", sort=False)
    ]
    np.testing.assert_allclose(values["ndcg@5 skip"], expected)
    np.testing.assert_allclose(values["ndcg@5 zero"], np.nan_to_num(expected))
    np.testing.assert_allclose(values["ndcg@5 one"], np.nan_to_num(expected, nan=1.0))


def test_folds_are_averaged_and_lists_are_pooled():
    folds = [
        {"a": {"m": np.array([1.0, np.nan])}},
        {"a": {"m": np.array([0.0, 0.5, 0.0])}},
    ]
    figures = summary(folds)["a"]["m"]
    assert figures["folds"] == pytest.approx((1 + 1 / 6) / 2)
    assert figures["lists"] == pytest.approx(1.5 / 4)
    assert figures["low"] <= figures["lists"] <= figures["high"]


def test_folds_are_found_in_their_order(tmp_path):
    with pytest.raises(InputError, match="no fold with a schema"):
        folds_in(tmp_path)
    for name in ("fold10", "fold2", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "schema.yaml").touch()
    assert list(folds_in(tmp_path)) == ["fold2", "fold10"]
    assert list(folds_in(tmp_path / "other")) == ["lists"]


@pytest.mark.slow
def test_the_command_reports_all_folds(data, tmp_path, capsys):
    config = {
        "model": {
            "width": 8,
            "encoders": {"vector": {"quantiles": 10, "layers": 0}},
            "head": {"hidden": [8], "members": 2},
        },
        "training": {"epochs": 2},
        "evaluation": {"baselines": ["random"]},
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    command = ["--config", str(tmp_path / "config.yaml"), "--data", str(data)]
    assert main([*command, "--out", str(tmp_path / "runs"), "--split", "valid"]) == 0
    text = capsys.readouterr().out
    assert "valid lists of 3 fold(s)" in text
    result = json.loads((tmp_path / "runs" / RESULT).read_text())
    assert set(result["figures"]) == {"model", "random"}
    assert set(result["seconds"]) == {"fold1", "fold2", "fold3"}
    # In each fold, one of ten lists has no relevant document.
    figures = {c: result["figures"]["model"][f"ndcg@10 {c}"]["folds"] for c in ("skip", "zero")}
    assert figures["zero"] == pytest.approx(0.9 * figures["skip"])
    assert main([*command, "--out", str(tmp_path / "runs")]) == 2
    assert pd.notna(result["p_values"]["random"])
