"""Records of lists: their content, the same bytes for any number of workers, and refusals."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
import yaml
from PIL import Image
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

from mmrank.data.reading import read_table
from mmrank.data.tables import DataError
from pipelines.beam.pages import cuts
from pipelines.beam.pieces import row_count, table_pieces
from pipelines.build_examples import build, main
from pipelines.prepare_logs import main as prepare

DAY = 86_400
NOW = 1_000 * DAY  # time of the latest review
SCHEMA: dict[str, Any] = {
    "name": "small",
    "media": "photos",
    "catalog": {"file": "items.parquet", "item": "sku"},
    "lists": {
        "file": "lists.parquet",
        "list": "page",
        "item": "sku",
        "user": "who",
        "time": "at",
        "split": "part",
    },
    "events": {"file": "events.parquet", "user": "who", "item": "sku", "type": "did", "time": "at"},
    "features": [
        {"name": "title", "kind": "text", "side": "item"},
        {"name": "price", "kind": "number", "side": "item"},
        {"name": "size", "kind": "category", "side": "item"},
        {"name": "photo", "kind": "image", "side": "item"},
        {"name": "reviews", "kind": "reviews", "side": "item"},
        {"name": "query", "kind": "text", "side": "query"},
        {"name": "overlap", "kind": "number", "side": "pair"},
        {"name": "past", "kind": "history", "side": "user", "length": 2},
        {"name": "grade", "kind": "number", "side": "label"},
        {"name": "click", "kind": "number", "side": "label"},
    ],
}
ITEMS = {
    "sku": ["007", "b", "c", "d"],
    "title": ["red shoe", "", "  blue shoe ", None],
    "price": [1.5, None, 3.0, 4.0],
    "size": [40, 41, None, 42],  # a category of whole numbers with one missing
    "photo": ["a.png", "broken.png", "gone.png", None],
    "reviews": [
        [{"text": "good", "time": NOW - 2 * DAY}],
        None,
        [{"text": "bad", "time": NOW}],
        [],
    ],
    "secret": ["s", "s", "s", "s"],
}
LISTS = pd.DataFrame(
    {
        # The rows of page 2 are not adjacent.
        "page": [2, 2, 1, 1, 1, 2, 3, 3],
        "sku": ["c", "007", "b", "d", "c", "b", "d", "007"],
        "who": ["u", "u", None, None, None, "u", "v", "v"],
        "at": [10 * DAY, 10 * DAY, 5.0, 5.0, 5.0, 10 * DAY, np.nan, np.nan],
        "part": ["train", "train", "valid", "valid", "valid", "train", "train", "train"],
        "query": ["shoe", "shoe", "", "", "", "shoe", "hat", "hat"],
        "overlap": [1.0, np.nan, 0.5, 0.25, 0.0, 2.0, 1.0, 1.0],
        "grade": [2, 0, 1, 0, 0, 1, 0, 3],
        "click": [1.0, np.nan, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0],
    }
)
EVENTS = pd.DataFrame(
    {
        "who": ["u", "u", "u", "u", "u", "v", "v"],
        "sku": ["007", "b", "c", "lost", "d", "b", "c"],
        "did": ["view", "cart", None, "view", "view", "view", "cart"],
        # u's event of "lost" has an unknown item, and u's event of d is not before the list.
        "at": [1 * DAY, 7 * DAY, 9.5 * DAY, 9.9 * DAY, 10 * DAY, 2 * DAY, 5 * DAY],
    }
)


@pytest.fixture
def shop(tmp_path: pathlib.Path) -> pathlib.Path:
    """A dataset of four items, two per row group, and three lists."""
    folder = tmp_path / "shop"
    (folder / "photos").mkdir(parents=True)
    Image.new("RGB", (40, 40), "red").save(folder / "photos" / "a.png")
    (folder / "photos" / "broken.png").write_bytes(b"no photo")
    pq.write_table(pa.table(ITEMS), folder / "items.parquet", row_group_size=2)
    LISTS.to_parquet(folder / "lists.parquet", row_group_size=3)
    EVENTS.to_parquet(folder / "events.parquet")
    (folder / "schema.yaml").write_text(yaml.safe_dump(SCHEMA), encoding="utf-8")
    return folder


def values(example: tf.train.Example) -> dict[str, list[Any]]:
    """An example's features as plain lists."""
    read = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        read[name] = list(getattr(feature, kind).value)
    return read


def lists_in(folder: pathlib.Path, split: str) -> dict[str, ExampleListWithContext]:
    """The messages of a split by list id, in the order of its shards."""
    read = {}
    for file in sorted(folder.glob(f"{split}-*")):
        for data in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            message = ExampleListWithContext.FromString(data)
            read[values(message.context)["list/id"][0].decode()] = message
    return read


