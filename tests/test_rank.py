"""A file of lists is scored as list by list, completely or not at all, also after a kill."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from mmrank.data.tables import Dataset
from mmrank.rank import main

if TYPE_CHECKING:
    from mmrank.serving.ranker import Ranker

ROOT = pathlib.Path(__file__).resolve().parent.parent
COLUMNS = ["list_id", "query", "user_id", "item_id", "position"]


@pytest.fixture(autouse=True)
def loaded_once(ranker: Ranker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces loading by the export whose graphs are already traced."""
    monkeypatch.setattr(type(ranker), "load", lambda path, order=None: ranker)


@pytest.fixture
def lists(dataset: Dataset) -> pd.DataFrame:
    """The first 12 lists as a table of a shop."""
    rows = dataset.lists
    return rows[rows["list_id"].isin(rows["list_id"].unique()[:12])][COLUMNS].reset_index(drop=True)


@pytest.fixture
def by_list(ranker: Ranker, lists: pd.DataFrame) -> np.ndarray:
    """Their scores by `Ranker.scores`, list by list."""
    each = []
    for _, rows in lists.groupby("list_id", sort=False):
        first = rows.iloc[0]
        pairs = [{"overlap": float(p)} for p in rows["position"]]
        user = {"user": first["user_id"]}
        each.append(ranker.scores(first["query"], list(rows["item_id"]), user, pairs=pairs))
    return np.concatenate(each)


def run(exported: pathlib.Path, file: pathlib.Path, out: pathlib.Path, *more: str) -> int:
    return main(["--model", str(exported), "--lists", str(file), "--out", str(out), *more])


def write(frame: pd.DataFrame, file: pathlib.Path) -> pathlib.Path:
    if file.suffix == ".parquet":
        frame.to_parquet(file, index=False)
    elif ".jsonl" in file.name:
        frame.to_json(file, orient="records", lines=True, force_ascii=False)
    else:
        sep = "\t" if ".tsv" in file.name else ";" if "semicolons" in file.name else ","
        frame.to_csv(file, sep=sep, index=False, encoding="utf-8-sig")
    return file


def read(file: pathlib.Path) -> pd.DataFrame:
    texts = {"list_id": str, "item_id": str}
    if file.suffix == ".parquet":
        return pd.read_parquet(file)
    if ".jsonl" in file.name:
        return pd.read_json(file, lines=True, dtype=texts)
    return pd.read_csv(file, sep="\t" if ".tsv" in file.name else ",", dtype=texts)


@pytest.mark.parametrize(
    ("source", "target", "chunk"),
    [
        ("lists.csv", "scores.parquet", "7"),
        ("lists.parquet", "scores.csv.gz", "40"),
        ("lists.jsonl.gz", "scores.tsv", "1000"),
        ("lists.tsv", "scores.jsonl", "1"),
        ("semicolons.csv", "scores.csv", "50"),
    ],
)
def test_scores_equal_those_of_single_lists(
    exported: pathlib.Path,
    lists: pd.DataFrame,
    by_list: np.ndarray,
    tmp_path: pathlib.Path,
    source: str,
    target: str,
    chunk: str,
) -> None:
    file = write(lists, tmp_path / source)
    assert run(exported, file, tmp_path / target, "--chunk", chunk) == 0
    found = read(tmp_path / target)
    assert list(found.columns) == ["list_id", "item_id", "score", "rank"]
    assert found["item_id"].tolist() == lists["item_id"].tolist()
    np.testing.assert_allclose(found["score"], by_list, atol=1e-5)
    for _, rows in found.groupby("list_id"):
        order = rows.sort_values("rank")
        assert order["rank"].tolist() == list(range(1, len(rows) + 1))
        assert (np.diff(order["score"]) <= 0).all()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([source, target])


@pytest.mark.slow
def test_the_products_own_columns(
    exported: pathlib.Path,
    dataset: Dataset,
    lists: pd.DataFrame,
    by_list: np.ndarray,
    tmp_path: pathlib.Path,
) -> None:
    """Photos come from the archive, and broken ones are absent, as in the exported catalogue."""
    raw = lists.merge(dataset.catalog, on="item_id", how="left").drop(columns="item_id")
    file = write(raw, tmp_path / "raw.parquet")
    media = str(dataset.folder / "images.zip")
    out = tmp_path / "scores.parquet"
    assert run(exported, file, out, "--media", media, "--top", "2", "--keep", "title") == 0
    found = read(out)
    assert list(found.columns) == ["list_id", "title", "row", "score", "rank"]
    assert found["rank"].max() == 2
    np.testing.assert_allclose(found["score"], by_list[found["row"] - 1], atol=1e-4)


