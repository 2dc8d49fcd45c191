"""The command line of the evaluation, with a run that needs no training."""

from __future__ import annotations

import json
import pathlib
import sys
import types
from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest
import yaml

from mmrank.config import Config, Evaluation
from mmrank.data.tables import Dataset
from mmrank.evaluate import main

FEATURES = [
    {"name": "query", "kind": "text", "side": "query"},
    {"name": "title", "kind": "text", "side": "item"},
    {"name": "price", "kind": "number", "side": "item"},
    {"name": "grade", "kind": "number", "side": "label"},
]


class PriceRun:
    """Ranks by price, highest first; without the price, all scores are equal."""

    features = ("title", "price")
    config = Config()
    outputs = None
    fitted = types.SimpleNamespace(as_of=lambda dataset: None, read=(), of_side=lambda side: ())
    modalities = ("title", "price")
    folder = pathlib.Path("nowhere")
    tables = types.MappingProxyType({})  # of a run older than this attribute
    model = types.SimpleNamespace(network=types.SimpleNamespace(weights=()), blend=None, stack=None)

    def __init__(self, data: pathlib.Path):
        self.data = data

    def encode(self, dataset: Dataset, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        """Tokens of norm 5 and 1; the third of the three items has no title."""
        tokens = np.tile(np.array([[3.0, 4.0], [0.6, 0.8]]), (3, 1, 1))
        return {"tokens": tokens, "present": np.array([[1, 1], [1, 1], [0, 1]], dtype=bool)}

    def score(self, dataset: Dataset, rows: pd.DataFrame, drop: Sequence[str] = ()) -> np.ndarray:
        prices = dataset.catalog["price"].to_numpy(dtype=np.float32)[rows["_item"].to_numpy()]
        return np.zeros(len(rows), np.float32) if "price" in drop else prices


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    """Twenty test and ten training lists; the most expensive of three items is relevant."""
    folder = tmp_path / "data"
    folder.mkdir()
    plain = {
        "name": "prices",
        "catalog": "catalog.csv",
        "lists": {"file": "lists.csv", "split": "split"},
        "features": FEATURES,
    }
    (folder / "schema.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
    catalog = {
        "item_id": ["x1", "x2", "x3"],
        "title": ["red bag", "blue bag", "red hat"],
        "price": [1, 2, 3],
    }
    pd.DataFrame(catalog).to_csv(folder / "catalog.csv", index=False)
    lists = {
        "list_id": np.repeat(np.arange(30), 3),
        "item_id": np.tile(["x1", "x2", "x3"], 30),
        "query": np.repeat("bag", 90),
        "grade": np.tile([0, 0, 2], 30),
        "split": np.repeat(["test", "train"], [60, 30]),
    }
    pd.DataFrame(lists).to_csv(folder / "lists.csv", index=False)
    return folder


@pytest.fixture
def run(
    tmp_path: pathlib.Path, data: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> pathlib.Path:
    """The folder of a run that `mmrank.trained_run` loads as a `PriceRun`."""
    module = types.ModuleType("mmrank.trained_run")
    module.load_run = lambda folder: PriceRun(data)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmrank.trained_run", module)
    (tmp_path / "run").mkdir()
    return tmp_path / "run"


def test_table_and_json(run: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = run / "metrics.json"
    assert main(["--run", str(run), "--json", str(file)]) == 0
    out, err = capsys.readouterr()
    assert "prices, split test: 20 lists, 60 candidates" in out
    for name in ("random", "popularity", "bm25"):
        assert f"model - {name}" in out
    for heading in ("p (Holm)", "won/tied/lost", "scored in", "size"):
        assert heading in out
    assert "wrote" in err
    plain = json.loads(file.read_text(encoding="utf-8"))
    title, price = plain["features"]
    assert (title["share"], price["share"]) == (0.0, 1.0)  # it ranks by the price alone
    assert title["norm"] == pytest.approx(5.0)
    assert title["present"] == pytest.approx(2 / 3)
    assert list(plain["metrics"]) == ["model", "random", "popularity", "bm25"]
    assert plain["metrics"]["model"]["ndcg@1"]["mean"] == 1.0
    assert plain["metrics"]["popularity"]["mrr"]["mean"] == 1.0  # x3 was relevant in training
    assert plain["metrics"]["bm25"]["ndcg@1"]["mean"] == 0.0  # x3 is not a bag
    (bm25,) = (c for c in plain["comparisons"] if c["b"] == "bm25" and c["metric"] == "ndcg@1")
    assert (bm25["wins"], bm25["ties"], bm25["losses"]) == (20, 0, 0)
    assert set(plain["costs"]) == {"model", "random", "popularity", "bm25"}
    assert plain["split"] == "test"
    assert [path.name for path in run.iterdir()] == ["metrics.json"]


def test_drop_compares_with_the_full_model(
    run: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "out.json"
    args = ["--run", str(run), "--baselines", "", "--json", str(file)]
    assert main([*args, "--drop", "price", "--drop", "title"]) == 0
    assert "model - without price, title" in capsys.readouterr().out
    plain = json.loads(file.read_text(encoding="utf-8"))
    assert list(plain["metrics"]) == ["model", "without price, title"]
    assert plain["dropped"] == ["price", "title"]
    # Twenty lists, all tied without the price: the model is better in about two thirds of them.
    (ndcg,) = (c for c in plain["comparisons"] if c["metric"] == "ndcg@1")
    assert ndcg["difference"]["mean"] > 0.3
    assert ndcg["p_value"] < 0.01


def test_other_split_and_convention(run: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = ["--run", str(run), "--baselines", "random", "--no-relevant", "one"]
    assert main([*args, "--split", "all"]) == 0
    out = capsys.readouterr().out
    assert "split all: 30 lists" in out
    assert "counted as 1" in out


@pytest.mark.parametrize(
    ("args", "of_run", "mrr"),
    [
        ([], 1.0, 1 / 2),  # the second best by price has grade 1
        ([], 2.0, 1 / 3),  # only the cheapest has grade 2
        (["--relevant-grade", "2"], 1.0, 1 / 3),
        (["--relevant-grade", "1"], 2.0, 1 / 2),
    ],
)
def test_what_counts_as_relevant(
    run: pathlib.Path,
    data: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
    of_run: float,
    mrr: float,
) -> None:
    lists = pd.read_csv(data / "lists.csv")
    lists["grade"] = np.tile([2, 1, 0], 30)
    lists.to_csv(data / "lists.csv", index=False)
    monkeypatch.setattr(PriceRun, "config", Config(evaluation=Evaluation(relevant_grade=of_run)))
    file = run / "metrics.json"
    assert main(["--run", str(run), "--baselines", "", "--json", str(file), *args]) == 0
    metrics = json.loads(file.read_text(encoding="utf-8"))["metrics"]["model"]
    assert metrics["mrr"]["mean"] == pytest.approx(mrr)
    assert metrics["precision@1"]["mean"] == 0
    # NDCG uses all grades: 0, 1, 2 from the first position to the last.
    ndcg = (1 / np.log2(3) + 3 / 2) / (3 + 1 / np.log2(3))
    assert metrics["ndcg@10"]["mean"] == pytest.approx(ndcg)


def test_curves_thresholds_and_metrics_by_name(
    run: pathlib.Path, data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Prices 1, 2, 3, of which 3 is relevant, in 20 test lists and 10 validation lists."""
    lists = pd.read_csv(data / "lists.csv").replace({"split": {"train": "valid"}})
    lists.to_csv(data / "lists.csv", index=False)
    args = ["--run", str(run), "--baselines", "random", "--metrics", "ndcg@10,f1@2,accuracy@1"]
    for threshold, at, precision, right in (("best", 2.5, 1.0, 1.0), ("1.5", 1.5, 0.5, 2 / 3)):
        file, picture = run / f"{threshold}.json", run / f"{threshold}.png"
        outputs = ["--json", str(file), "--plot", str(picture)]
        assert main([*args, "--threshold", threshold, *outputs]) == 0
        assert picture.read_bytes().startswith(b"\x89PNG")
        plain = json.loads(file.read_text(encoding="utf-8"))
        assert list(plain["metrics"]["model"]) == ["ndcg@10", "f1@2", "accuracy@1"]
        assert plain["metrics"]["model"]["f1@2"]["mean"] == pytest.approx(2 / 3)
        model, random = plain["classification"]
        assert (model["rows"], model["positives"]) == (60, 20)
        assert model["at"]["threshold"] == at
        assert model["at"]["precision"] == pytest.approx(precision)
        assert model["at"]["accuracy"] == pytest.approx(right)
        assert model["curves"]["roc_auc"] == 1.0
        # By decreasing price: first the relevant items, then each half of the others.
        assert model["curves"]["recall"] == [0, 1, 1, 1]
        assert model["curves"]["false_positive_rate"] == [0, 0, 0.5, 1]
        assert random["at"] is None
    assert "threshold  accuracy" in capsys.readouterr().out


def test_existing_json_is_kept_unless_forced(
    run: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = run / "kept.json"
    file.write_text("mine", encoding="utf-8")
    args = ["--run", str(run), "--baselines", "random", "--json", str(file)]
    assert main(args) == 2
    assert file.read_text(encoding="utf-8") == "mine"
    assert "--force" in capsys.readouterr().err
    assert main([*args, "--force"]) == 0
    assert json.loads(file.read_text(encoding="utf-8"))["dataset"] == "prices"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--drop", "prize"], "unknown feature 'prize'; known: title, price"),
        (["--baselines", "bm52"], "unknown baseline 'bm52'; did you mean 'bm25'"),
        (["--baselines", "dense"], "no frozen text encoder that query and item share"),
        (["--trials", "0"], "--trials 0: must be at least 1"),
        (["--split", "valid"], "the split 'valid' has no rows"),
        (["--data", "nowhere"], "nowhere: no such file"),
        (["--json", "nowhere/x.json"], "the folder nowhere does not exist"),
        (["--json", "."], "is a folder"),
        (["--run", "nowhere"], "nowhere: no such folder"),
        (["--relevant-grade", "0"], "--relevant-grade 0: must be above 0"),
        (["--metrics", "ndgc@10"], "--metrics: unknown metric 'ndgc@10'; known: ndcg, mrr"),
        (["--metrics", "auc@3"], "--metrics: ROC-AUC has no cutoff"),
        (["--metrics", ","], "--metrics: no metric is given"),
        (["--threshold", "high"], "--threshold high: must be a score or 'best'"),
        (["--plot", "curves.txt"], "--plot: curves.txt must end in one of .png"),
        (["--plot", "nowhere/x.png"], "the folder nowhere does not exist"),
    ],
)
def test_wrong_input_is_a_one_line_error(
    run: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["--run", str(run), *args]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_a_dataset_that_was_moved_is_reported(
    run: pathlib.Path, data: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved = data.rename(data.with_name("moved"))
    assert main(["--run", str(run)]) == 2
    assert "the run's dataset does not exist; give one with --data" in capsys.readouterr().err
    assert main(["--run", str(run), "--data", str(moved), "--baselines", ""]) == 0


def test_a_defect_keeps_its_traceback(run: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **kwargs: object) -> np.ndarray:
        raise ValueError("a defect, not the user's mistake")

    monkeypatch.setattr(PriceRun, "score", broken)
    with pytest.raises(ValueError, match="a defect"):
        main(["--run", str(run)])


def test_interruption(
    run: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*args: object, **kwargs: object) -> np.ndarray:
        raise KeyboardInterrupt

    monkeypatch.setattr(PriceRun, "score", interrupted)
    assert main(["--run", str(run), "--json", str(run / "x.json")]) == 130
    assert not (run / "x.json").exists()
    assert capsys.readouterr().err.splitlines()[-1].startswith("interrupted")


def test_help_shows_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--help"])
    assert exit_.value.code == 0
    assert "python -m mmrank.evaluate --run" in capsys.readouterr().out


def test_against_another_run(
    run: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert main(["--run", str(run), "--against", str(other), "--baselines", ""]) == 0
    table = capsys.readouterr().out
    # Both load as the same ranker, so their difference is zero.
    [line] = [text for text in table.splitlines() if text.startswith("model - run other")]
    assert "+0.000 [+0.000 +0.000]" in line
    assert main(["--run", str(run), "--against", str(tmp_path / "gone")]) == 2
    assert "gone: no such folder" in capsys.readouterr().err
