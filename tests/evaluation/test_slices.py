from __future__ import annotations

import pathlib
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from mmrank.data.frequency import counts_at_lists, training_counts
from mmrank.data.tables import DataError, Dataset, load_dataset
from mmrank.evaluation.slices import find_slices, query_length

Shop = Callable[..., Dataset]


def marked(dataset: Dataset) -> dict[str, str]:
    """By slice: for each test row, 1 if it is in the slice and 0 otherwise."""
    parts = find_slices(dataset, dataset.rows("test"))
    return {part.name: "".join(str(int(row)) for row in part.rows) for part in parts}


def test_slices_of_the_shop(shop: Shop) -> None:
    assert marked(shop()) == {
        # a and b have two events up to the last training list; d is in a training list.
        "head items": "11010011",
        "middle items": "00000000",
        "tail items": "00000000",
        "cold items": "00101100",
        "rare items": "11111111",
        "unseen items": "00101100",
        "no title": "00000100",
        "no tags": "00101000",
        # b's file does not exist, c has no photo, and e has an empty text.
        "no photo": "01111101",
        "short queries": "11100000",
        "long queries": "00011100",
        "with query": "11111100",
        "without query": "00000011",
        # u has two events before 100, v two before 200; the third list has no user.
        "new shoppers": "11111100",
    }


def test_slices_depend_on_the_schema(shop: Shop) -> None:
    features = [
        {"name": "title", "kind": "text", "side": "item"},
        {"name": "grade", "kind": "number", "side": "label"},
    ]
    dataset = shop(changed={"features": features, "events": None, "lists": {"split": "split"}})
    always = {"head items", "middle items", "tail items", "cold items"}
    assert set(marked(dataset)) == always | {"rare items", "no title"}


def test_lists_whose_query_has_no_photo(shop: Shop) -> None:
    features = [
        {"name": "title", "kind": "text", "side": "item"},
        {"name": "asked", "kind": "image", "side": "query", "column": "query"},
        {"name": "grade", "kind": "number", "side": "label"},
    ]
    dataset = shop(changed={"features": features})
    names = {"Red KURTA": "a.jpg", "红裙子好看": "gone.jpg", "blue leather shoes": "d.jpg"}
    dataset.lists["query"] = dataset.lists["query"].map(names)
    (part,) = (p for p in find_slices(dataset, dataset.lists) if p.name == "no asked")
    # The second list's file does not exist; the third list has no file.
    assert "".join(str(int(row)) for row in part.rows) == "0001111100"
    assert part.of == "lists"


def test_a_user_with_three_events_is_not_new(shop: Shop) -> None:
    from_conftest = shop()
    rows = from_conftest.rows("test").copy()
    rows.loc[rows["list_id"] == "1", "_time"] = 101.0
    (new,) = (s for s in find_slices(from_conftest, rows) if s.name == "new shoppers")
    assert "".join(str(int(row)) for row in new.rows) == "00011100"


def test_head_is_a_fifth_of_the_items_with_events(shop: Shop) -> None:
    # Without events, training rows are counted: a and e one, b and c two, d four.
    lists = {
        "list_id": [*"1111222233", *"99999"],
        "query": [None] * 15,
        "item_id": [*"abcdbcdd", "d", "d", *"abcde"],
        "grade": [1] * 15,
        "split": ["train"] * 10 + ["test"] * 5,
    }
    lists["item_id"][8:10] = ["d", "e"]
    dataset = shop(lists, {"events": None, "lists": {"split": "split"}})
    np.testing.assert_array_equal(training_counts(dataset), [1, 2, 2, 4, 1])
    found = marked(dataset)
    assert found["head items"] == "00010"
    # Half of five rounds up to three: a and e with one row, and the first item with two.
    assert found["tail items"] == "11101"
    assert found["middle items"] == found["cold items"] == "00000"


def test_four_slices_partition_the_candidates(shop: Shop) -> None:
    counts = {"a": 9, "b": 6, "c": 3, "d": 1}  # e has none
    shown = [item for item, count in counts.items() for _ in range(count)]
    lists = {
        "list_id": [*range(len(shown)), *"99999"],
        "query": [None] * (len(shown) + 5),
        "item_id": [*shown, *"abcde"],
        "grade": [1] * (len(shown) + 5),
        "split": ["train"] * len(shown) + ["test"] * 5,
    }
    lists["list_id"] = [str(i) for i in lists["list_id"]]
    found = marked(shop(lists, {"events": None, "lists": {"split": "split"}}))
    assert found["head items"] == "10000"
    assert found["middle items"] == "01000"
    assert found["tail items"] == "00110"
    assert found["cold items"] == "00001"
    assert found["rare items"] == "00111"


def test_a_list_counts_only_training_events_before_its_time(shop: Shop) -> None:
    dataset = shop()
    rows = dataset.rows("test").iloc[:3].copy()  # a, b and c for user u
    rows["_time"] = 25.0  # after u's a (10) and b (20), before v's b (30) and a (40)
    np.testing.assert_array_equal(counts_at_lists(dataset, rows), [1, 1, 0])
    rows["_time"] = 1000.0  # u's event of b at 100 is after the last training list, at 50
    np.testing.assert_array_equal(counts_at_lists(dataset, rows), [2, 2, 0])


def test_photos_in_an_archive(shop_folder: Callable[..., pathlib.Path]) -> None:
    folder = shop_folder(changed={"media": "photos.zip"})
    with zipfile.ZipFile(folder / "photos.zip", "w") as archive:
        archive.writestr("gone.jpg", b"")
    assert marked(load_dataset(folder))["no photo"] == "10101110"
    (folder / "photos.zip").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"photos\.zip"):
        marked(load_dataset(folder))


@pytest.mark.parametrize(
    ("query", "words"),
    [("", 0), ("red kurta", 2), ("T恤", 1.5), ("红色连衣裙", 2.5), ("a b c", 3), ("--", 0)],
)
def test_query_length(query: str, words: float) -> None:
    assert query_length(query) == words
