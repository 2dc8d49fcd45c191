"""Guessed schemas of folders with a known schema, and the comments on doubtful columns."""

from __future__ import annotations

import gzip
import json
import pathlib
import shutil
import zipfile
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from mmrank.data.kinds import KINDS
from mmrank.data.tables import load_dataset
from mmrank.data.validation import validate_dataset
from mmrank.guess.profile import language, profile
from mmrank.guess.writing import guess_schema
from mmrank.schema.__main__ import main

COLOURS = ("red", "blue", "green", "black", "white")
THINGS = ("mug", "linen dress", "steel bolt", "garden chair", "desk lamp")


def products(count: int = 60) -> pd.DataFrame:
    draws = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "sku": [f"{i:05d}" for i in range(count)],
            "title": [f"{COLOURS[i % 5]} {THINGS[i // 5 % 5]} of size {i}" for i in range(count)],
            "brand": [("Acme", "Zeta")[i % 2] for i in range(count)],
            "price": np.round(np.exp(draws.normal(3, 2.5, count)), 2),
            "tags": ["|".join(COLOURS[: 1 + i % 3]) for i in range(count)],
            "picture": [f"p{i}.png" for i in range(count)],
            "added": ["2024-03-01"] * (count - 1) + ["2024-05-01"],
            "empty": [None] * count,
        }
    )


def judged(count: int = 60) -> pd.DataFrame:
    rows = [
        (f"{COLOURS[q % 5]} thing {q}", f"{(7 * q + k) % count:05d}", (q + k) % 3, k)
        for q in range(40)
        for k in range(4)
    ]
    return pd.DataFrame(rows, columns=["search_term", "product", "relevance", "agent_1_rating"])


