"""Tables in a shop's own format, read and joined."""

from __future__ import annotations

import gzip
import hashlib
import json
import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from mmrank.data.reading import columns_of, read_table
from mmrank.data.splits import hash_splits
from mmrank.data.tables import DataError, Dataset, load_dataset
from mmrank.data.validation import validate_dataset
from mmrank.encoders.tags import Tags
from mmrank.schema import SchemaError, schema_from_dict

SCHEMA = {
    "name": "corner shop",
    "catalog": {"file": "products.csv", "item": "sku"},
    "lists": {"file": "judged.csv", "list": "search", "item": "sku", "user": "who", "time": "at"},
    "events": {"file": "log.csv", "user": "who", "item": "sku", "type": "what", "time": "at"},
    "features": [
        {"name": "title", "kind": "text", "side": "item", "column": "product name"},
        {"name": "price", "kind": "number", "side": "item"},
        {"name": "query", "kind": "text", "side": "query"},
        {"name": "history", "kind": "history", "side": "user"},
        {"name": "grade", "kind": "number", "side": "label", "column": "stars"},
    ],
}
PRODUCTS = "sku,product name,price\n007,red shirt,1.50\n7,NA,2\n1.10,null,\n"
JUDGED = (
    "search,sku,who,at,query,stars\n"
    "s2,7,u1,2024-01-02,shirt,0\n"
    "s1,007,u2,2024-01-01T00:00:10Z,red,1\n"
    "s2,007,u1,2024-01-02,shirt,2\n"
    "s1,1.10,u2,2024-01-01T00:00:10Z,red,0\n"
)
LOG = (
    "who,sku,what,at\n"
    "u2,007,view,2024-01-01 00:00:01\n"
    "u1,7,view,2023-12-31T23:59:59+00:00\n"
    "u1,gone,buy,2023-12-31T00:00:00+01:00\n"
)


def write(folder: pathlib.Path, **files: str) -> pathlib.Path:
    contents = {"products": PRODUCTS, "judged": JUDGED, "log": LOG} | files
    for name, text in contents.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    (folder / "schema.yaml").write_text(yaml.safe_dump(SCHEMA), encoding="utf-8")
    return folder


@pytest.fixture
def dataset(tmp_path: pathlib.Path) -> Dataset:
    return load_dataset(write(tmp_path))


def test_ids_are_kept_unchanged(dataset: Dataset) -> None:
    assert list(dataset.item_ids) == ["007", "7", "1.10"]


def test_only_an_empty_cell_is_missing(dataset: Dataset) -> None:
    assert list(dataset.catalog["product name"]) == ["red shirt", "NA", "null"]
    np.testing.assert_array_equal(dataset.catalog["price"], [1.5, 2.0, np.nan])


def test_rows_of_a_list_are_adjacent_and_have_their_items(dataset: Dataset) -> None:
    assert list(dataset.lists["search"]) == ["s2", "s2", "s1", "s1"]
    assert list(dataset.lists["_item"]) == [1, 0, 0, 2]
    assert dataset.lists["_item"].dtype == np.int32


def test_times_are_seconds_since_1970(dataset: Dataset) -> None:
    new_year = 1_704_067_200.0  # date -u -d 2024-01-01 +%s
    assert list(dataset.lists["_time"]) == [new_year + 86_400] * 2 + [new_year + 10] * 2


def test_events_are_in_the_order_of_user_and_time(dataset: Dataset) -> None:
    assert dataset.events is not None
    assert list(dataset.events["who"]) == ["u1", "u1", "u2"]
    assert list(dataset.events["_item"]) == [-1, 1, 0]  # −1: the catalogue does not contain `gone`
    new_year = 1_704_067_200.0
    # 00:00 at +01:00 is 23:00 UTC of the day before: 25 hours before the new year.
    assert list(dataset.events["_time"]) == [new_year - 25 * 3600, new_year - 1, new_year + 1]


