"""The command line: the table, the plot, and the errors of unusable logs."""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
import pytest
import yaml

from mmrank.propensity.__main__ import main
from mmrank.propensity.log import read_log
from mmrank.propensity.table import read_propensities

SCHEMA = {
    "catalog": {"file": "catalog.csv"},
    "lists": {"file": "lists.csv", "split": "split"},
    "features": [
        {"name": "query", "kind": "text", "side": "query"},
        {"name": "title", "kind": "text", "side": "item"},
        {"name": "brand", "kind": "category", "side": "item"},
        {"name": "price", "kind": "number", "side": "item"},
        {"name": "position", "kind": "number", "side": "label", "column": "place"},
        {"name": "click", "kind": "number", "side": "label"},
    ],
}


def write(folder: pathlib.Path, lists: pd.DataFrame, **changes: object) -> pathlib.Path:
    folder.mkdir(exist_ok=True)
    (folder / "schema.yaml").write_text(yaml.safe_dump(SCHEMA | changes))
    pd.DataFrame(
        {"item_id": ["a", "b"], "title": ["x", "y"], "brand": ["one", "two"], "price": [1.0, 2.5]}
    ).to_csv(folder / "catalog.csv", index=False)
    lists.to_csv(folder / "lists.csv", index=False)
    return folder


def swapped(lists: int) -> pd.DataFrame:
    """Pages of two items in both orders: position 1 has 2 of 4 clicks, position 2 has 1."""
    number = np.repeat(np.arange(lists), 2)
    position = np.tile([1, 2], lists)
    first_a = (number // 4) % 2 == 0
    step = number % 4
    return pd.DataFrame(
        {
            "list_id": number,
            "item_id": np.where((position == 1) == first_a, "a", "b"),
            "query": "red",
            "place": position,
            "click": np.where(position == 1, step < 2, step == 2).astype(int),
            "split": "train",
            "shuffled": 1,
        }
    )


def test_a_feature_without_a_column_is_skipped(tmp_path: pathlib.Path) -> None:
    others = {"name": "others", "kind": "collaborative", "side": "pair"}
    features = [*SCHEMA["features"], others]
    log = read_log(write(tmp_path / "d", swapped(8), features=features))
    assert log.by_position(log.clicks).tolist() == [4, 2]
    assert log.features.shape == (16, 2)  # brand and price


def test_table_and_plot(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, table, plot = write(tmp_path / "d", swapped(80)), tmp_path / "p.csv", tmp_path / "p.png"
    command = ["--data", str(data), "--out", str(table), "--plot", str(plot), "--resamples", "5"]
    assert main(command) == 0
    assert read_propensities(table) == pytest.approx([1.0, 0.5], rel=2e-3)
    written = pd.read_csv(table)
    assert written["clicks"].tolist() == [40, 20]
    assert written["impressions"].tolist() == [80, 80]
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "harvest" in capsys.readouterr().out
    assert main(command) == 2  # nothing is overwritten without --force
    assert "--force" in capsys.readouterr().err
    command += ["--force", "--method", "random", "--randomised", "shuffled"]
    assert main(command) == 0
    assert read_propensities(table) == pytest.approx([1.0, 0.5], rel=1e-5)


def test_the_log(tmp_path: pathlib.Path) -> None:
    rows = pd.concat([swapped(2), swapped(1).assign(list_id=7, query="blue", split="test")])
    log = read_log(write(tmp_path / "d", rows), split="all")
    assert log.lists.tolist() == [0, 0, 1, 1, 2, 2]
    assert log.pairs.tolist() == [0, 1, 0, 1, 2, 3]  # another query, therefore other pairs
    assert log.positions.tolist() == [1, 2, 1, 2, 1, 2]
    assert log.features[:2].tolist() == [[1.0, 1.0], [2.0, 2.5]]
    assert log.categorical.tolist() == [True, False]
    assert len(read_log(tmp_path / "d", split="test").clicks) == 2
    assert read_log(tmp_path / "d", positions=1).positions.tolist() == [1, 1]


def test_categories_are_numbered_by_training_rows_only(tmp_path: pathlib.Path) -> None:
    """In the other splits item b is frequent and word c occurs; neither has an effect."""
    season = {"name": "season", "kind": "category", "side": "query"}
    features = [*SCHEMA["features"], season]  # type: ignore[misc]
    train = swapped(2).assign(season=["x", "x", "x", "y"], split="train")
    other = swapped(8).assign(season=["y", "c"] * 8, item_id="b", split="test")
    other["list_id"] = other["list_id"] + 100
    log = read_log(write(tmp_path / "d", pd.concat([train, other]), features=features), split="all")
    assert log.features[:4, 2].tolist() == [1.0, 1.0, 1.0, 2.0]
    assert log.features[4:, 2].tolist() == [2.0, 0.0] * 8
    assert log.features[4:, 0].tolist() == [2.0] * 16  # ties are alphabetical


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"place": 0}, "lists.csv, column 'place': 8 value(s), row 1: 0"),
        ({"place": 1.5}, "is not a position"),
        ({"place": "top"}, "is not a position"),
        ({"click": -1}, "column 'click'"),
        ({"click": "yes"}, "is not a click"),
        ({"split": "test"}, "--split"),
    ],
)
def test_bad_rows(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    change: dict[str, object],
    message: str,
) -> None:
    data = write(tmp_path / "d", swapped(4).assign(**change))
    assert main(["--data", str(data), "--out", str(tmp_path / "p.csv")]) == 2
    output = capsys.readouterr().err
    assert message in output
    assert output.count("\n") == 1
    assert not (tmp_path / "p.csv").exists()


def test_bad_arguments(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    without = [f for f in SCHEMA["features"] if f["name"] != "position"]
    data = write(tmp_path / "d", swapped(8))
    bare = write(tmp_path / "bare", swapped(8), features=without)
    out = ["--out", str(tmp_path / "p.csv")]
    for command, message in (
        (["--data", str(bare), *out], "no label 'position'"),
        (["--data", str(data), *out, "--method", "hravest"], "did you mean 'harvest'"),
        (["--data", str(data), *out, "--randomised", "shufled"], "did you mean 'shuffled'"),
        (["--data", str(data), "--out", str(tmp_path / "p.txt")], ".csv"),
        (["--data", str(data), *out, "--plot", "p.jpeg"], ".png"),
        (["--data", str(data), *out, "--positions", "1"], "at least 2"),
        (["--data", str(tmp_path / "none"), *out], "no such file"),
    ):
        assert main(command) == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("position,propensity\n1,1\n3,0.5\n", "without a gap"),
        ("position,propensity\n1,1\n2,0\n", "above 0"),
        ("position,chance\n1,1\n", "no column 'propensity'"),
        ("position,propensity\n", "without a gap"),
    ],
)
def test_bad_tables(tmp_path: pathlib.Path, text: str, message: str) -> None:
    from mmrank.data.tables import DataError

    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_propensities(tmp_path / "p.csv")
