"""`mmrank.fit`: from DataFrames to scores, and the errors for wrong tables."""

from __future__ import annotations

import gc
import io
import pathlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mmrank
from mmrank.config import ConfigError
from mmrank.data.tables import DataError
from mmrank.frames.fitted import FittedRanker

COLOURS = ("red", "blue", "green")
SMALL = {
    "data": {"buckets": [8]},
    "model": {
        "width": 16,
        "encoders": {
            "text": {"layers": 1, "hidden": 16, "heads": 2, "intermediate": 16, "max_tokens": 4},
            "image": {
                "height": 32,
                "width": 32,
                "network": "EfficientNet",
                "width_coefficient": 0.1,
                "depth_coefficient": 0.1,
            },
        },
        "head": {"hidden": [16]},
    },
    "training": {"batch_lists": 8, "epochs": 12, "learning_rate": 0.01, "patience": 12},
    "evaluation": {"baselines": ["random", "bm25"]},
}


def photo(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def catalog() -> pd.DataFrame:
    colours = [COLOURS[i % 3] for i in range(12)]
    return pd.DataFrame(
        {
            "sku": range(100, 112),
            "product title": [f"{c} mug" for c in colours],
            "photo": [photo(c) if i else None for i, c in enumerate(colours)],
            "price": [1.0 + i for i in range(12)],
            "unused": [object()] * 12,
        }
    )


@pytest.fixture(scope="module")
def judged(catalog: pd.DataFrame) -> pd.DataFrame:
    """For each query "COLOUR N", six mugs; those of the query's colour are relevant."""
    rows = []
    for number in range(60):
        colour = COLOURS[number % 3]
        for item in np.random.default_rng(number).permutation(12)[:6]:
            title = catalog["product title"][item]
            rows.append((f"{colour} {number}", 100 + item, 2 * title.startswith(colour)))
    return pd.DataFrame(rows, columns=["search_term", "sku", "relevance"])


@pytest.fixture(scope="module")
def fitted(judged: pd.DataFrame, catalog: pd.DataFrame) -> FittedRanker:
    before = judged.copy(), catalog.copy()
    ranker = mmrank.fit(
        judged,
        catalog,
        query="search_term",
        item="sku",
        grade="relevance",
        text="product title",
        image=["photo"],
        number=["price"],
        config=SMALL,
        progress=False,
        seed=2,
    )
    pd.testing.assert_frame_equal(judged, before[0])
    pd.testing.assert_frame_equal(catalog, before[1])
    return ranker


@pytest.mark.slow
def test_a_temporary_run_ends_with_its_object(judged: pd.DataFrame, catalog: pd.DataFrame) -> None:
    ranker = mmrank.fit(
        judged,
        catalog,
        query="search_term",
        item="sku",
        grade="relevance",
        number="price",
        progress=False,
        config={**SMALL, "training": {"epochs": 1}},
    )
    folder = ranker.folder
    assert folder.is_dir()
    del ranker
    gc.collect()
    assert not folder.exists()


def test_the_ranker_learned_the_queries(fitted: FittedRanker) -> None:
    assert fitted.report.metrics["model"]["ndcg@10"].mean > 0.9
    assert fitted.export.is_relative_to(fitted.folder)
    assert (fitted.folder / "config.yaml").is_file()


def test_rank_by_id_and_by_columns_agree(fitted: FittedRanker, catalog: pd.DataFrame) -> None:
    by_id = fitted.rank("blue 1", [104, 100, 105, 101])
    assert by_id["rank"].tolist() == [1, 2, 3, 4]
    assert set(by_id["sku"][:2]) == {104, 101}
    rows = catalog[catalog["sku"].isin([104, 100, 105, 101])]
    by_columns = fitted.rank({"search_term": "blue 1"}, rows)
    assert list(by_columns.columns) == [*catalog.columns, "score", "rank"]
    scores = by_columns.set_index("sku")["score"]
    np.testing.assert_allclose(by_id["score"], scores[by_id["sku"]], atol=1e-5)


def test_a_new_product_is_ranked(fitted: FittedRanker) -> None:
    new = pd.DataFrame({"product title": ["red mug", "green mug"], "price": [3, 3]})
    new["photo"] = [photo("red"), photo("green")]
    assert fitted.rank("green 2", new)["product title"].tolist() == ["green mug", "red mug"]


def test_scores_are_those_of_the_export_list_by_list(
    fitted: FittedRanker, judged: pd.DataFrame
) -> None:
    shuffled = judged.sample(frac=1, random_state=0).reset_index(drop=True)
    scores = fitted.score(shuffled)
    for query in ("red 0", "green 50"):
        rows = shuffled[shuffled["search_term"] == query]
        expected = fitted.ranker.scores(query, [str(i) for i in rows["sku"]])
        np.testing.assert_allclose(scores[rows.index], expected, atol=1e-5)


def test_evaluate_is_what_the_run_reported(fitted: FittedRanker, judged: pd.DataFrame) -> None:
    lists = pd.read_parquet(fitted.folder / "data" / "lists.parquet")
    test = judged[judged["search_term"].isin(lists.loc[lists["split"] == "test", "search_term"])]
    report = fitted.evaluate(test, baselines=["random", "regression_trees"])
    assert report.lists == fitted.report.lists
    assert report.costs["regression_trees"].tuning is not None
    with pytest.raises(ValueError, match="unknown baseline 'svm'"):
        fitted.evaluate(test, baselines=["svm"])
    assert report.metrics["model"]["ndcg@10"].mean == pytest.approx(
        fitted.report.metrics["model"]["ndcg@10"].mean, abs=1e-6
    )


@pytest.mark.slow
def test_items_within_the_judged_table(
    judged: pd.DataFrame, catalog: pd.DataFrame, tmp_path: pathlib.Path
) -> None:
    """The folder of `out` is kept, and a second fit refuses to write into it."""
    together = judged.merge(catalog[["sku", "product title"]], on="sku")
    arguments = {
        "query": "search_term",
        "item": "sku",
        "grade": "relevance",
        "text": ["product title"],
        "config": SMALL,
        "progress": False,
    }
    kept = mmrank.fit(together, **arguments, out=tmp_path / "run", training={"epochs": 1})
    assert kept.folder == tmp_path / "run"
    assert len(kept.score(together)) == len(together)
    assert kept._run.config.training.batch_lists == 8
    with pytest.raises(ValueError, match="exists and is not empty"):
        mmrank.fit(together, **arguments, out=tmp_path / "run")


def test_photos_may_be_paths(
    judged: pd.DataFrame,
    catalog: pd.DataFrame,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from mmrank.data.tables import load_dataset
    from mmrank.data.validation import validate_dataset
    from mmrank.frames.columns import Columns
    from mmrank.frames.writing import write_frames

    (tmp_path / "photos").mkdir()
    for sku, data in zip(catalog["sku"], catalog["photo"], strict=True):
        if data is not None:
            (tmp_path / "photos" / f"{sku}.png").write_bytes(data)
    monkeypatch.chdir(tmp_path)
    named = catalog.assign(photo=[f"photos/{s}.png" if s > 100 else None for s in catalog["sku"]])
    columns = Columns("sku", ("search_term",), "relevance", items={"image": ("photo",)})
    write_frames(columns, judged, named, tmp_path / "data")
    assert validate_dataset(tmp_path / "data").counts["media"]["photo"]["missing"] == 0
    assert load_dataset(tmp_path / "data").catalog["photo"].tolist()[1] == "101.png"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"text": "titel"}, "catalog: no column 'titel', which `text` names"),
        ({"item": "id"}, "judged: no column 'id', which `item` names"),
        ({"query": None}, "no column shows which rows are one list"),
        ({"labels": {"klick": "sku"}}, "unknown label 'klick'; did you mean 'click'"),
        ({"grades": "relevance"}, "'grades' is neither an argument nor a section of a config"),
        ({"training": {"epoch": 1}}, "unknown key 'epoch'; did you mean 'epochs'"),
    ],
)
def test_wrong_arguments_are_one_line(
    judged: pd.DataFrame, catalog: pd.DataFrame, changed: dict[str, object], message: str
) -> None:
    arguments: dict[str, object] = {
        "query": "search_term",
        "item": "sku",
        "grade": "relevance",
        "text": "product title",
        "progress": False,
    }
    with pytest.raises((DataError, ConfigError), match=message) as error:
        mmrank.fit(judged, catalog, **{**arguments, **changed})
    assert "\n" not in str(error.value)


def test_unknown_candidates(fitted: FittedRanker, judged: pd.DataFrame) -> None:
    with pytest.raises(DataError, match="none of the items is in the catalogue"):
        fitted.rank("red 0", ["new"])
    with pytest.raises(DataError, match="the list is empty"):
        fitted.rank("red 0", [])
    with pytest.raises(DataError, match="lists: no column 'search_term'"):
        fitted.score(judged[["sku"]])