@pytest.fixture
def shop(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "shop"
    (folder / "photos").mkdir(parents=True)
    products().to_csv(folder / "products.csv", index=False)
    judged().to_csv(folder / "judged.tsv", sep="\t", index=False)
    for i in range(60):
        Image.new("RGB", (8, 8), "red").save(folder / "photos" / f"p{i}.png")
    (folder / "readme.txt").write_text("not a table")
    return folder


def plain(folder: pathlib.Path) -> dict[str, Any]:
    return yaml.safe_load(guess_schema(folder, KINDS).text)


def test_a_catalogue_and_judged_lists(shop: pathlib.Path) -> None:
    found = plain(shop)
    assert found["catalog"] == {"file": "products.csv", "item": "sku"}
    assert found["lists"] == {"file": "judged.tsv", "list": "search_term", "item": "product"}
    assert found["media"] == "photos"
    features = {f.pop("name"): f for f in found["features"]}
    assert features == {
        "query": {"kind": "text", "side": "query", "column": "search_term"},
        "grade": {"kind": "number", "side": "label", "column": "relevance"},
        "title": {"kind": "text", "side": "item"},
        "brand": {"kind": "category", "side": "item"},
        "price": {"kind": "number", "side": "item", "log": True},
        "tags": {"kind": "tags", "side": "item", "separator": "|"},
        "picture": {"kind": "image", "side": "item"},
    }


def test_each_line_says_how_sure_and_why(shop: pathlib.Path) -> None:
    lines = guess_schema(shop, KINDS).text.split("features:\n")[1].splitlines()
    for line in lines:
        assert any(f"# {sure}: " in line for sure in ("sure", "likely", "a guess")), line
    [price] = [line for line in lines if "price" in line]
    assert price.endswith("# sure: numbers, some far larger than the rest")
    # A single rater's grade may reveal the grade, and dates have no kind.
    [rating] = [line for line in lines if "agent_1_rating" in line]
    assert rating.startswith("  # - ")
    assert "may reveal the grade" in rating
    [added] = [line for line in lines if "added" in line]
    assert added.startswith("  # - ")


def test_the_command_writes_once_and_validates(
    shop: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--guess", str(shop)]) == 0
    assert "fit for training" in capsys.readouterr().out
    assert not validate_dataset(shop, media="all").errors
    assert len(load_dataset(shop).catalog) == 60
    before = (shop / "schema.yaml").read_bytes()
    assert main(["--guess", str(shop)]) == 2
    assert "exists and is never replaced; give another file with --out" in capsys.readouterr().err
    assert (shop / "schema.yaml").read_bytes() == before
    other = shop.parent / "other.yaml"
    assert main(["--guess", str(shop), "--out", str(other)]) == 0
    assert other.read_bytes() == before


def test_errors_in_the_data_are_reported(
    shop: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = judged()
    rows.loc[0, "product"] = "unknown"
    rows.to_csv(shop / "judged.tsv", sep="\t", index=False)
    assert main(["--guess", str(shop)]) == 1
    assert "items that are not in the catalogue" in capsys.readouterr().out


def test_one_table_that_is_both(tmp_path: pathlib.Path) -> None:
    """As in Home Depot's table, a row has the query, the product's title and the grade."""
    both = judged().merge(products()[["sku", "title"]], left_on="product", right_on="sku")
    both = both[["product", "title", "search_term", "relevance"]]
    alone = pd.DataFrame([["00001", both["title"][0], "rare", 1]], columns=both.columns)
    alone["title"] = both.loc[both["product"] == "00001", "title"].iloc[0]
    rows = pd.concat([both, both.iloc[:1], alone])
    rows.insert(0, "id", range(len(rows)))
    rows.to_csv(tmp_path / "train.csv.gz", index=False)
    found = plain(tmp_path)
    assert found["catalog"] == {"file": "train.csv.gz", "item": "product", "repeated": "first"}
    assert found["lists"] == {
        "file": "train.csv.gz",
        "list": "search_term",
        "item": "product",
        "repeated": "first",
        "short": "drop",
    }
    assert [f["name"] for f in found["features"]] == ["query", "grade", "title"]
    assert main(["--guess", str(tmp_path)]) == 0


def test_a_catalogue_alone(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    products().drop(columns="picture").to_json(
        tmp_path / "items.jsonl", orient="records", lines=True
    )
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for i in range(60):
            archive.writestr(f"images/{i:05d}.jpg", b"jpeg")
    assert plain(tmp_path)["lists"] is None
    assert main(["--guess", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "usable as a catalogue" in said
    text = (tmp_path / "schema.yaml").read_text(encoding="utf-8")
    assert "images.zip has files named by item, such as images/00000.jpg" in text


def test_a_users_ratings_are_lists(tmp_path: pathlib.Path) -> None:
    products().to_parquet(tmp_path / "films.parquet")
    rows = [(u, f"{(u + k) % 60:05d}", 0.5 + k, 1000 + k) for u in range(30) for k in range(5)]
    frame = pd.DataFrame(rows, columns=["userId", "sku", "rating", "timestamp"])
    frame.to_csv(tmp_path / "ratings.csv", index=False)
    found = plain(tmp_path)
    assert found["lists"] == {
        "file": "ratings.csv",
        "list": "userId",
        "item": "sku",
        "user": "userId",
    }


def test_sparse_attributes_are_one_line(tmp_path: pathlib.Path) -> None:
    rows = [
        {"id": f"a{i}", "title": f"{THINGS[i % 5]} number {i}", f"attr_{i % 30}": i}
        for i in range(60)
    ]
    with gzip.open(tmp_path / "items.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)
    text = guess_schema(tmp_path, KINDS).text
    assert "- {name: attr, kind: attributes, side: item, column: attr_*}  # likely" in text
    without = {k: v for k, v in KINDS.items() if k != "attributes"}
    assert "# - {name: attr, kind: attributes" in guess_schema(tmp_path, without).text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no table"),
        ({"a.csv": "x,y\n1,1\n1,2\n"}, "no table has a column that can be an item's id"),
        ({"a.csv": "x,x\n1,1\n"}, "2 columns are called 'x'"),
    ],
)
def test_what_cannot_be_guessed_is_one_line(
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
    files: dict[str, str],
    message: str,
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    if message.startswith("no table has"):
        (tmp_path / "a.csv").write_text("x,y\n1,1\n1,1\n", encoding="utf-8")
    assert main(["--guess", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("error: ") == 1
    assert not (tmp_path / "schema.yaml").exists()


def test_profiles() -> None:
    codes = profile(pd.Series(["007", "008", "009"], name="code"))
    assert (codes.numeric, codes.unique) == (0.0, True)
    dates = profile(pd.Series(["2020-01-02", "2020-01-03T10:00:00Z"], name="d"))
    assert dates.dates == 1.0
    assert profile(pd.Series([[0.1, 0.2], [1.0, 2.0]], name="v")).nested == "vector"
    assert profile(pd.Series(["a.jpg", "B.PNG", None], name="p")).media == "image"


def test_languages() -> None:
    assert language(pd.Series(["the chair for the garden", "a lamp with a shade"])) == "English"
    assert language(pd.Series(["红色连衣裙", "蓝色马克杯"])) == "Chinese"
    assert language(pd.Series(["红色 dress for summer", "马克杯 steel"])) == "Chinese and Latin"
    assert language(pd.Series(["123"])) == "no letters"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "catalog", "lists"),
    [
        ("homedepot", "product_uid", ("search_term", "product_uid", "relevance")),
        ("icecat", "id", ("query", "docid", "rating")),
        ("movielens_posters", "movieId", ("userId", "movieId", "rating")),
        ("qbqtc", "id", ("query", "id", "label")),
        ("fashion", "product_id", None),
        ("flipkart", "product_id", None),
    ],
)
def test_real_shops(
    shared_data: pathlib.Path,
    tmp_path: pathlib.Path,
    name: str,
    catalog: str,
    lists: tuple[str, str, str] | None,
) -> None:
    if not (shared_data / name).is_dir():
        pytest.skip(f"no {name}")
    folder = tmp_path / name
    shutil.copytree(shared_data / name, folder)
    folder.chmod(0o755)
    assert main(["--guess", str(folder)]) == 0
    found = yaml.safe_load((folder / "schema.yaml").read_text(encoding="utf-8"))
    assert found["catalog"]["item"] == catalog
    if lists is None:
        assert found["lists"] is None
    else:
        [grade] = [f["column"] for f in found["features"] if f["name"] == "grade"]
        assert (found["lists"]["list"], found["lists"]["item"], grade) == lists
