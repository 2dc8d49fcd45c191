"""Visual search over groceries: grades, the public split, and both directions."""

from __future__ import annotations

import pathlib
import zipfile

import numpy as np
import pandas as pd
import pytest

from mmrank.data.tables import load_dataset
from mmrank.data.validation import validate_dataset
from pipelines import prepare_grocery

PRODUCTS = [  # name, fine, coarse: ids are not row numbers
    ("Royal-Gala", 4, 0),
    ("Pink-Lady", 7, 0),
    ("Banana", 9, 3),
]
PHOTOS = {
    "train": [4, 4, 7, 7, 9, 9],
    "val": [4, 9],  # like the real one, it lacks a class
    "test": [9, 7, 4],
}


def photo_name(split: str, number: int) -> str:
    return f"{split}/Fruit/{number:03d}.jpg"


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    """A tiny grocery in the public layout; its first test photo is missing."""
    folder = tmp_path / "grocery"
    iconic = folder / "iconic-images-and-descriptions"
    iconic.mkdir(parents=True)
    rows = []
    for name, fine, coarse in PRODUCTS:
        (iconic / f"{name}_Iconic.jpg").write_bytes(b"iconic " + name.encode())
        text = f"The {name}\n  tastes good.\n"
        (iconic / f"{name}_Description.txt").write_text(text, encoding="utf-8")
        (iconic / f"{name}_Information.txt").write_text(f"https://shop/{name}")
        paths = [f"/{iconic.name}/{name}_{what}" for what in ("Iconic.jpg", "Description.txt")]
        rows.append((name, fine, "Apple" if coarse == 0 else name, coarse, *paths))
    columns = [
        "Class Name (str)",
        "Class ID (int)",
        "Coarse Class Name (str)",
        "Coarse Class ID (int)",
        "Iconic Image Path (str)",
        "Product Description Path (str)",
    ]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "classes.csv", index=False)
    coarse_of = {fine: coarse for _, fine, coarse in PRODUCTS}
    for split, classes in PHOTOS.items():
        lines = []
        for number, fine in enumerate(classes):
            name = photo_name(split, number)
            lines.append(f"{name}, {fine}, {coarse_of[fine]}")
            if (split, number) != ("test", 0):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(name.encode())
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return folder


def run(source: pathlib.Path, task: str, *more: str) -> tuple[int, pathlib.Path]:
    out = source.parent / task
    args = ["--source", str(source), "--out", str(out), "--task", task, *more]
    return prepare_grocery.main(args), out


def test_a_photo_has_all_products_as_candidates(source: pathlib.Path, capsys) -> None:
    code, out = run(source, "photo")
    assert code == 0
    dataset = load_dataset(out)
    assert dataset.item_ids.tolist() == ["Royal-Gala", "Pink-Lady", "Banana"]
    assert dataset.catalog["title"].tolist() == ["Royal Gala", "Pink Lady", "Banana"]
    assert dataset.catalog["description"][0] == "The Royal-Gala tastes good."
    grade_of = {4: [2, 1, 0], 7: [1, 2, 0], 9: [0, 0, 2]}
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        rows = dataset.rows(name)
        for number, fine in enumerate(PHOTOS[split]):
            asked = rows[rows["photo"] == photo_name(split, number)]
            assert asked["item_id"].tolist() == ["Royal-Gala", "Pink-Lady", "Banana"]
            assert asked["grade"].tolist() == grade_of[fine]
            assert asked["list_id"].nunique() == 1
        assert rows["photo"].nunique() == len(PHOTOS[split])
    with zipfile.ZipFile(out / "images.zip") as archive:
        packed = archive.namelist()
        assert len(packed) == 11 - 1 + 3
        assert archive.read(photo_name("val", 1)) == b"val/Fruit/001.jpg"
        assert set(dataset.catalog["iconic"]) <= set(packed)
    printed = capsys.readouterr().out
    assert "1 photos are missing" in printed
    assert f"configs/grocery_photo.yaml --data {out}" in printed
    report = validate_dataset(out, media="none")
    report.raise_if_errors()
    assert report.counts["media"]["photo"] == {
        "named": 11,
        "missing": 1,
        "checked": 0,
        "broken": 0,
    }