def test_nothing_is_written(tmp_path: pathlib.Path) -> None:
    write(tmp_path)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    load_dataset(tmp_path)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_splits_by_hash(dataset: Dataset) -> None:
    def split(name: str) -> str:
        digit = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 10
        return "train" if digit < 8 else ("valid" if digit == 8 else "test")

    ids = pd.Series([f"s{i}" for i in range(1000)])
    assert list(hash_splits(ids)) == [split(i) for i in ids]
    assert list(dataset.lists["_split"]) == [split("s2")] * 2 + [split("s1")] * 2
    assert len(dataset.rows("all")) == 4
    with pytest.raises(ValueError, match="unknown split 'tset'; known: train, valid, test, all"):
        dataset.rows("tset")


def test_one_item_whatever_the_type_of_its_id(tmp_path: pathlib.Path) -> None:
    """The catalogue has whole numbers; the lists have decimals, as a column with a gap does."""
    pd.DataFrame({"item_id": [17, 18], "title": ["a", "b"]}).to_parquet(
        tmp_path / "catalog.parquet"
    )
    pd.DataFrame({"list_id": ["l", "l"], "item_id": [18.0, 17.0], "grade": [1, 0]}).to_parquet(
        tmp_path / "lists.parquet"
    )
    features = [
        {"name": "title", "kind": "text", "side": "item"},
        {"name": "grade", "kind": "number", "side": "label"},
    ]
    (tmp_path / "schema.yaml").write_text(yaml.safe_dump({"features": features}))
    assert list(load_dataset(tmp_path).lists["_item"]) == [1, 0]


def test_file_types(tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.tsv").write_text("x\ty\n1\tone, two\n")
    (tmp_path / "a.jsonl").write_text('{"x": "01", "event_time": 1700000000}\n')
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("x\nNA\n3\n")
    assert read_table(tmp_path / "a.tsv").to_dict("list") == {"x": [1], "y": ["one, two"]}
    assert read_table(tmp_path / "a.jsonl").to_dict("list") == {
        "x": ["01"],
        "event_time": [1_700_000_000],
    }
    np.testing.assert_array_equal(read_table(tmp_path / "a.csv.gz")["x"], [np.nan, 3])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.csv", None, "no such file"),
        ("a.xlsx", "", "unknown file type '.xlsx'; known: .parquet, .csv, .tsv, .jsonl"),
        ("a.parquet", "not parquet", "cannot be read as .parquet"),
        ("a.csv", "", "cannot be read as .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_reported(
    tmp_path: pathlib.Path, name: str, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as caught:
        read_table(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"products": PRODUCTS.replace("product name", "produkt name")},
            "products.csv: no column 'product name', which feature title names; "
            "did you mean 'produkt name'?",
        ),
        (
            {"products": PRODUCTS + "7,again,3\n"},
            "products.csv, column 'sku': 1 value(s), row 4: '7': is a duplicate item id",
        ),
        (
            {"judged": JUDGED.replace("s1,1.10", "s1,1.1")},
            "judged.csv, column 'sku': 1 value(s), row 4: '1.1': is not in products.csv",
        ),
        (
            {"log": LOG.replace("2024-01-01 00:00:01", "yesterday")},
            "log.csv, column 'at': 1 value(s), row 1: 'yesterday': is not a time",
        ),
    ],
)
def test_errors_name_file_column_row_and_remedy(
    tmp_path: pathlib.Path, files: dict[str, str], words: str
) -> None:
    with pytest.raises(DataError) as caught:
        load_dataset(write(tmp_path, **files))
    assert words in str(caught.value)


def test_a_history_needs_events(tmp_path: pathlib.Path) -> None:
    write(tmp_path)
    without = {k: v for k, v in SCHEMA.items() if k != "events"}
    (tmp_path / "schema.yaml").write_text(yaml.safe_dump(without))
    with pytest.raises(
        SchemaError, match="feature history: a feature of kind history needs an events table"
    ):
        load_dataset(tmp_path)


