"""Colour histograms: computed by hand, and a shop in which colour alone is sufficient."""

from __future__ import annotations

import io
import pathlib

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from mmrank.schema import save_schema
from pipelines.grocery_histograms import histogram, main
from pipelines.prepare_grocery import SCHEMAS

COLOURS = {"Banana": (250, 230, 20), "Lime": (40, 200, 30), "Plum": (90, 10, 80)}


def photo(colour: tuple[int, int, int], noise: int = 0) -> bytes:
    pixels = np.full([8, 8, 3], colour) + np.random.default_rng(noise).integers(-3, 4, [8, 8, 3])
    file = io.BytesIO()
    PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def test_a_histogram_by_hand() -> None:
    pixels = np.zeros([2, 2, 3], np.uint8)
    pixels[0] = [255, 32, 0]  # bins 7, 1 and 0 of 32 values each
    pixels[1, 0] = [31, 0, 64]  # 0, 0 and 2
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    expected = np.zeros(512)
    expected[7 * 64 + 1 * 8] = np.sqrt(2 / 4)
    expected[2] = np.sqrt(1 / 4)
    expected[0] = np.sqrt(1 / 4)
    np.testing.assert_allclose(histogram(file.getvalue()), expected)


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    """Three products distinguished by their colour; one test photo is broken."""
    schema = SCHEMAS["photo"]
    media = tmp_path / "images.zip"  # a folder works too
    media.mkdir()
    rows = []
    for split, count in (("train", 4), ("valid", 1), ("test", 2)):
        for number in range(count):
            for position, (name, colour) in enumerate(COLOURS.items()):
                file = f"{split}-{name}-{number}.png"
                (media / file).write_bytes(photo(colour, number))
                rows += [
                    (file, item, file, split, 2 * (other == position))
                    for other, item in enumerate(COLOURS)
                ]
    (media / "test-Plum-1.png").write_bytes(b"no photo")
    columns = ["list_id", "item_id", "photo", "split", "grade"]
    pd.DataFrame(rows, columns=columns).to_parquet(tmp_path / "lists.parquet")
    items = [*COLOURS]
    catalog = {"item_id": items, "title": items, "description": items, "iconic": items}
    pd.DataFrame(catalog).to_parquet(tmp_path / "catalog.parquet")
    save_schema(schema, tmp_path)
    return tmp_path


def test_colours_are_distinguished(data: pathlib.Path, capsys) -> None:
    assert main(["--data", str(data), "--split", "valid"]) == 0
    (line,) = [li for li in capsys.readouterr().out.splitlines() if li.startswith("precision@1")]
    assert line.split()[1] == "1.000"
    # A broken photo has no colour, but is ranked too.
    assert main(["--data", str(data)]) == 0
    (line,) = [li for li in capsys.readouterr().out.splitlines() if li.startswith("precision@1")]
    assert float(line.split()[1]) in (pytest.approx(5 / 6, abs=1e-3), 1.0)


def test_another_dataset_is_refused(tiny_shop: pathlib.Path, capsys) -> None:
    assert main(["--data", str(tiny_shop)]) == 2
    assert "python -m pipelines.prepare_grocery --task photo" in capsys.readouterr().err
