"""The command, with a run that needs no training: it ranks by price."""

from __future__ import annotations

import pathlib
import sys
import types

import numpy as np
import pandas as pd
import pytest
import yaml

from mmrank.data.tables import Dataset, load_dataset
from mmrank.data.validation import validate_dataset
from mmrank.pseudo_label import main

ITEMS = 60


class PriceRun:
    """Scores by price, which is the item's number."""

    fitted = types.SimpleNamespace(read=())

    def __init__(self, data: pathlib.Path):
        self.data = data

    def score(self, dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
        return dataset.catalog["price"].to_numpy(np.float32)[rows["_item"].to_numpy()]


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    """Lists of 10 of 60 items; 40 to 59 are relevant. The last row of a list is not judged."""
    folder = tmp_path / "data"
    folder.mkdir()
    plain = {
        "name": "prices",
        "catalog": "catalog.csv",
        "lists": {"file": "lists.csv", "split": "split", "format": "csv"},
        "features": [
            {"name": "query", "kind": "text", "side": "query"},
            {"name": "price", "kind": "number", "side": "item"},
            {"name": "photo", "kind": "image", "side": "item"},
            {"name": "bid", "kind": "number", "side": "pair"},
            {"name": "grade", "kind": "number", "side": "label"},
        ],
    }
    (folder / "schema.yaml").write_text(yaml.safe_dump(plain), encoding="utf-8")
    ids = [f"x{i}" for i in range(ITEMS)]
    pd.DataFrame({"item_id": ids, "price": range(ITEMS), "photo": "no.jpg"}).to_csv(
        folder / "catalog.csv", index=False
    )
    rng = np.random.default_rng(0)
    frames = []
    for number in range(120):
        items = rng.choice(ITEMS, 10, replace=False)
        frames.append(
            pd.DataFrame(
                {
                    "list_id": f"l{number}",
                    "query": f"q{number}",
                    "item_id": [ids[i] for i in items],
                    "bid": 1.0,
                    "grade": [*(items[:9] >= 40).astype(float), np.nan],
                    "split": ["train", "valid", "test"][number % 3],
                }
            )
        )
    pd.concat(frames).to_csv(folder / "lists.csv", index=False)
    return folder


@pytest.fixture(autouse=True)
def fake_run(monkeypatch: pytest.MonkeyPatch, data: pathlib.Path) -> None:
    module = types.ModuleType("mmrank.trained_run")
    module.load_run = lambda folder: PriceRun(data)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mmrank.trained_run", module)


def label(data: pathlib.Path, out: pathlib.Path, *more: str) -> int:
    return main(["--run", str(data), "--out", str(out), "--confidence", "0.8", *more])


def test_a_dataset_with_more_grades(
    data: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {f.name: f.read_bytes() for f in data.iterdir()}
    assert label(data, tmp_path / "more", "--add", "5") == 0
    assert {f.name: f.read_bytes() for f in data.iterdir()} == before

    assert not validate_dataset(tmp_path / "more", media="none").errors
    old, new = load_dataset(data), load_dataset(tmp_path / "more")
    assert new.schema.feature("pseudo").side == "label"
    assert (tmp_path / "more" / "judged").resolve() == data.resolve()
    pseudo = new.lists[new.lists["pseudo"] == 1]
    assert set(pseudo["_split"]) == {"train"}
    # Judged rows are unchanged, and no row is without a grade.
    judged = old.lists[old.lists["grade"].notna()]
    kept = new.lists[new.lists["pseudo"] == 0]
    assert len(kept) == len(judged) == 120 * 9
    pd.testing.assert_frame_equal(
        kept[["list_id", "item_id", "grade", "query", "bid"]].reset_index(drop=True),
        judged[["list_id", "item_id", "grade", "query", "bid"]].reset_index(drop=True),
        check_dtype=False,
    )
    # Price determines relevance, so confident grades are right; some prices between are left out.
    np.testing.assert_array_equal(pseudo["grade"], (pseudo["_item"] >= 40).astype(float))
    assert 0 < len(pseudo) <= 40 * 6
    queries = pseudo["list_id"].str.replace("l", "q", regex=False)
    assert (queries == pseudo["query"]).all()
    assert "got a grade" in capsys.readouterr().out


def test_only_missing_grades_without_add(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    assert label(data, tmp_path / "more") == 0
    pseudo = load_dataset(tmp_path / "more").lists.query("pseudo == 1")
    asked = pd.read_csv(data / "lists.csv").query("split == 'train' and grade != grade")
    pairs = set(zip(asked["list_id"], asked["item_id"], strict=True))
    assert set(zip(pseudo["list_id"], pseudo["item_id"], strict=True)) <= pairs
    assert len(pseudo) > 10


def test_the_same_seed_draws_the_same_items(data: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        assert label(data, tmp_path / name, "--add", "5", "--seed", seed) == 0
    tables = [load_dataset(tmp_path / name).lists["item_id"].tolist() for name in "abc"]
    assert tables[0] == tables[1] != tables[2]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--confidence", "1"], "--confidence 1"),
        (["--add", "-1"], "--add -1"),
        (["--confidence", "0.9999"], "no score of the 360 validation rows"),
        (["--run", "nowhere"], "no such folder"),
    ],
)
def test_wrong_input_is_a_one_line_error_and_writes_nothing(
    data: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    assert label(data, tmp_path / "more", *more) == 2
    *warnings, error = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    assert message in error
    assert all("missing files" in line for line in warnings)
    assert not (tmp_path / "more").exists()


@pytest.mark.parametrize(("split", "same"), [("test", True), ("valid", False)])
def test_thresholds_depend_only_on_the_validation_lists(
    data: pathlib.Path,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    split: str,
    same: bool,
) -> None:
    """In the changed split items from 30 on are relevant, so thresholds on it would differ."""
    assert label(data, tmp_path / "before", "--add", "5") == 0
    lists = pd.read_csv(data / "lists.csv")
    moved = lists["split"].eq(split) & lists["grade"].notna()
    number = lists["item_id"].str[1:].astype(int)
    lists.loc[moved, "grade"] = (number[moved] >= 30).astype(float)
    lists.to_csv(data / "lists.csv", index=False)
    assert label(data, tmp_path / "after", "--add", "5") == 0
    tables = [out.split("wrote")[0] for out in capsys.readouterr().out.split("grade ")[1:3]]
    assert (tables[0] == tables[1]) is same
    before, after = (
        load_dataset(tmp_path / name).lists.query("pseudo == 1") for name in ("before", "after")
    )
    assert (
        before[["list_id", "item_id", "grade"]].equals(after[["list_id", "item_id", "grade"]])
        is same
    )
