"""LETOR files: folds as published, built from test files if train is missing, and groups."""

from __future__ import annotations

import gzip
import pathlib

import numpy as np
import pytest

from mmrank.data.tables import load_dataset
from mmrank.outputs import InputError
from pipelines.prepare_letor import find_folds, main, prepare, read_fold

# As in LETOR's readme: the parts of train, vali and test of each fold.
FOLD_MAP = {
    "fold1": ("123", "4", "5"),
    "fold2": ("234", "5", "1"),
    "fold3": ("345", "1", "2"),
    "fold4": ("451", "2", "3"),
    "fold5": ("512", "3", "4"),
}


def part(number: str, queries: int = 2) -> str:
    """Lists of three documents with grades 0 to 2; the second number is the part's number."""
    return "".join(
        f"{grade} qid:{number}{q} 1:0.{grade} 2:{number} #docid = D{grade}\n"
        for q in range(queries)
        for grade in (0, 2, 1)
    )


@pytest.fixture
def parts(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "MQ"
    folder.mkdir()
    for number in "12345":
        (folder / f"S{number}.txt.gz").write_bytes(gzip.compress(part(number).encode()))
    (folder / "readme.txt").write_text("a fold map")
    return folder


def parts_of(rows, split: str) -> str:
    """The numbers of the parts whose lists are in a split."""
    chosen = rows[rows["split"] == split]
    return "".join(dict.fromkeys(str(int(v[1])) for v in chosen["numbers"]))


def test_parts_are_joined_to_folds_by_the_published_map(parts):
    folds = find_folds([parts])
    assert list(folds) == list(FOLD_MAP)
    for name, (train, valid, test) in FOLD_MAP.items():
        rows = read_fold(folds[name])
        assert [parts_of(rows, s) for s in ("train", "valid", "test")] == [train, valid, test]


def test_folds_without_train_are_made_of_their_test_files(tmp_path, capsys):
    """As published, fold k tests on the part before k and validates on the one before that."""
    for name, (_, valid, test) in FOLD_MAP.items():
        folder = tmp_path / name.title()
        folder.mkdir()
        (folder / "vali.txt").write_text(part(valid))
        (folder / "test.txt").write_text(part(test))
    folds = find_folds([tmp_path])
    assert "no train file in 5 of 5 folds" in capsys.readouterr().out
    for name, (train, valid, test) in FOLD_MAP.items():
        rows = read_fold(folds[name])
        assert [parts_of(rows, s) for s in ("train", "valid", "test")] == [train, valid, test]


def test_folds_with_all_files_are_unchanged(tmp_path):
    for fold in ("Fold1", "Fold2"):
        (tmp_path / fold).mkdir()
        for number, split in enumerate(("train", "vali", "test"), start=1):
            (tmp_path / fold / f"{split}.txt").write_text(part(str(number)))
    folds = find_folds([tmp_path])
    assert list(folds) == ["fold1", "fold2"]
    rows = read_fold(folds["fold2"])
    assert [parts_of(rows, s) for s in ("train", "valid", "test")] == ["1", "2", "3"]


def test_groups_make_lists_and_a_part_of_train_is_for_validation(tmp_path):
    for split in ("train", "test"):
        text = "".join(f"{i % 3} 1:{i}\n" for i in range(120))
        (tmp_path / f"rank.{split}").write_text(text)
        (tmp_path / f"rank.{split}.query").write_text("3\n" * 40)
    prepare([tmp_path / "rank.train", tmp_path / "rank.test"], tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    lists = data.lists.groupby("_split")["list_id"].nunique()
    assert lists["test"] == 40
    assert lists["train"] + lists["valid"] == 40
    assert 0 < lists["valid"] < lists["train"]
    first = data.rows("test").head(3)
    assert first["grade"].tolist() == [0, 1, 2]
    assert [v.tolist() for v in data.catalog["numbers"].iloc[first["_item"]]] == [[0], [1], [2]]


def test_each_row_is_an_item_and_short_rows_are_filled(tmp_path):
    (tmp_path / "train.txt").write_text("1 qid:1 1:5 #docid = A\n0 qid:1 1:6 #docid = A\n" * 1)
    (tmp_path / "vali.txt").write_text("1 qid:2 3:7 #docid = A\n0 qid:2 1:8 #docid = B\n")
    (tmp_path / "test.txt").write_text("1 qid:3 2:9 #docid = A\n")
    rows = read_fold(find_folds([tmp_path])[""])
    assert rows["item_id"].tolist() == ["1/A", "1/A+1", "2/A", "2/B", "3/A"]
    expected = [[5, 0, 0], [6, 0, 0], [0, 0, 7], [8, 0, 0], [0, 9, 0]]
    np.testing.assert_array_equal(np.stack(rows["numbers"]), expected)


def test_unusable_sources_are_refused(tmp_path, capsys):
    with pytest.raises(InputError, match="no such file or folder"):
        find_folds([tmp_path / "none"])
    (tmp_path / "train.txt").write_text(part("1"))
    with pytest.raises(InputError, match="no file for test"):
        find_folds([tmp_path])
    (tmp_path / "test.txt").write_text(part("1"))
    assert main(["--source", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "query '10': is in two splits" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_published_folds(shared_data, tmp_path):
    """Numbers of lists: MQ2008's parts have 157, except the fifth with 156; OHSUMED has 106."""
    folds = find_folds([shared_data / "letor" / "mq2008"])
    rows = read_fold(folds["fold1"])
    lists = rows.groupby("split")["list_id"].nunique()
    assert lists.to_dict() == {"train": 471, "valid": 157, "test": 156}
    rows = read_fold(find_folds([shared_data / "letor" / "ohsumed"])["fold3"])
    assert rows["list_id"].nunique() == 106
