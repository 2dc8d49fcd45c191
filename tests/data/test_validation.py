"""Validation: a valid shop passes, and one pass finds every planted fault."""

from __future__ import annotations

import io
import pathlib
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from mmrank.data.tables import DataError, load_dataset
from mmrank.data.validation import ValidationReport, validate_dataset
from mmrank.schema import SchemaError

Frames = dict[str, pd.DataFrame]
Change = Callable[[dict[str, Any], Frames], object]

NOW = 1_700_000_000.0
SCHEMA: dict[str, Any] = {
    "name": "three shelves",
    "media": "photos",
    "lists": {"user": "user_id", "time": "time", "split": "split"},
    "events": "events.parquet",
    "features": [
        {"name": "query", "kind": "text", "side": "query"},
        {"name": "title", "kind": "text", "side": "item"},
        {"name": "photo", "kind": "image", "side": "item"},
        {"name": "price", "kind": "number", "side": "item"},
        {"name": "history", "kind": "history", "side": "user"},
        {"name": "grade", "kind": "number", "side": "label"},
        {"name": "position", "kind": "number", "side": "label"},
    ],
}


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), "red").save(file, "PNG")
    return file.getvalue()


def shop() -> Frames:
    """Four items; one list each for train, valid and test, of two, two and three candidates."""
    return {
        "catalog": pd.DataFrame(
            {
                "item_id": ["a", "b", "c", "d"],
                "title": ["red", "green", "", "blue"],
                "photo": ["a.png", "b.png", None, "d.png"],
                "price": ["1.5", "2", None, "4"],
            }
        ),
        "lists": pd.DataFrame(
            {
                "list_id": ["1", "1", "2", "2", "3", "3", "3"],
                "item_id": ["a", "b", "b", "c", "a", "c", "d"],
                "user_id": ["u", "u", "v", "v", "u", "u", "u"],
                "time": [NOW + t for t in (10.0, 10.0, 20.0, 20.0, 30.0, 30.0, 30.0)],
                "split": ["train", "train", "valid", "valid", "test", "test", "test"],
                "query": ["x", "x", "y", "y", "x", "x", "x"],
                "grade": [1.0, 0.0, 0.0, 2.0, 0.0, 0.0, 3.0],
                "position": [1, 2, 1, 2, 1, 2, 3],
            }
        ),
        "events": pd.DataFrame(
            {
                "user_id": ["u", "v"],
                "item_id": ["a", "d"],
                "event_type": ["view", "buy"],
                "time": [NOW + 1.0, NOW + 2.0],
            }
        ),
    }


def write(folder: pathlib.Path, *changes: Change) -> pathlib.Path:
    """Writes the shop to a folder, after changes to its schema and tables."""
    schema, frames = yaml.safe_load(yaml.safe_dump(SCHEMA)), shop()
    for change in changes:
        change(schema, frames)
    for name, frame in frames.items():
        frame.to_parquet(folder / f"{name}.parquet", index=False)
    (folder / "schema.yaml").write_text(yaml.safe_dump(schema))
    (folder / "photos").mkdir()
    for name in ("a", "b", "d"):
        (folder / "photos" / f"{name}.png").write_bytes(picture())
    return folder


def set_cell(table: str, row: int, column: str, value: object) -> Change:
    """A change of one cell; rows are counted from 1, as in reports."""

    def change(_: dict[str, Any], frames: Frames) -> None:
        frame = frames[table].astype({column: object})
        frame.loc[row - 1, column] = value
        if column in ("grade", "position", "time"):
            frame = frame.astype({column: float})
        frames[table] = frame

    return change


def set_feature(index: int, **keys: str) -> Change:
    return lambda schema, _: schema["features"][index].update(keys)


def lines(report: ValidationReport) -> list[str]:
    return [str(f) for f in report.findings]


