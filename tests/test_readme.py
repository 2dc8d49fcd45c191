"""The examples of the README work unchanged."""

from __future__ import annotations

import pathlib
import re

import numpy as np
import pandas as pd
import yaml
from PIL import Image

from mmrank.data.tables import load_dataset
from mmrank.data.validation import validate_dataset

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def fenced(language: str) -> list[str]:
    """The README's fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def test_your_own_shop(tmp_path: pathlib.Path) -> None:
    [schema] = fenced("yaml")
    assert len(schema.strip().splitlines()) == 10
    (tmp_path / "schema.yaml").write_text(schema, encoding="utf-8")
    (tmp_path / "photos").mkdir()
    Image.new("RGB", (8, 8), "red").save(tmp_path / "photos" / "1.jpg")
    pd.DataFrame(
        {
            "sku": ["001", "002", "003"],
            "product_title": ["Red kurta", "蓝色 马克杯", None],
            "picture": ["1.jpg", None, "gone.jpg"],
            "price": [9.5, None, 3],
            "brand": ["A", "B", "A"],
        }
    ).to_csv(tmp_path / "products.csv", index=False)
    searches = np.repeat(np.arange(30), 3)
    pd.DataFrame(
        {
            "search_id": searches,
            "search_term": [f"red kurta {s}" for s in searches],
            "sku": ["001", "002", "003"] * 30,
            "relevance": [2, 0, 1] * 30,
        }
    ).to_csv(tmp_path / "judged.csv", index=False)

    report = validate_dataset(tmp_path, media="all")
    assert not report.errors, str(report)
    dataset = load_dataset(tmp_path)
    assert list(dataset.item_ids) == ["001", "002", "003"]
    assert {"train", "valid", "test"} >= set(dataset.lists["_split"])


def test_named_files_exist() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    configs = re.findall(r"configs/[a-z_]+\.yaml", README)
    assert links
    assert configs
    for path in links + configs:
        assert (ROOT / path).is_file(), path


def test_named_modules_exist() -> None:
    modules = set(re.findall(r"python -m ((?:mmrank|pipelines)\.[a-z_.]+)", README))
    assert "mmrank.train" in modules
    for module in modules:
        position = ROOT / module.replace(".", "/")
        assert position.with_suffix(".py").is_file() or (position / "__main__.py").is_file(), module


def test_configs_state_their_command() -> None:
    for file in sorted((ROOT / "configs").glob("*.yaml")):
        head = file.read_text(encoding="utf-8").split("\nseed")[0]
        assert re.search(rf"--(config|space) configs/{file.name}\b", head), file
        assert yaml.safe_load(file.read_text(encoding="utf-8"))


def test_nothing_sends_to_an_index_that_has_no_mmrank() -> None:
    files = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for folder in ("mmrank", "configs", "notebooks", "pipelines"):
        files += [f for f in (ROOT / folder).rglob("*.*") if f.suffix in (".py", ".yaml", ".ipynb")]
    for file in files:
        assert "mmrank[" not in file.read_text(encoding="utf-8"), file
