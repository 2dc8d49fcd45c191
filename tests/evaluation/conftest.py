"""A small shop whose figures can all be computed by hand."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import pytest
import yaml

from mmrank.data.tables import Dataset, load_dataset

CATALOG: dict[str, list[Any]] = {
    "item_id": ["a", "b", "c", "d", "e"],
    "title": ["red kurta", "blue shoes", "红色连衣裙", "red red shirt", None],
    "tags": ["summer|cotton", "leather", None, "cotton", "summer"],
    "photo": ["a.jpg", "gone.jpg", None, "d.jpg", ""],
}
# The grades leave list 3 without a relevant item.
LISTS: dict[str, list[Any]] = {
    "list_id": [1, 1, 1, 2, 2, 2, 3, 3, 4, 4],
    "query": ["Red KURTA"] * 3 + ["红裙子好看"] * 3 + [None] * 2 + ["blue leather shoes"] * 2,
    "user_id": ["u", "u", "u", "v", "v", "v", None, None, "u", "u"],
    "item_id": ["a", "b", "c", "b", "c", "e", "a", "b", "d", "b"],
    "grade": [2, 0, 1, 0, 3, 0, 0, 0, 1, 1],
    "time": [100, 100, 100, 200, 200, 200, None, None, 50, 50],
    "split": ["test"] * 8 + ["train"] * 2,
}
EVENTS: dict[str, list[Any]] = {
    "user_id": ["u", "u", "u", "v", "v", "w"],
    "item_id": ["a", "b", "b", "b", "a", "unlisted"],
    "time": [10, 20, 100, 30, 40, 5],
}
SCHEMA: dict[str, Any] = {
    "name": "small shop",
    "media": "photos",
    "lists": {"user": "user_id", "time": "time", "split": "split"},
    "events": {"type": None},
    "features": [
        {"name": "query", "kind": "text", "side": "query"},
        {"name": "title", "kind": "text", "side": "item"},
        {"name": "tags", "kind": "tags", "side": "item", "separator": "|"},
        {"name": "photo", "kind": "image", "side": "item"},
        {"name": "grade", "kind": "number", "side": "label"},
    ],
}

Shop = Callable[..., Dataset]


@pytest.fixture
def shop_folder(tmp_path: pathlib.Path) -> Callable[..., pathlib.Path]:
    """Writes the shop, with other lists or other schema keys (None omits a key)."""

    def write(
        lists: Mapping[str, list[Any]] = LISTS, changed: Mapping[str, Any] | None = None
    ) -> pathlib.Path:
        folder = tmp_path / "shop"
        (folder / "photos").mkdir(parents=True)
        for name in ("a.jpg", "d.jpg"):
            (folder / "photos" / name).write_bytes(b"not looked into")
        schema = {k: v for k, v in {**SCHEMA, **(changed or {})}.items() if v is not None}
        (folder / "schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
        pd.DataFrame(CATALOG).to_parquet(folder / "catalog.parquet")
        pd.DataFrame(dict(lists)).to_parquet(folder / "lists.parquet")
        pd.DataFrame(EVENTS).to_parquet(folder / "events.parquet")
        return folder

    return write


@pytest.fixture
def shop(shop_folder: Callable[..., pathlib.Path]) -> Shop:
    """Loads the shop as a dataset; the arguments are those of `shop_folder`."""
    return lambda *args, **kwargs: load_dataset(shop_folder(*args, **kwargs))