def test_a_valid_shop_has_no_findings(tmp_path: pathlib.Path) -> None:
    report = validate_dataset(write(tmp_path))
    assert lines(report) == []
    report.raise_if_errors()
    assert report.counts == {
        "items": 4,
        "lists": 3,
        "candidates": 7,
        "queries": 2,
        "users": 2,
        "events": 2,
        "without_events": {"items": 2, "users": 0},
        "splits": {
            "train": {"lists": 1, "candidates": 2},
            "valid": {"lists": 1, "candidates": 2},
            "test": {"lists": 1, "candidates": 3},
        },
        "media": {"photo": {"named": 3, "missing": 0, "checked": 3, "broken": 0}},
        "empty_texts": {"query": 0, "title": 1},
        "found": (),
    }


# Each fault alone gives exactly one finding.
ERRORS: list[tuple[str, Change, list[str]]] = [
    (
        "unknown item",
        set_cell("lists", 7, "item_id", "zz"),
        [
            "lists.parquet, column 'item_id': items that are not in the catalogue [1: row 7: 'zz']",
            "add",
        ],
    ),
    (
        "duplicate item id",
        lambda _, f: f.update(catalog=pd.concat([f["catalog"], f["catalog"].iloc[[1]]])),
        [
            "catalog.parquet, column 'item_id'",
            "already appear in an earlier row [1: row 5: 'b']",
            "keep one row",
        ],
    ),
    (
        "missing item id",
        lambda _, f: f.update(
            catalog=pd.concat([f["catalog"], pd.DataFrame({"item_id": [" "], "title": ["x"]})])
        ),
        ["catalog.parquet, column 'item_id': items without an id [1: row 5: ' ']", "give every"],
    ),
    (
        "missing list id",
        lambda _, f: f.update(
            lists=pd.concat([f["lists"], f["lists"].iloc[[6]].assign(list_id=None)])
        ),
        ["lists.parquet, column 'list_id': rows without a list id [1: row 8: missing]"],
    ),
    (
        "negative grade",
        set_cell("lists", 2, "grade", -1.0),
        ["lists.parquet, column 'grade'", "[1: row 2: -1.0]", "use 0 for an irrelevant item"],
    ),
    (
        "infinite grade",
        set_cell("lists", 4, "grade", np.inf),
        ["column 'grade': grades that are negative or infinite [1: row 4: inf]"],
    ),
    (
        "missing grade",
        set_cell("lists", 3, "grade", np.nan),
        ["column 'grade': grades that are missing [1: row 3: missing]"],
    ),
    (
        "position below one",
        set_cell("lists", 3, "position", 0.0),
        ["column 'position': values below 1 [1: row 3: 0.0]; a position is at least 1"],
    ),
    (
        "item twice in a list",
        set_cell("lists", 6, "item_id", "a"),
        ["column 'item_id': items that already appear in their list [1: row 6: 'a']", "keep one"],
    ),
    (
        "a list of one",
        lambda _, f: f.update(lists=f["lists"].drop(index=2)),
        ["column 'list_id': lists with fewer than two candidates [1: row 3: '2']", "drop the list"],
    ),
    (
        "a list in two splits",
        set_cell("lists", 6, "split", "train"),
        [
            "column 'split': rows with another split than the first row of their list "
            "[1: row 6: 'train']"
        ],
    ),
    (
        "a list with two queries",
        set_cell("lists", 4, "query", "z"),
        [
            "column 'query': rows with another query than the first row of their list "
            "[1: row 4: 'z']"
        ],
    ),
    (
        "a list with two users",
        set_cell("lists", 2, "user_id", None),
        [
            "column 'user_id': rows with another user than the first row of their list "
            "[1: row 2: missing]"
        ],
    ),
    (
        "a number that is none",
        set_cell("catalog", 4, "price", "4 EUR"),
        ["catalog.parquet, column 'price': values that are not numbers [1: row 4: '4 EUR']"],
    ),
    (
        "a time that is none",
        lambda _, f: f.update(events=f["events"].assign(time=["2023-11-14", "soon"])),
        ["events.parquet, column 'time': values that are not times [1: row 2: 'soon']", "ISO"],
    ),
    (
        "no time",
        set_cell("events", 1, "time", np.nan),
        ["events.parquet, column 'time': rows without a time [1: row 1: missing]"],
    ),
    (
        "no relevant item in training",
        set_cell("lists", 1, "grade", 0.0),
        ["lists.parquet, column 'grade': no training list has a relevant item"],
    ),
    (
        "unknown kind",
        set_feature(2, kind="picture"),
        ["schema.yaml: feature 'photo' has the unknown kind 'picture'; known: attributes, "],
    ),
    (
        "a kind on the wrong side",
        lambda s, _: s["features"].append({"name": "user_id", "kind": "image", "side": "user"}),
        ["schema.yaml: feature 'user_id' of kind image cannot have side user; use query, item"],
    ),
    (
        "no grade",
        lambda s, _: s["features"].pop(5),
        ["schema.yaml: no label grade, click, cart or purchase", "add a feature {name: grade"],
    ),
    (
        "a column that loading would overwrite",
        lambda s, f: (
            s["features"][3].update(column="_item"),
            f.update(catalog=f["catalog"].rename(columns={"price": "_item"})),
        ),
        ["catalog.parquet, column '_item': the name is reserved for a column that loading adds"],
    ),
    (
        "missing column",
        set_feature(1, column="titel"),
        ["catalog.parquet, column 'titel': no such column, which feature title names", "'title'?"],
    ),
    (
        "missing file",
        lambda s, _: s.update(events="evnets.parquet"),
        ["evnets.parquet: no such file, but the schema names it"],
    ),
]