def test_a_text_has_the_photos_of_its_split_as_candidates(
    source: pathlib.Path, monkeypatch
) -> None:
    monkeypatch.setattr(prepare_grocery, "SHELF", 3)
    code, out = run(source, "text")
    assert code == 0
    dataset = load_dataset(out)
    fine_of = {photo_name(s, i): f for s, classes in PHOTOS.items() for i, f in enumerate(classes)}
    coarse_of = {fine: coarse for _, fine, coarse in PRODUCTS}
    asked = {f"{n.replace('-', ' ')}. The {n} tastes good.": fine for n, fine, _ in PRODUCTS}
    for row in dataset.lists.itertuples():
        a, b = asked[row.query], fine_of[row.item_id]
        assert row.grade == (2 if a == b else 1 if coarse_of[a] == coarse_of[b] else 0)
        assert row.item_id.startswith({"valid": "val"}.get(row.split, row.split))
    by_list = dataset.lists.groupby("list_id", sort=False)
    # In each round, every product queries two shelves of three photos.
    train = dataset.rows("train")
    assert train["list_id"].nunique() == prepare_grocery.ROUNDS * 2 * 3
    assert train["item_id"].value_counts().unique().tolist() == [prepare_grocery.ROUNDS * 3]
    assert (by_list.size()[train["list_id"].unique()] == 3).all()
    # All photos of the split, for each product that has a photo there.
    for split, photos, products in (("valid", 2, 2), ("test", 3, 3)):
        rows = dataset.rows(split)
        assert rows.groupby("list_id").size().tolist() == [photos] * products
        assert (rows.groupby("list_id")["grade"].max() == 2).all()
    validate_dataset(out, media="none").raise_if_errors()


def test_the_seed_sets_the_shelves(source: pathlib.Path, monkeypatch) -> None:
    monkeypatch.setattr(prepare_grocery, "SHELF", 3)
    products = prepare_grocery.read_products(source)
    photos = prepare_grocery.read_photos(source, products)
    one, same, other = (
        prepare_grocery.text_lists(products, photos, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, same)
    assert not one["item_id"].equals(other["item_id"])


def append(name: str, text: str):
    def change(folder: pathlib.Path) -> None:
        with (folder / name).open("a") as file:
            file.write(text)

    return change


def remove(name: str):
    return lambda folder: (folder / name).unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("classes.csv"), "classes.csv: no such file; --source is the folder with"),
        (remove("val.txt"), "val.txt: no such file"),
        (append("train.txt", "train/x.jpg, 5, 0\n"), "train.txt, row 7: 'train/x.jpg, 5, 0' is"),
        (append("train.txt", "train/x.jpg 4 0\n"), "row 7: 'train/x.jpg 4 0' is not `path"),
        (append("test.txt", "train/Fruit/000.jpg, 4, 0\n"), "'train/Fruit/000.jpg' is repeated"),
        (append("classes.csv", "Kiwi,9,Kiwi,5,/a.jpg,/a.txt\n"), "row 5: 9 is repeated"),
        (append("classes.csv", "Kiwi,8,Kiwi,5,/a.jpg,/a.txt\n"), "a.txt: no such file, but"),
        (
            lambda folder: (folder / "classes.csv").write_text("name\nBanana\n"),
            "no column 'Class Name (str)'; it has name",
        ),
    ],
)
def test_wrong_sources_are_one_line_errors(
    source: pathlib.Path, capsys, change, message: str
) -> None:
    change(source)
    code, out = run(source, "photo")
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert error.startswith("error: ")
    assert not out.exists()


def test_help_shows_an_example(capsys) -> None:
    with pytest.raises(SystemExit):
        prepare_grocery.main(["--help"])
    assert "example: python -m pipelines.prepare_grocery --source" in capsys.readouterr().out
