"""Four users and five items whose figures can be computed by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import yaml

from mmrank.data.tables import Dataset, load_dataset

# Items of each user's events (u v w x): a b c | a b | b c | d. No event has item e.
MET = [[1, 1, 1, 0, 0], [1, 1, 0, 0, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 0]]
EVENTS: dict[str, list[Any]] = {
    "user_id": ["u", "u", "u", "v", "v", "w", "w", "x", "u"],
    "item_id": ["a", "b", "c", "a", "b", "b", "c", "d", "d"],
    "event_type": ["view"] * 7 + ["buy", "view"],
    "time": [10, 11, 12, 13, 14, 15, 16, 17, 60],
}
# User n has no event, and the last list has no user.
LISTS: dict[str, list[Any]] = {
    "list_id": [1, 1, 2, 2, 2, 3, 3, 4, 4, 5, 5],
    "user_id": ["w", "w", "u", "u", "u", "v", "v", "n", "n", None, None],
    "item_id": ["a", "d", "d", "e", "c", "c", "d", "a", "b", "b", "e"],
    "grade": [1, 0, 1, 0, 0, 1, 0, 0, 1, 1, 0],
    "time": [20] * 2 + [50] * 3 + [70] * 2 + [70] * 2 + [80] * 2,
    "split": ["train"] * 5 + ["valid"] * 2 + ["test"] * 4,
    "page_item": ["b"] * 2 + ["a"] * 3 + ["d"] * 2 + [None] * 4,
}
SCHEMA: dict[str, Any] = {
    "name": "four users",
    "lists": {"user": "user_id", "time": "time", "split": "split"},
    "events": {},
    "features": [
        {"name": "title", "kind": "text", "side": "item"},
        {"name": "collaborative", "kind": "collaborative", "side": "pair"},
        {"name": "grade", "kind": "number", "side": "label"},
    ],
}

Shop = Callable[..., Dataset]


@pytest.fixture
def events_table() -> dict[str, list[Any]]:
    return EVENTS


@pytest.fixture
def matrix() -> sp.csr_matrix:
    return sp.csr_matrix(np.array(MET, float))


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """Loads the shop, with other events or other schema keys (None omits a key)."""

    def load(
        events: Mapping[str, list[Any]] = EVENTS, changed: Mapping[str, Any] | None = None
    ) -> Dataset:
        folder = tmp_path_factory.mktemp("shop")
        items = list("abcde")
        pd.DataFrame({"item_id": items, "title": [f"thing {i}" for i in items]}).to_parquet(
            folder / "catalog.parquet"
        )
        pd.DataFrame(LISTS).to_parquet(folder / "lists.parquet")
        pd.DataFrame(events).to_parquet(folder / "events.parquet")
        schema = {k: v for k, v in (SCHEMA | dict(changed or {})).items() if v is not None}
        (folder / "schema.yaml").write_text(yaml.safe_dump(schema), encoding="utf-8")
        return load_dataset(folder)

    return load