WARNINGS: list[tuple[str, Change, list[str]]] = [
    (
        "event of an unknown item",
        set_cell("events", 2, "item_id", "zz"),
        ["events.parquet, column 'item_id': items that are not in the catalogue [1: row 2: 'zz']"],
    ),
    (
        "all grades equal",
        lambda _, f: f.update(lists=f["lists"].assign(grade=1.0)),
        ["column 'grade': all grades are equal"],
    ),
    (
        "an infinite number",
        set_cell("catalog", 1, "price", "inf"),
        ["column 'price': infinite numbers [1: row 1: inf]; they count as missing"],
    ),
    (
        "a number beyond float32",
        set_cell("catalog", 1, "price", "1e300"),
        ["column 'price': numbers beyond 3.4e38, the limit of float32 [1: row 1: 1e+300]"],
    ),
    (
        "times in milliseconds",
        lambda _, f: f.update(events=f["events"].assign(time=[NOW * 1000, NOW + 2])),
        ["events.parquet, column 'time': times that look like milliseconds [1: row 1", "by 1000"],
    ),
    (
        "an event after the last list",
        lambda _, f: f.update(events=f["events"].assign(time=[NOW + 1, NOW + 30])),
        [
            "events.parquet, column 'time': events that are not before the last list",
            "[1: row 2: 1700000030.0]; they are never used",
        ],
    ),
    (
        "an empty feature",
        lambda _, f: f.update(catalog=f["catalog"].assign(title=None)),
        ["column 'title': all values of title are missing"],
    ),
    (
        "no list to test on",
        lambda _, f: f.update(lists=f["lists"].iloc[:4]),
        ["column 'split': the split test has no lists; there is nothing to evaluate on"],
    ),
    (
        "a photo that is not there",
        set_cell("catalog", 2, "photo", "zz.png"),
        ["column 'photo': missing files [1: row 2: 'zz.png' (no such file)]"],
    ),
    (
        "a photo outside the folder",
        set_cell("catalog", 2, "photo", "../schema.yaml"),
        ["missing files [1: row 2: '../schema.yaml' (is outside the media folder)]"],
    ),
    (
        "no photos at all",
        lambda s, _: s.update(media="fotos.zip"),
        ["schema.yaml", "fotos.zip: no such folder or archive", "all media count as absent"],
    ),
]