@pytest.mark.parametrize("ending", ["parquet", "csv", "tsv", "jsonl", "csv.gz"])
def test_sensitive_columns_are_not_read(tmp_path: pathlib.Path, ending: str) -> None:
    frame = pd.DataFrame({"sku": ["a"], "email": ["a@b.c"], "price": [1.5]})
    file = tmp_path / f"t.{ending}"
    if ending == "parquet":
        frame.to_parquet(file, index=False)
    elif ending == "jsonl":
        frame.to_json(file, orient="records", lines=True)
    else:
        frame.to_csv(file, sep="\t" if ending == "tsv" else ",", index=False)
    assert columns_of(file) == ["sku", "email", "price"]
    assert list(read_table(file, without=["email", "phone"])) == ["sku", "price"]
    assert list(read_table(file)) == ["sku", "email", "price"]


def test_a_dataset_lacks_its_sensitive_columns(tmp_path: pathlib.Path) -> None:
    folder = write(tmp_path)

    def mark(column: str) -> None:
        features = [f for f in SCHEMA["features"] if f["name"] != "price"]
        marked = yaml.safe_dump(SCHEMA | {"features": features, "sensitive": [column]})
        (folder / "schema.yaml").write_text(marked, encoding="utf-8")

    mark("price")
    assert "price" not in load_dataset(folder).catalog
    assert "sensitive" not in str(validate_dataset(folder))
    mark("prise")
    found = "sensitive names the column 'prise', which no table has; did you mean 'price'?"
    assert found in str(validate_dataset(folder))


BIG = 2**53


def numbered(sku: str) -> int:
    """A 64-bit id that a float would confuse with its neighbour."""
    return BIG + ["007", "7", "1.10", "gone"].index(sku)


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_large_ids_are_exact_if_one_is_missing(tmp_path: pathlib.Path, ending: str) -> None:
    ids = {text: str(numbered(text)) for text in ("007", "7", "1.10")}
    folder = write(
        tmp_path,
        products="sku,product name,price\n" + "".join(f"{i},x,1\n" for i in ids.values()),
        judged="search,sku,who,at,query,stars\n"
        + "".join(f"s1,{i},u,10,red,1\n" for i in ids.values()),
    )
    skus = [numbered("007"), numbered("7"), None, numbered("1.10"), numbered("gone")]
    rows = {"sku": skus, "who": [BIG, BIG + 1, BIG, BIG, None], "at": [1, 2, 3, 4, 5]}
    rows["what"] = [1, 1, 2, 1, 1]
    if ending == "parquet":
        types = {"sku": pa.int64(), "who": pa.int64(), "at": pa.int64(), "what": pa.int8()}
        columns = {name: pa.array(v, types[name]) for name, v in rows.items()}
        pq.write_table(pa.table(columns), folder / "log.parquet")
    else:
        lines = [dict(zip(rows, row, strict=True)) for row in zip(*rows.values(), strict=True)]
        (folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)))
    plain = SCHEMA | {"events": SCHEMA["events"] | {"file": f"log.{ending}"}}
    (folder / "schema.yaml").write_text(yaml.safe_dump(plain))
    events = load_dataset(folder).events.sort_values("_time")
    assert events["_item"].tolist() == [0, 1, -1, 2, -1]
    assert events["who"][:4].tolist() == [str(BIG), str(BIG + 1), str(BIG), str(BIG)]
    assert events["what"].tolist() == ["1", "1", "2", "1", "1"]


