"""Checks of the lists: members, grades and splits. They yield findings and raise no errors."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np
import pandas as pd

from mmrank.data.cells import as_ids
from mmrank.data.checks import (
    as_numbers,
    check_feature,
    check_references,
    check_times,
    known_ids,
    texts,
)
from mmrank.data.findings import TRAINING, Finding, found, whole
from mmrank.data.splits import SPLITS, hash_splits
from mmrank.schema import COMPUTED, Schema


def check_lists(
    schema: Schema, lists: pd.DataFrame, items: Collection[str] | None
) -> Iterator[Finding]:
    """Finds inconsistent lists, and grades and splits that cannot be used.

    Args:
      items: The catalogue's item ids; None if they could not be read.
    """
    file, names = schema.lists.file, schema.lists
    if not len(lists):
        yield whole(file, None, "no rows", "add the candidates of the lists")
    for feature in schema.side("query", "user", "pair", "label"):
        yield from check_feature(file, lists, feature)
    if names.item in lists:
        yield from check_references(file, lists[names.item], items)
    if names.time is not None and names.time in lists:
        yield from check_times(file, lists[names.time], names.time, needed=_has_user(schema, lists))
    if names.list in lists:
        ids = known_ids(lists[names.list])
        yield from found(
            file,
            names.list,
            ids.isna(),
            lists[names.list],
            "rows without a list id",
            "give every row a list id",
        )
        yield from _check_members(schema, lists, ids)
    yield from _check_splits_and_grades(schema, lists)


def _has_user(schema: Schema, lists: pd.DataFrame) -> np.ndarray:
    """Rows of a known user, bool [rows]; without a time, later events would count for them."""
    user = schema.lists.user
    if user is None or user not in lists:
        return np.zeros(len(lists), dtype=bool)
    return known_ids(lists[user]).notna().to_numpy()


def split_column(schema: Schema, lists: pd.DataFrame) -> pd.Series | None:
    """The split of every row, as loading assigns it; None if a column it needs is missing."""
    names = schema.lists
    if names.split is not None:
        return lists[names.split].astype(object) if names.split in lists else None
    if names.list not in lists:
        return None
    return pd.Series(hash_splits(as_ids(lists[names.list])), index=lists.index)


def _check_members(schema: Schema, lists: pd.DataFrame, ids: pd.Series) -> Iterator[Finding]:
    """Finds repeated items, lists that are too short, and rows that differ within their list."""
    file, names = schema.lists.file, schema.lists
    named = ids.notna()
    if names.item in lists:
        pairs = pd.DataFrame({"list": ids, "item": known_ids(lists[names.item])})
        twice = pairs.duplicated() & pairs.notna().all(axis=1)
        yield from found(
            file,
            names.item,
            twice,
            pairs["item"],
            "items that already appear in their list",
            "keep one row per list and item",
        )
    sizes = ids.map(ids.value_counts())
    yield from found(
        file,
        names.list,
        named & ~ids.duplicated() & (sizes < 2),
        ids,
        "lists with fewer than two candidates",
        "add candidates or drop the list",
    )
    asked = schema.side("query", "user")
    same = {f.column: (f.side, True) for f in asked if f.kind not in COMPUTED}
    for column, what, fatal in (
        (names.user, "user", True),
        (names.split, "split", True),
        (names.time, "time", False),
    ):
        if column is not None:
            same[column] = (what, fatal)
    for column, (what, fatal) in same.items():
        if column in lists:
            values = texts(lists[column])
            differs = named & (values != values.groupby(ids).transform("first"))
            yield from found(
                file,
                column,
                differs,
                lists[column],
                f"rows with another {what} than the first row of their list",
                f"give all rows of a list the same {what}",
                fatal,
            )


def _check_splits_and_grades(schema: Schema, lists: pd.DataFrame) -> Iterator[Finding]:
    file, split = schema.lists.file, split_column(schema, lists)
    if split is None:
        return
    if schema.lists.split is not None:
        yield from found(
            file,
            schema.lists.split,
            ~split.isin(SPLITS),
            split,
            "values that are not a split",
            f"use one of {', '.join(SPLITS)}",
        )
    for name, use in (("valid", "choose the best checkpoint by"), ("test", "evaluate on")):
        if len(lists) and not (split == name).any():
            yield whole(
                file,
                schema.lists.split,
                f"the split {name} has no lists",
                f"there is nothing to {use}",
                fatal=False,
                concerns=TRAINING,
            )
    feature = schema.label("grade")
    if feature is None or feature.column not in lists or not len(lists):
        return
    column = feature.column
    grades = as_numbers(lists[column])
    train = (split == "train").to_numpy()
    if not (grades[train] > 0).any():
        yield whole(
            file,
            column,
            "no training list has a relevant item (grade above 0)",
            "grade relevant items above 0, and put some lists in the split train",
            concerns=TRAINING,
        )
    if len(np.unique(grades[np.isfinite(grades)])) == 1:
        yield whole(
            file,
            column,
            "all grades are equal, so every order is equally good",
            "grade better items higher",
            fatal=False,
        )