@pytest.mark.parametrize(
    ("change", "words"), [e[1:] for e in ERRORS], ids=[e[0].replace(" ", "-") for e in ERRORS]
)
def test_each_error_is_found_alone(
    tmp_path: pathlib.Path, change: Change, words: list[str]
) -> None:
    report = validate_dataset(write(tmp_path, change))
    assert len(report.errors) == 1, lines(report)
    assert not report.warnings
    for word in words:
        assert word in str(report.errors[0])
    with pytest.raises(DataError) as caught:
        report.raise_if_errors()
    assert str(report.errors[0]) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"), [w[1:] for w in WARNINGS], ids=[w[0].replace(" ", "-") for w in WARNINGS]
)
def test_each_warning_is_found_alone(
    tmp_path: pathlib.Path, change: Change, words: list[str]
) -> None:
    report = validate_dataset(write(tmp_path, change))
    assert len(report.warnings) == 1, lines(report)
    report.raise_if_errors()
    for word in words:
        assert word in str(report.warnings[0])


def test_all_faults_are_found_in_one_pass(tmp_path: pathlib.Path) -> None:
    faults = {
        "lists with fewer than two candidates": lambda _, f: f.update(lists=f["lists"].iloc[1:]),
        "not numbers": set_cell("catalog", 4, "price", "4 EUR"),
        "items that are not in the catalogue [1": set_cell("lists", 7, "item_id", "zz"),
        "negative": set_cell("lists", 5, "grade", -2.0),
        "no such column, which feature title": set_feature(1, column="titel"),
        "rows with another query": set_cell("lists", 4, "query", "z"),
        "rows without a time": set_cell("events", 1, "time", np.nan),
        "all values of position": lambda _, f: f.update(lists=f["lists"].assign(position=None)),
        "no such file)": set_cell("catalog", 2, "photo", "zz.png"),
    }
    report = validate_dataset(write(tmp_path, *faults.values()))
    text = str(report)
    for words in faults:
        assert words in text


def test_clicks_are_enough_to_learn_from(tmp_path: pathlib.Path) -> None:
    def click(schema: dict[str, Any], frames: Frames) -> None:
        schema["features"][5]["name"] = "click"
        lists = frames["lists"].rename(columns={"grade": "click"})
        frames["lists"] = lists.assign(click=(lists["click"] > 0).astype(float))

    assert lines(validate_dataset(write(tmp_path, click))) == []
    assert load_dataset(tmp_path).schema.label("grade") is None


def test_ids_join_in_any_spelling(tmp_path: pathlib.Path) -> None:
    """Blanks, slashes, umlauts and Chinese characters are part of an id."""

    def rename(_: dict[str, Any], frames: Frames) -> None:
        for table in ("catalog", "lists", "events"):
            frames[table] = frames[table].assign(item_id="货 号/" + frames[table]["item_id"] + " ü")

    assert lines(validate_dataset(write(tmp_path, rename))) == []
    dataset = load_dataset(tmp_path)
    assert list(dataset.item_ids) == [f"货 号/{name} ü" for name in "abcd"]
    assert len(dataset.lists) == 7


def test_only_the_first_rows_are_shown(tmp_path: pathlib.Path) -> None:
    report = validate_dataset(
        write(tmp_path, lambda _, f: f.update(lists=f["lists"].assign(grade=-1.0)))
    )
    finding = next(f for f in report.errors if "negative" in f.what)
    assert finding.count == 7
    assert finding.rows == ((1, "-1.0"), (2, "-1.0"), (3, "-1.0"))
    assert "[7: row 1: -1.0, row 2: -1.0, row 3: -1.0, …]" in str(finding)


