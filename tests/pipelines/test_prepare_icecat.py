"""Queries of an electronics shop: products with sparse attributes, and folds by query."""

from __future__ import annotations

import collections
import gzip
import json
import pathlib
from typing import Any

import pandas as pd
import pytest

from mmrank.data.tables import load_dataset
from pipelines import prepare_icecat
from pipelines.prepare_icecat import lines_of, prepare, splits


def product(number: int) -> dict[str, Any]:
    return {
        "id": f"{number:04d}",
        "name": f"P{number}",
        "title": f"HP  Printer {number}",
        "short_description": None if number % 3 else "Prints",
        "supplier": "HP",
        "price": 100 + number,
        "date_released": "2006-07-01T00:00:00Z",
        f"attr_n_weight_{number}": 62.0,
        "attr_b_colour": number % 2 == 0,
    }


def write(folder: pathlib.Path, products: list[Any], ratings: list[str]) -> None:
    text = "".join(json.dumps(p) + "\n" for p in products)
    (folder / "products.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    (folder / "ratings.csv").write_text("query,docid,rating\n" + "\n".join(ratings) + "\n")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("icecat")
    ratings = [f"query {q},{(q + n) % 40:04d},{n}" for q in range(20) for n in range(4)]
    write(folder, [product(i) for i in range(40)], [*ratings, "lonely,0001,3"])
    return folder


def test_the_catalogue_and_the_lists_are_those_of_the_source(source, tmp_path):
    prepare(source, tmp_path / "out", folds=4)
    data = load_dataset(tmp_path / "out")
    first = data.catalog.iloc[0]
    assert first["item_id"] == "0000"
    assert first["title"] == "HP Printer 0"
    assert first["price"] == 100
    assert first["attributes"] == "weight 0: 62\ncolour: yes"
    assert data.catalog["attributes"].iloc[1] == "weight 1: 62\ncolour: no"
    assert len(data.catalog) == 40
    assert data.lists["list_id"].nunique() == 20  # a list of one item has no order
    for query, rows in data.lists.groupby("list_id"):
        assert rows["query"].unique() == [query]
        number = int(query.split()[1])
        assert dict(zip(rows["item_id"], rows["grade"], strict=True)) == {
            f"{(number + n) % 40:04d}": n for n in range(4)
        }


def test_every_query_is_in_one_test_and_folds_have_equal_sizes():
    queries = [f"q{i}" for i in range(23)]
    actual = [splits(queries, 5, fold) for fold in range(5)]
    tested = [q for split in actual for q, part in split.items() if part == "test"]
    assert sorted(tested) == sorted(queries)
    for split in actual:
        sizes = collections.Counter(split.values())
        assert sizes["test"] in (4, 5)
        assert sizes["valid"] == -(-(23 - sizes["test"]) // 8)
    assert splits(queries[::-1], 5, 2) == actual[2]


def test_other_judgements_may_be_given(source, tmp_path):
    file = tmp_path / "mine.csv"
    rows = [f"{q},{i:04d},{i % 2 * 2.5}" for q in ("a", "b", "c") for i in range(5)]
    file.write_text("query,docid,rating\n" + "\n".join([*rows, rows[1].replace("2.5", "3")]))
    prepare(source, tmp_path / "out", ratings=file, folds=3, fold=2)
    lists = load_dataset(tmp_path / "out").lists
    assert set(lists["query"]) == {"a", "b", "c"}
    twice = lists[(lists["query"] == "a") & (lists["item_id"] == "0001")]
    assert twice["grade"].tolist() == [2.75]  # the mean of 2.5 and 3


def test_attributes_are_lines_without_prefix_and_type():
    actual = {"attr_t_a": None, "attr_t_b_": "", "attr_t_oem__code_": "C4 \n x", "title": "x"}
    actual |= {"attr_n_width": 62.0, "attr_n_depth": 1.5, "attr_b_new": True}
    assert lines_of(actual) == "oem code: C4 x\nwidth: 62\ndepth: 1.5\nnew: yes"


@pytest.mark.parametrize(
    ("products", "ratings", "message"),
    [
        ([{"name": "x"}], [], "line 1: not a product with an id"),
        ([product(0)], ["a,0000,4"], "column 'rating', row 1: '4' is not a number from 0 to 3"),
        ([product(0)], ["a,77,1"], "column 'docid', row 1: '77' is not the id of a product"),
        ([product(0), product(1)], ["a,0000,1", "a,0001,1"], "--folds 5: there are only 1 queries"),
    ],
)
def test_wrong_sources_are_refused(tmp_path, capsys, products, ratings, message):
    write(tmp_path, products, ratings)
    code = prepare_icecat.main(["--source", str(tmp_path), "--out", str(tmp_path / "out")])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_truncated_file_and_a_missing_file_are_reported(source, tmp_path, capsys):
    whole = (source / "products.jsonl.gz").read_bytes()
    for content, message in ((whole[: len(whole) // 2], "download it again"), (None, "no such")):
        folder = tmp_path / message.replace(" ", "_")
        folder.mkdir()
        if content is not None:
            (folder / "products.jsonl.gz").write_bytes(content)
        code = prepare_icecat.main(["--source", str(folder), "--out", str(tmp_path / "out")])
        assert code == 2
        assert message in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--folds", "1"], ["--fold", "5"], ["--fold", "-1"]])
def test_wrong_folds_are_refused(capsys, arguments):
    with pytest.raises(SystemExit):
        prepare_icecat.main(["--source", "a", "--out", "b", *arguments])
    assert "must be" in capsys.readouterr().err


def test_on_the_real_files_every_judged_query_is_a_list(shared_data, tmp_path):
    prepare(shared_data / "icecat", tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    judged = pd.read_csv(shared_data / "icecat" / "ratings.csv", dtype=str)
    size = judged.groupby("query").size()
    assert data.lists.groupby("query").size().to_dict() == size[size > 1].to_dict()
    assert (data.catalog["attributes"] != "").mean() > 0.8