def test_the_content_of_a_record(shop: pathlib.Path, tmp_path: pathlib.Path) -> None:
    manifest = build(shop, tmp_path / "out", shards=3)
    train, valid = lists_in(tmp_path / "out", "train"), lists_in(tmp_path / "out", "valid")
    assert set(train) == {"2", "3"}
    assert set(valid) == {"1"}
    page = train["2"]
    assert values(page.context) == {
        "list/id": [b"2"],
        "list/user": [b"u"],
        "list/time": [10 * DAY * 1_000_000],
        "query": [b"shoe"],
        "past_items": [b"b", b"c"],
        "past_types": [b"cart", b""],
        "past_ages": [3.0, 0.5],
    }
    assert [values(e)["item/id"] for e in page.examples] == [[b"c"], [b"007"], [b"b"]]
    assert values(page.examples[0]) == {
        "item/id": [b"c"],
        "title": [b"blue shoe"],
        "price": [3.0],
        "reviews": [b"bad\x1f0"],
        "overlap": [1.0],
        "label/grade": [2.0],
        "label/click": [1.0],
    }
    assert values(page.examples[1]) == {
        "item/id": [b"007"],
        "title": [b"red shoe"],
        "price": [1.5],
        "size": [b"40"],
        "photo": [(shop / "photos" / "a.png").read_bytes()],
        "reviews": [b"good\x1f2"],  # two days before the latest of all reviews
        "label/grade": [0.0],
    }
    # Without a time all earlier events count, with ages relative to the latest of them.
    last = values(train["3"].context)
    assert "list/time" not in last
    assert last["past_items"] == [b"b", b"c"]
    assert last["past_ages"] == [3.0, 0.0]
    # Neither user nor query.
    assert values(valid["1"].context) == {"list/id": [b"1"], "list/time": [5_000_000]}
    assert [values(e)["label/grade"] for e in valid["1"].examples] == [[1.0], [0.0], [0.0]]
    actual = manifest["splits"]
    assert (
        actual["train"]["lists"],
        actual["train"]["candidates"],
        actual["train"]["longest"],
    ) == (
        2,
        5,
        3,
    )
    assert sum(shard["records"] for shard in actual["valid"]["shards"]) == 1
    assert "test" not in actual
    assert not list((tmp_path / "out").glob("test-*"))
    assert b"secret" not in b"".join(p.read_bytes() for p in (tmp_path / "out").iterdir())


def whole_split(folder: pathlib.Path, split: str) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.glob(f"{split}-*")))


def test_bytes_do_not_depend_on_workers_and_shards(
    tiny_shop: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    build(tiny_shop, tmp_path / "one", shards=1, drop=["photo"])
    build(
        tiny_shop,
        tmp_path / "three",
        shards=3,
        drop=["photo"],
        workers=3,
        running="multi_threading",
    )
    for split in ("train", "valid", "test"):
        assert len(list((tmp_path / "three").glob(f"{split}-*"))) == 3
        assert whole_split(tmp_path / "one", split) == whole_split(tmp_path / "three", split) != b""


def test_a_log_gives_the_records_of_its_prepared_dataset(tmp_path: pathlib.Path) -> None:
    """Twenty pages, a minute apart: a tenth of them ends at a whole minute."""
    page = np.repeat(np.arange(20)[::-1], 3)
    rank = np.tile([3, 1, 2], 20)
    clicked = (rank == 2).astype(int)
    log = pd.DataFrame(
        {
            "list_id": page,
            "item_id": np.array(["007", "a", "b"])[(rank + page) % 3],
            "position": rank,
            "click": clicked,
            "terms": "red",
            "shopper": np.where(page % 2 == 0, "u", ""),
            "at": 1_000_020 + 60 * page,
            "stay": np.where(clicked == 1, 600.0, np.nan),
            "bought": clicked * (page % 2 == 0),
        }
    )
    log = pd.concat([log, log.iloc[:1].assign(list_id=99)])  # a page of one item
    log.to_csv(tmp_path / "log.csv", index=False)
    items = pd.DataFrame({"item_id": ["007", "a", "b"], "title": ["x", "y", "z"]})
    items.to_parquet(tmp_path / "items.parquet")
    arguments = ["--log", str(tmp_path / "log.csv"), "--catalog", str(tmp_path / "items.parquet")]
    arguments += ["--feature", "title:text", "--query", "terms", "--user", "shopper"]
    arguments += ["--time", "at", "--dwell", "stay", "--purchase", "bought"]
    assert prepare([*arguments, "--out", str(tmp_path / "data")]) == 0
    schema = yaml.safe_load((tmp_path / "data" / "schema.yaml").read_text(encoding="utf-8"))
    build(tmp_path / "data", tmp_path / "prepared", shards=2)
    assert main([*arguments, "--out", str(tmp_path / "direct"), "--shards", "2"]) == 0
    for split, lists in (("train", 16), ("valid", 2), ("test", 2)):
        assert len(lists_in(tmp_path / "direct", split)) == lists
        assert whole_split(tmp_path / "direct", split) == whole_split(tmp_path / "prepared", split)
    assert yaml.safe_load((tmp_path / "direct" / "schema.yaml").read_text("utf-8")) == schema


def test_times_that_divide_the_splits() -> None:
    # Ten lists: the latest minute has a tenth; with the minute before it reaches a fifth and more.
    assert cuts({1: 3, 2: 3, 3: 3, 4: 1}) == (3.0, 4.0)
    # The latest minute contains both shares; validation gets the minute before.
    assert cuts({5: 4, 6: 4, 7: 2}) == (6.0, 7.0)


def test_a_table_in_pieces_is_the_table(tmp_path: pathlib.Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2, 3, 4, 5]),
            "whole": pa.array([1, 2, 3, None, 5]),
            "truth": pa.array([True, False, True, False, None]),
            "words": pa.array(["a", None, "b", "c", "d"]),
            "unread": pa.array([1.0] * 5),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=2)
    wanted = ["id", "whole", "truth", "words"]
    pieces = table_pieces(tmp_path / "t.parquet", wanted)
    assert len(pieces) == 3
    assert row_count(pieces) == 5
    whole = read_table(tmp_path / "t.parquet")[wanted]
    frames = [piece.read() for piece in pieces]
    assert [f.dtypes.to_dict() for f in frames] == [whole.dtypes.to_dict()] * 3
    pd.testing.assert_frame_equal(pd.concat(frames), whole)
    parts = tmp_path / "parts"
    parts.mkdir()
    pq.write_table(table[:2], parts / "a.parquet")
    pq.write_table(table[2:], parts / "b.parquet")
    pd.testing.assert_frame_equal(
        pd.concat([piece.read() for piece in table_pieces(parts, wanted)]), whole
    )
    with pytest.raises(DataError, match="no column 'wole'; did you mean 'whole'"):
        table_pieces(parts, ["wole"])