def test_other_column_names_and_lists_identified_by_their_query(
    exported: pathlib.Path, lists: pd.DataFrame, by_list: np.ndarray, tmp_path: pathlib.Path
) -> None:
    asked = lists.drop_duplicates("list_id").drop_duplicates(["query", "user_id"])["list_id"]
    once = lists["list_id"].isin(asked).to_numpy()  # of the same query by the same user
    named = lists[once].rename(columns={"query": "q", "item_id": "sku"}).drop(columns="list_id")
    file = write(named, tmp_path / "named.csv")
    arguments = ["--query-column", "q", "--item-column", "sku"]
    assert run(exported, file, tmp_path / "scores.csv", *arguments) == 0
    found = pd.read_csv(tmp_path / "scores.csv")
    assert list(found.columns) == ["q", "user_id", "sku", "score", "rank"]
    np.testing.assert_allclose(found["score"], by_list[once], atol=1e-5)


def test_an_interrupted_job_continues(
    exported: pathlib.Path,
    lists: pd.DataFrame,
    by_list: np.ndarray,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mmrank.serving import scored_file

    file, out = write(lists, tmp_path / "lists.csv"), tmp_path / "scores.csv"
    whole = scored_file.score_table
    calls = []

    def third_time_stops(*arguments: Any) -> Any:
        calls.append(len(arguments[2]))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return whole(*arguments)

    monkeypatch.setattr(scored_file, "score_table", third_time_stops)
    assert run(exported, file, out, "--chunk", "20") == 130
    assert "run the command again to continue" in capsys.readouterr().err
    assert not out.exists()
    parts = tmp_path / ".scores.csv.parts"
    assert len(list(parts.glob("part-*.parquet"))) == 2

    # Another job must not use these parts.
    assert run(exported, file, out, "--chunk", "21") == 2
    assert "parts of another job (output differ)" in capsys.readouterr().err

    before = len(calls)
    assert run(exported, file, out, "--chunk", "20") == 0
    assert sum(calls[before:]) == len(lists) - sum(calls[:2])
    np.testing.assert_allclose(read(out)["score"], by_list, atol=1e-5)
    assert not parts.exists()

    assert run(exported, file, out, "--chunk", "20") == 2
    assert "exists" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_job_continues(
    exported: pathlib.Path, lists: pd.DataFrame, by_list: np.ndarray, tmp_path: pathlib.Path
) -> None:
    many = pd.concat([lists.assign(list_id=f"{n}-" + lists["list_id"]) for n in range(30)])
    file, out = write(many, tmp_path / "lists.parquet"), tmp_path / "scores.parquet"
    arguments = ["--model", str(exported), "--lists", str(file), "--out", str(out), "--chunk", "20"]
    job = subprocess.Popen(
        [sys.executable, "-m", "mmrank.rank", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    parts = tmp_path / ".scores.parquet.parts"
    end = time.monotonic() + 300
    while len(list(parts.glob("part-*.parquet"))) < 3:
        assert time.monotonic() < end
        assert job.poll() is None
        time.sleep(0.01)
    os.kill(job.pid, signal.SIGKILL)
    job.wait(60)
    assert not out.exists()
    done = {p.name: p.stat().st_mtime_ns for p in parts.glob("part-*.parquet")}
    assert main(arguments) == 0
    assert done
    found = read(out)
    assert found["list_id"].tolist() == many["list_id"].tolist()
    np.testing.assert_allclose(found["score"], np.tile(by_list, 30), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda f: f, ["--list-column", "listid"], "no column 'listid'"),
        (lambda f: f, ["--item-column", "sku"], "no column 'sku'"),
        (lambda f: f, ["--top", "0"], "--top 0: must be at least 1"),
        (lambda f: f.drop(columns="item_id"), [], "neither a column 'item_id' with item ids"),
        (lambda f: f.iloc[[*range(len(f)), 0]], [], "returns to the list"),
        (lambda f: f.iloc[:0], [], "no rows"),
        (
            lambda f: f[["item_id", "position"]],
            [],
            "neither a column 'list_id' with list ids",
        ),
    ],
)
def test_wrong_input_is_one_line(
    exported: pathlib.Path,
    lists: pd.DataFrame,
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    change: Any,
    arguments: list[str],
    message: str,
) -> None:
    file = write(change(lists), tmp_path / "lists.csv")
    assert run(exported, file, tmp_path / "scores.csv", *arguments) == 2
    said = [line for line in capsys.readouterr().err.splitlines() if "error: " in line]
    assert len(said) == 1
    assert message in said[0]
    assert [p.name for p in tmp_path.iterdir()] == ["lists.csv"]


def test_unknown_items_and_absent_columns_are_reported(
    exported: pathlib.Path,
    lists: pd.DataFrame,
    tmp_path: pathlib.Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    strange = lists.assign(item_id=["new", *lists["item_id"][1:]]).drop(columns="position")
    file = write(strange, tmp_path / "lists.csv")
    with caplog.at_level("WARNING", logger="mmrank"):
        assert run(exported, file, tmp_path / "scores.csv") == 0
    assert f"1 of {len(lists)} candidates are not in the export's catalogue" in caplog.text
    assert "no column for overlap: absent in every row" in caplog.text
    assert len(read(tmp_path / "scores.csv")) == len(lists)