def test_broken_images_are_a_warning(tmp_path: pathlib.Path) -> None:
    write(tmp_path)
    (tmp_path / "photos" / "a.png").write_bytes(picture()[:-20])
    (tmp_path / "photos" / "d.png").write_text("<html>")
    report = validate_dataset(tmp_path, media="all")
    assert not report.errors
    assert report.counts["media"]["photo"] == {
        "named": 3,
        "missing": 0,
        "checked": 3,
        "broken": 2,
    }
    (line,) = lines(report)
    assert "unreadable image files [2: row 1: 'a.png' (truncated), row 4: 'd.png' (not an" in line
    assert lines(validate_dataset(tmp_path, media="none")) == []


def test_a_photo_that_claims_too_many_pixels_is_counted(tmp_path: pathlib.Path) -> None:
    """100 megapixels: first a header without pixels, then a complete image of few bytes."""
    write(tmp_path)
    size = struct.pack(">IIBBBBB", 10_000, 10_000, 8, 2, 0, 0, 0)
    header = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", size), (b"IDAT", zlib.compress(b"")))
    )
    (tmp_path / "photos" / "a.png").write_bytes(header)
    Image.new("1", (10_000, 10_000)).save(tmp_path / "photos" / "d.png")
    report = validate_dataset(tmp_path)
    assert not report.errors
    assert report.counts["media"]["photo"]["broken"] == 2
    assert str(report).count("too large: 100 megapixels") == 2


def test_a_query_photo_counts_once_for_several_lists(tmp_path: pathlib.Path) -> None:
    names = ["a.png", "a.png", "zz.png", "zz.png", "a.png", "a.png", "a.png"]
    write(
        tmp_path,
        lambda s, _: s["features"].append({"name": "scan", "kind": "image", "side": "query"}),
        lambda _, f: f.update(lists=f["lists"].assign(scan=names)),
    )
    (tmp_path / "photos" / "a.png").write_bytes(b"")
    report = validate_dataset(tmp_path)
    assert report.counts["media"]["scan"] == {
        "named": 2,
        "missing": 1,
        "checked": 1,
        "broken": 1,
    }
    assert [w for w in lines(report) if "'scan'" in w] == [
        "lists.parquet, column 'scan': missing files [1: row 3: 'zz.png' (no such "
        "file)]; these queries count as having no scan",
        "lists.parquet, column 'scan': unreadable image files [1: row 1: 'a.png' (empty file)]; "
        "these queries count as having no scan",
    ]


def test_if_all_files_are_missing_an_existing_name_is_shown(tmp_path: pathlib.Path) -> None:
    write(tmp_path, lambda _, f: f.update(catalog=f["catalog"].assign(photo=["a", "b", "c", "d"])))
    (line,) = lines(validate_dataset(tmp_path))
    assert "missing files [4: " in line
    assert "; an existing file is named '" in line
    assert ".png'" in line


def test_without_a_split_column_lists_are_divided_by_hash(tmp_path: pathlib.Path) -> None:
    write(
        tmp_path,
        lambda s, _: s["lists"].pop("split"),
        lambda _, f: f.update(
            lists=pd.concat(
                [f["lists"].assign(list_id=f["lists"]["list_id"] + f"-{i}") for i in range(60)]
            )
        ),
    )
    report = validate_dataset(tmp_path)
    lists = load_dataset(tmp_path).lists
    for name, counts in report.counts["splits"].items():
        inside = lists[lists["_split"] == name]
        assert counts == {"lists": inside["list_id"].nunique(), "candidates": len(inside)}
    assert lines(report) == []


def test_an_unusable_schema_is_an_error(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SchemaError, match="no such file"):
        validate_dataset(tmp_path)


def test_unknown_media_options_are_refused(tmp_path: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="unknown media='some'; known: all, sample, none"):
        validate_dataset(write(tmp_path), media="some")


def test_nothing_is_written(tmp_path: pathlib.Path) -> None:
    write(tmp_path)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}
    validate_dataset(tmp_path, media="all")
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before