def test_pieces_keep_texts_and_join_columns_of_a_prefix(tmp_path: pathlib.Path) -> None:
    """The rules are those of a whole table, even if a piece has no values of a column."""
    table = pa.table(
        {
            "id": pa.array([2**53 + 1, None, 7], pa.int64()),
            "size": pa.array([38.0, 38.5, 39.0]),
            "price": pa.array([1, None, 3]),
            "attr_a": pa.array(["x", None, None]),
            "attr_b": pa.array([None, 2.0, None]),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=1)
    wanted, texts = ["attr_*", "id", "size", "price"], ["id", "size", "attr_*"]
    pieces = table_pieces(tmp_path / "t.parquet", wanted, texts, ["price"])
    whole = read_table(tmp_path / "t.parquet", texts, numbers=["price"])[wanted]
    frames = [piece.read() for piece in pieces]
    assert len(frames) == 3
    assert [f["price"].dtype for f in frames] == [whole["price"].dtype] * 3
    pd.testing.assert_frame_equal(pd.concat(frames), whole)
    assert whole["attr_*"].tolist() == ["a: x", "b: 2", ""]
    assert whole["id"].tolist()[0] == str(2**53 + 1)
    with pytest.raises(DataError, match=r"no column 'other_\*'"):
        table_pieces(tmp_path / "t.parquet", ["other_*"])


@pytest.mark.parametrize(
    ("table", "row", "change", "message"),
    [
        (
            "lists",
            4,
            {"sku": "z"},
            r"lists.parquet, column 'sku': 1 value\(s\), row 5: 'z': is not",
        ),
        ("lists", 4, {"page": None}, r"lists.parquet, column 'page': 1 value\(s\), row 5: .*no id"),
        (
            "items",
            2,
            {"sku": "b"},
            r"items.parquet, column 'sku': 1 value\(s\), row 3: 'b': is a dup",
        ),
    ],
)
def test_unusable_rows_are_refused(
    shop: pathlib.Path,
    tmp_path: pathlib.Path,
    table: str,
    row: int,
    change: dict[str, Any],
    message: str,
) -> None:
    file = shop / f"{table}.parquet"
    frame = pd.read_parquet(file)
    for column, value in change.items():
        frame[column] = frame[column].astype(object)
        frame.loc[row, column] = value
    frame.to_parquet(file)
    with pytest.raises(DataError, match=message):
        build(shop, tmp_path / "out", shards=2, drop=["photo"])
    assert not (tmp_path / "out").exists()


def test_wrong_arguments_are_refused(
    shop: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    schema = yaml.safe_load((shop / "schema.yaml").read_text(encoding="utf-8"))
    schema["features"].append({"name": "cf", "kind": "collaborative", "side": "pair"})
    (shop / "schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
    with pytest.raises(DataError, match="omit it with --drop cf"):
        build(shop, tmp_path / "out")
    with pytest.raises(SystemExit):
        main(["--data", str(shop), "--log", "log.csv", "--out", str(tmp_path / "out")])
    assert "give either --data" in capsys.readouterr().err
    assert main(["--data", str(shop), "--drop", "titel", "--out", str(tmp_path / "out")]) == 2
    assert "did you mean 'title'" in capsys.readouterr().err