@pytest.mark.parametrize("ending", ["csv", "parquet", "jsonl"])
def test_a_feature_is_read_by_its_kind_not_its_values(tmp_path: pathlib.Path, ending: str) -> None:
    products = "sku,product name,price,size,set\n1,501,1.50,38,7|8\n2,,2,38.5,7\n3,7,,39,\n"
    folder = write(tmp_path, products=products)
    (folder / "judged.csv").write_text(JUDGED.replace("007", "1").replace("1.10", "3"))
    features = [
        *SCHEMA["features"],
        {"name": "size", "kind": "category", "side": "item"},
        {"name": "set", "kind": "tags", "side": "item"},
    ]
    catalog = {"file": f"products.{ending}", "item": "sku"}
    (folder / "schema.yaml").write_text(
        yaml.safe_dump(SCHEMA | {"features": features, "catalog": catalog})
    )
    if ending != "csv":
        typed = {"sku": [1, 2, 3], "product name": [501, None, 7], "price": [1.5, 2, None]}
        typed |= {"size": [38, 38.5, 39], "set": [[7, 8], [7], []]}
        if ending == "parquet":
            pq.write_table(pa.table(typed), folder / "products.parquet")
        else:
            lines = [
                dict(zip(typed, row, strict=True)) for row in zip(*typed.values(), strict=True)
            ]
            (folder / "products.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "judged.csv").write_text(
        "search,sku,who,at,query,stars\ns,1,u,1,501,1\ns,2,u,1,501,0\n"
    )
    data = load_dataset(folder)
    missing = data.catalog.astype(object).where(data.catalog.notna(), None)
    assert data.item_ids.tolist() == ["1", "2", "3"]
    assert missing["product name"].tolist() == ["501", None, "7"]
    assert data.lists["query"].tolist() == ["501", "501"]
    assert missing["size"].tolist() == ["38", "38.5", "39"]
    np.testing.assert_array_equal(data.catalog["price"], [1.5, 2, np.nan])
    tags = Tags(data.schema.feature("set"), {})
    assert tags.read(data.catalog["set"], None)[0].tolist() == ["7|8", "7", ""]


@pytest.mark.parametrize("value", [["007"], {"en": "007"}])
@pytest.mark.parametrize("column", ["sku", "product name"])
def test_lists_and_objects_are_not_ids_or_texts(
    tmp_path: pathlib.Path, value: object, column: str
) -> None:
    folder = write(tmp_path)
    rows = [{"sku": "1", "product name": "x"}, {"sku": "2", "product name": "y", column: value}]
    (folder / "products.jsonl").write_text("\n".join(map(json.dumps, rows)))
    catalog = {"file": "products.jsonl", "item": "sku"}
    features = [f for f in SCHEMA["features"] if f["name"] != "price"]
    plain = SCHEMA | {"catalog": catalog, "features": features}
    (folder / "schema.yaml").write_text(yaml.safe_dump(plain))
    words = f"products.jsonl: column '{column}': 1 value(s), row 2: "
    with pytest.raises(DataError) as caught:
        load_dataset(folder)
    assert words in str(caught.value)
    assert "not a text; write a single text or id" in str(validate_dataset(folder))


def test_detected_dialects_are_reported(tmp_path: pathlib.Path, caplog) -> None:
    folder = write(tmp_path, products=PRODUCTS.replace(",", ";").replace("1.50", "1,50"))
    with caplog.at_level("INFO", "mmrank"):
        data = load_dataset(folder)
    np.testing.assert_array_equal(data.catalog["price"], [1.5, 2, np.nan])
    assert "catalog: products.csv: fields separated by ';'" in caplog.text
    assert "catalog: products.csv: decimal commas" in caplog.text
    assert "found in products.csv: fields separated by ';'" in str(validate_dataset(folder))


def test_a_schema_may_give_the_dialect(tmp_path: pathlib.Path) -> None:
    folder = write(tmp_path)
    (folder / "products.csv").write_bytes(
        "sku;product name;price\n7;Größe;1,500\n".encode("cp1252")
    )
    actual = {"file": "products.csv", "item": "sku", "encoding": "cp1252", "decimal": ","}
    (folder / "judged.csv").write_text("search,sku,who,at,query,stars\ns,7,u,1,x,1\n")
    (folder / "schema.yaml").write_text(yaml.safe_dump(SCHEMA | {"catalog": actual}))
    data = load_dataset(folder)
    assert data.catalog["product name"].tolist() == ["Größe"]
    assert data.catalog["price"].tolist() == [1.5]


