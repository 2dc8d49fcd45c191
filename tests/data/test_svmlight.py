"""SVMlight files: vectors, query ids or groups, and documents from comments."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest

from mmrank.data.reading import columns_of, read_table
from mmrank.data.svmlight import read_svmlight
from mmrank.data.tables import DataError, load_dataset
from mmrank.schema import Reading

LINES = (
    "2 qid:10 1:0.5 3:1e-1 #docid = GX-1 inc = 1 prob = 0.08\n"
    "0 qid:10 2:-1 #docid = GX-2\n"
    "\n"
    "# a line of comment alone\n"
    "1 qid:11 1:2 2:3 3:4\n"
)


def test_a_row_is_a_label_a_query_a_document_and_a_vector(tmp_path: pathlib.Path) -> None:
    (tmp_path / "vali.txt").write_text(LINES)
    frame = read_table(tmp_path / "vali.txt")
    assert list(frame) == columns_of(tmp_path / "vali.txt")
    assert frame["label"].tolist() == [2, 0, 1]
    assert frame["qid"].tolist() == ["10", "10", "11"]
    assert frame["item_id"].tolist() == ["GX-1", "GX-2", "vali-3"]
    assert frame["pair_id"].tolist() == ["10/GX-1", "10/GX-2", "11/vali-3"]
    assert frame["part"].tolist() == ["valid"] * 3
    expected = np.array([[0.5, 0, 0.1], [0, -1, 0], [2, 3, 4]], np.float32)
    np.testing.assert_array_equal(np.stack(frame["features"]), expected)


def test_files_are_as_wide_as_the_widest_and_may_count_from_zero(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train.txt").write_text("1 qid:1 2:5\n")
    (tmp_path / "test.txt").write_text("1 qid:2 4:7\n")
    frame = read_svmlight([tmp_path / "train.txt", tmp_path / "test.txt"])
    np.testing.assert_array_equal(np.stack(frame["features"]), [[0, 5, 0, 0], [0, 0, 0, 7]])
    (tmp_path / "zero.txt").write_text("1 qid:1 0:9 1:5\n")
    frame = read_svmlight([tmp_path / "zero.txt"])
    np.testing.assert_array_equal(np.stack(frame["features"]), [[9, 5]])


@pytest.mark.parametrize("named", [True, False])
def test_lists_may_be_in_a_file_of_groups(tmp_path: pathlib.Path, named: bool) -> None:
    (tmp_path / "rank.train").write_text("1 1:1\n0 2:1\n2 1:3\n")
    (tmp_path / ("sizes.txt" if named else "rank.train.query")).write_text("2\n1\n")
    actual = Reading(format="svmlight", groups="sizes.txt" if named else None)
    frame = read_table(tmp_path / "rank.train", reading=actual)
    assert frame["qid"].tolist() == ["rank-1", "rank-1", "rank-2"]


@pytest.mark.parametrize(
    ("text", "groups", "words"),
    [
        ("1 1:1\n", None, "no row has a qid; give the file with the sizes"),
        ("1 1:1\n", "2\n", "its sizes add up to 2, but t.svm has 1 rows"),
        ("1 1:1\n", "x\n", "line 1: 'x' is not a size"),
        ("1 qid:1 1:1\n1 1:1\n", None, "1 of 2 rows have a qid"),
        ("1 qid:1 x:1\n", None, "cannot be read as svmlight: line 1"),
        ("1 qid:1 999999999:1\n", None, "must have numbers from 0 to 100,000"),
        ("", None, "it is empty"),
    ],
)
def test_unreadable_files_are_reported(tmp_path: pathlib.Path, text, groups, words) -> None:
    (tmp_path / "t.svm").write_text(text)
    if groups is not None:
        (tmp_path / "t.svm.group").write_text(groups)
    with pytest.raises(DataError, match=words):
        read_table(tmp_path / "t.svm")


def test_one_file_is_lists_and_catalogue(tmp_path: pathlib.Path) -> None:
    (tmp_path / "train.txt").write_text(LINES)
    (tmp_path / "schema.yaml").write_text(
        "catalog: {file: train.txt, item: pair_id}\n"
        "lists: {file: train.txt, list: qid, item: pair_id, split: part}\n"
        "features:\n"
        "- {name: features, kind: vector, side: item}\n"
        "- {name: grade, kind: number, side: label, column: label}\n"
    )
    data = load_dataset(tmp_path)
    assert data.lists["_item"].tolist() == [0, 1, 2]
    assert data.lists["label"].tolist() == [2, 0, 1]


def test_real_files(shared_data: pathlib.Path) -> None:
    letor = shared_data / "letor"
    frame = read_table(letor / "mq2008" / "S1.txt.gz")
    assert (len(frame), frame["qid"].nunique(), len(frame["features"][0])) == (2_933, 157, 46)
    assert frame["item_id"][0] == "GX008-86-4444840"
    assert frame["pair_id"].is_unique
    both = read_table(letor / "lightgbm_rank" / "rank.test", reading=Reading(format="svmlight"))
    assert (len(both), both["qid"].nunique()) == (768, 50)
