"""Search terms of a hardware shop: grades, splits by term, and repaired titles."""

from __future__ import annotations

import gzip
import pathlib

import pytest

from mmrank.data.tables import load_dataset
from pipelines import prepare_homedepot
from pipelines.prepare_homedepot import make_lists, prepare, read_judgements, repaired

HEADER = "id,product_uid,product_title,search_term,relevance\n"


def write(folder: pathlib.Path, lines: list[str]) -> None:
    text = HEADER + "".join(f"{i},{line}\n" for i, line in enumerate(lines))
    (folder / "train.csv.gz").write_bytes(gzip.compress(text.encode()))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """200 terms; term i has i % 7 + 1 products."""
    folder = tmp_path_factory.mktemp("homedepot")
    lines = [
        f'{100 + i + n},"Hammer, {i + n} in.",term {i:03d},{(1, 1.33, 2.67, 3)[n % 4]}'
        for i in range(200)
        for n in range(i % 7 + 1)
    ]
    write(folder, [*lines, '006,"Saw, 16å¡",Term  006,2', '006,"Saw, 16å¡",term 006,3'])
    return folder


def test_lists_are_terms_with_enough_products_and_grades_from_zero(source, tmp_path):
    prepare(source, tmp_path / "out")
    data = load_dataset(tmp_path / "out")
    assert set(data.lists["split"]) == {"train", "valid", "test"}
    for term, rows in data.lists.groupby("list_id"):
        number = int(term[-3:])
        if number != 6:
            assert len(rows) == number % 7 + 1
            expected = [(0, 0.33, 1.67, 2)[n % 4] for n in range(len(rows))]
            assert rows["grade"].to_numpy() == pytest.approx(expected)
        assert len(rows) >= (2 if rows["split"].iloc[0] == "train" else 5)
        assert rows["query"].nunique() == rows["split"].nunique() == 1
    kept = set(data.lists.loc[data.lists["split"] == "train", "list_id"])
    assert {len(data.lists[data.lists["list_id"] == term]) for term in kept} >= {2, 3, 4, 5}


def test_the_rows_of_a_list_are_together(source):
    lists = make_lists(read_judgements(source).sample(frac=1, random_state=0), 2)["list_id"]
    assert (lists != lists.shift()).sum() == lists.nunique()


def test_the_split_of_a_term_does_not_depend_on_other_terms(source):
    judged = read_judgements(source)
    every = make_lists(judged, 2).drop_duplicates("list_id").set_index("list_id")["split"]
    some = make_lists(judged[judged["query"] > "term 100"], 2)
    assert (some["split"].to_numpy() == every[some["list_id"]].to_numpy()).all()


def test_spellings_of_a_term_are_one_list_and_repeats_have_the_mean(source):
    rows = make_lists(read_judgements(source), 2)
    twice = rows[(rows["list_id"] == "term 006") & (rows["item_id"] == "006")]
    assert twice["grade"].tolist() == [1.5]  # the mean of 1 and 2
    assert set(rows.loc[rows["list_id"] == "term 006", "query"]) == {"term 006"}


def test_known_traces_of_a_wrong_encoding_are_fixed():
    assert repaired("Nails 16å¡ (5 lb.)") == "Nails 16° (5 lb.)"
    assert repaired("SetåÊ(22-Piece)") == "Set (22-Piece)"
    assert repaired("Men\x89Ûªs 360è_ Heater") == "Men’s 360° Heater"
    assert repaired("Plain 3/4 in. Café") == "Plain 3/4 in. Café"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["1,a,b,4"], "column 'relevance', row 1: '4' is not a number from 1 to 3"),
        (["1,a,b,3", "1,a, ,3"], "column 'search_term', row 2: ' ' is empty"),
        (None, "train.csv.gz: no such file"),
    ],
)
def test_wrong_sources_are_refused(tmp_path, capsys, lines, message):
    if lines is not None:
        write(tmp_path, lines)
    code = prepare_homedepot.main(["--source", str(tmp_path), "--out", str(tmp_path / "out")])
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_missing_column_is_reported(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("a,b\n1,2\n")
    code = prepare_homedepot.main(["--source", str(tmp_path), "--out", str(tmp_path / "out")])
    assert code == 2
    assert "no column 'product_uid'; it has a, b" in capsys.readouterr().err


def test_lists_of_one_are_refused(capsys):
    with pytest.raises(SystemExit):
        prepare_homedepot.main(["--source", "a", "--out", "b", "--train-candidates", "1"])
    assert "--train-candidates 1: must be at least 2" in capsys.readouterr().err


def test_on_the_real_file_no_term_is_in_two_splits(shared_data, tmp_path):
    prepare(shared_data / "homedepot", tmp_path / "out")
    lists = load_dataset(tmp_path / "out").lists
    terms = lists.groupby("split")["query"].agg(set)
    assert not terms["test"] & (terms["train"] | terms["valid"])
    assert lists.groupby("split")["list_id"].nunique()["test"] > 500
    assert lists["grade"].between(0, 2).all()
