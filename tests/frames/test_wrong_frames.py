"""Values of DataFrames in the written dataset, and values that cannot be written; no training."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mmrank.data.tables import DataError, load_dataset
from mmrank.frames.columns import Columns
from mmrank.frames.learn import fit
from mmrank.frames.writing import write_frames

BIG = 2**53 + 1  # the first whole number that a float cannot represent
COLUMNS = Columns(item="sku", grade="grade", group="list", items={"category": ("size",)})


def judged(**columns: Any) -> pd.DataFrame:
    """Three lists of two candidates."""
    made = {"list": list("aabbcc"), "sku": ["1", "2"] * 3, "grade": [0, 1] * 3}
    return pd.DataFrame(made | columns)


def catalog(**columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"sku": ["1", "2"], "size": ["s", "m"]} | columns)


def written(folder: pathlib.Path, column: str, of: pd.DataFrame, kind: str) -> list[Any]:
    """The values of a catalogue column after writing and reading it."""
    columns = Columns(item="sku", grade="grade", group="list", items={kind: (column,)})
    write_frames(columns, judged(), of, folder / "data")
    values = load_dataset(folder / "data").catalog[column]
    return [None if not isinstance(v, np.ndarray) and pd.isna(v) else v for v in values]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        ([38, 39], ["38", "39"]),
        ([38.0, 38.5], ["38", "38.5"]),
        (pd.Series([38.0, "x"], dtype=object), ["38", "x"]),
        (pd.Categorical([38, None]), ["38", None]),
        (pd.Categorical([True, None]), ["True", None]),
        (pd.array([BIG, None], dtype="Int64"), [str(BIG), None]),
        (pd.Series([BIG, None], dtype=object), [str(BIG), None]),
        (pd.array([2**63 + 1, None], dtype="UInt64"), [str(2**63 + 1), None]),
        ([True, False], ["True", "False"]),
        ([decimal.Decimal("1.10"), None], ["1.10", None]),
        (pd.period_range("2020-01", periods=2, freq="M"), ["2020-01", "2020-02"]),
        (pd.Series(["a\ud800", b"b"], dtype=object), ["a\ufffd", "b"]),
        (pd.Series(["red\0dress", None], dtype=object), ["red\0dress", None]),
    ],
)
def test_a_category_is_written_as_its_text(
    tmp_path: pathlib.Path, values: Sequence[Any], read: list[Any]
) -> None:
    assert written(tmp_path, "size", catalog(size=values), "category") == read


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (pd.Categorical([38, None]), [38.0, None]),
        (pd.Series([True, None], dtype=object), [1.0, None]),
        ([decimal.Decimal("9.50"), None], [9.5, None]),
        (pd.Series([10**30, "2"], dtype=object), [1e30, 2.0]),
        (pd.array([1, None], dtype="Int64"), [1.0, None]),
    ],
)
def test_a_number_is_written_as_a_number(
    tmp_path: pathlib.Path, values: Sequence[Any], read: list[float | None]
) -> None:
    assert written(tmp_path, "price", catalog(price=values), "number") == read


def test_ids_beyond_what_a_float_holds_and_any_index(tmp_path: pathlib.Path) -> None:
    ids = [BIG, BIG + 1]
    rows = judged(sku=ids * 3).set_index(np.zeros(6, int))
    write_frames(COLUMNS, rows, catalog(sku=ids).set_index(pd.Index(["x", "x"])), tmp_path / "d")
    dataset = load_dataset(tmp_path / "d")
    assert dataset.item_ids.tolist() == [str(BIG), str(BIG + 1)]
    assert dataset.lists["_item"].tolist() == [0, 1] * 3


def test_times_with_zones(tmp_path: pathlib.Path) -> None:
    """Midnight in UTC is 8:00 in Shanghai."""
    utc = datetime.timezone.utc
    shanghai = datetime.timezone(datetime.timedelta(hours=8))
    times = [datetime.datetime(2023, 11, 14, tzinfo=utc)] * 2
    times += [datetime.datetime(2023, 11, 14, 8, tzinfo=shanghai)] * 4
    columns = dataclasses.replace(COLUMNS, time="at")
    write_frames(columns, judged(at=times), catalog(), tmp_path / "d")
    assert load_dataset(tmp_path / "d").lists["_time"].tolist() == [1_699_920_000.0] * 6


@pytest.mark.parametrize(
    ("rows", "items", "message"),
    [
        (
            judged(),
            pd.concat([catalog(), catalog()[["size"]]], axis=1),
            "catalog: 2 columns are called 'size', which `category` names; give each a name",
        ),
        (
            pd.concat([judged(), judged()[["grade"]]], axis=1),
            catalog(),
            "judged: 2 columns are called 'grade'",
        ),
        (
            judged(),
            catalog().set_index("sku"),
            r"catalog: no column 'sku', .*it is the index: give catalog\.reset_index\(\)",
        ),
        (judged(list=[*"aabb", None, None]), catalog(), "column 'list': 2 rows without a list id"),
        (
            judged(),
            catalog(size=[{"s"}, "m"]),
            r"column 'size': row 1: \{'s'\} \(set\) is neither a text",
        ),
        (
            judged(),
            catalog(size=["s", {"en": "m"}]),
            "column 'size': row 2: .* is neither a text nor",
        ),
        (judged()[:0], catalog(), "judged: 0 lists of two candidates or more"),
        (pd.DataFrame(), pd.DataFrame(), "judged: no column 'sku', which `item` names"),
        (pd.DataFrame(columns=pd.MultiIndex.from_tuples([("a", "sku")])), None, "no column 'sku'"),
    ],
)
def test_unwritable_values_are_one_line(
    tmp_path: pathlib.Path, rows: pd.DataFrame, items: pd.DataFrame, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        write_frames(COLUMNS, rows, items, tmp_path / "d")
    assert "\n" not in str(caught.value)


def test_a_column_named_like_one_that_fit_adds_is_refused(tmp_path: pathlib.Path) -> None:
    columns = Columns(item="sku", grade="grade", group="list", pair=("split",))
    with pytest.raises(
        DataError, match="the column 'split' has the name of a column that `fit` adds"
    ):
        write_frames(columns, judged(split=1.5), catalog(), tmp_path / "d")


def test_a_photo_is_a_path_or_bytes(tmp_path: pathlib.Path) -> None:
    columns = Columns(item="sku", grade="grade", group="list", items={"image": ("photo",)})
    with pytest.raises(DataError, match=r"media: 5 \(int\) is neither the bytes of a file nor"):
        write_frames(columns, judged(), catalog(photo=[5, 6]), tmp_path / "d")


def test_a_config_is_a_file_or_a_mapping() -> None:
    with pytest.raises(ValueError, match="config: expected a file or a mapping, got list"):
        fit(judged(), catalog(), item="sku", config=[1])  # type: ignore[arg-type]