def one_table(folder: pathlib.Path, lists: str, rows: str) -> pathlib.Path:
    """A dataset whose lists also contain the catalogue."""
    folder.mkdir()
    (folder / "judged.csv").write_text("query,sku,title,grade\n" + rows, encoding="utf-8")
    (folder / "schema.yaml").write_text(
        "catalog: {file: judged.csv, item: sku, repeated: first}\n"
        f"lists: {lists}\n"
        "features:\n"
        "  - {name: title, kind: text, side: item}\n"
        + ("" if lists == "null" else "  - {name: grade, kind: number, side: label}\n"),
        encoding="utf-8",
    )
    return folder


RATED = (
    "red,1,Red mug,2\nred,2,Blue mug,0\nblue,1,Red cup,0\nred,1,Red mug,1\nblue,2,Blue,2\nx,3,X,1\n"
)


def test_a_table_of_both_lists_and_items_is_tidied(tmp_path: pathlib.Path) -> None:
    lists = "{file: judged.csv, list: query, item: sku, repeated: first, short: drop}"
    folder = one_table(tmp_path / "shop", lists, RATED)
    dataset = load_dataset(folder)
    assert dataset.catalog["title"].tolist() == ["Red mug", "Blue mug", "X"]
    assert dataset.lists[["query", "sku"]].to_numpy().tolist() == [
        ["red", "1"],
        ["red", "2"],
        ["blue", "1"],
        ["blue", "2"],
    ]
    assert dataset.lists["_item"].tolist() == [0, 1, 0, 1]
    report = validate_dataset(folder)
    assert not report.errors, str(report)
    assert "1 lists of one candidate, left out" in str(report)


def test_rows_are_reported_by_their_number_in_the_file(tmp_path: pathlib.Path) -> None:
    lists = "{file: judged.csv, list: query, item: sku, repeated: first, short: drop}"
    bad = RATED.replace("blue,2,Blue,2", "blue,2,Blue,-2")
    errors = validate_dataset(one_table(tmp_path / "shop", lists, bad)).errors
    assert [e.rows for e in errors if "negative" in e.what] == [((5, "-2"),)]


def test_without_tidying_repeated_rows_are_errors(tmp_path: pathlib.Path) -> None:
    lists = "{file: judged.csv, list: query, item: sku}"
    said = str(validate_dataset(one_table(tmp_path / "shop", lists, RATED)))
    assert "items that already appear in their list" in said
    assert "lists with fewer than two candidates" in said


def test_a_catalogue_without_lists(tmp_path: pathlib.Path) -> None:
    folder = one_table(tmp_path / "shop", "null", RATED)
    report = validate_dataset(folder)
    assert not report.errors, str(report)
    assert "lists is null, so there is nothing to learn from" in str(report)
    dataset = load_dataset(folder)
    assert dataset.lists.empty
    assert schema_from_dict(dataset.schema.to_dict()) == dataset.schema


@pytest.mark.parametrize("value", [[["a"], ["b"]], [{"name": "a"}], {"name": "a"}])
def test_tags_are_texts_and_lists_of_them(tmp_path: pathlib.Path, value: object) -> None:
    folder = write(tmp_path)
    rows = [{"sku": "1", "set": ["a", None]}, {"sku": "2", "set": value}]
    (folder / "products.jsonl").write_text("\n".join(map(json.dumps, rows)))
    plain = SCHEMA | {
        "catalog": {"file": "products.jsonl", "item": "sku"},
        "features": [
            {"name": "set", "kind": "tags", "side": "item"},
            *(f for f in SCHEMA["features"] if f["side"] != "item"),
        ],
    }
    (folder / "schema.yaml").write_text(yaml.safe_dump(plain))
    with pytest.raises(DataError, match=r"column 'set': 1 value.*; write a list of texts"):
        load_dataset(folder)
