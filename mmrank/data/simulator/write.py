"""Writes the simulated shop as a prepared dataset into a folder."""

from __future__ import annotations

import dataclasses
import pathlib
import zipfile
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
import yaml

from mmrank.data.simulator import world
from mmrank.data.simulator.clicks import ClickModel
from mmrank.data.simulator.logs import LONGEST, RANDOMISED, SHARED
from mmrank.data.simulator.photos import write_photos
from mmrank.data.simulator.products import Products
from mmrank.data.simulator.queries import Queries
from mmrank.schema import Catalog, Events, Feature, Lists, Schema, save_schema

SIMULATION_FILE = "simulation.yaml"
# A feature whose media files reveal a hidden attribute, and the function that writes these files
# and returns their names.
HiddenMedia = tuple[Feature, Callable[[zipfile.ZipFile], list[str | None]]]


def shop_schema(hidden: Sequence[Feature] = (), match: bool = False) -> Schema:
    """The schema of a simulated shop. Only its labels depend on the simulation's true relevance.

    Args:
      hidden: Features that the shop has in addition to the usual ones.
      match: Whether the logging ranker's score for the query's words is a feature of the pair.
    """
    features = [
        Feature("query", "text", "query", "query"),
        Feature("title", "text", "item", "title"),
        Feature("description", "text", "item", "description"),
        Feature("photo", "image", "item", "photo"),
        *hidden,
        Feature("price", "number", "item", "price", {"log": True}),
        Feature("rating", "number", "item", "rating"),
        Feature("rating_count", "number", "item", "rating_count", {"log": True}),
        Feature("sales", "number", "item", "sales", {"log": True}),
        Feature("brand", "category", "item", "brand"),
        Feature("tags", "tags", "item", "tags", {"separator": "|"}),
        Feature("user", "category", "user", "user_id"),
        Feature("history", "history", "user", "history"),
        *([Feature(SHARED, "number", "pair", SHARED)] if match else []),
    ]
    labels = ("grade", "position", "click", "dwell", "purchase")
    return Schema(
        name="simulated shop",
        catalog=Catalog(),
        lists=Lists(user="user_id", time="time", split="split"),
        events=Events(),
        features=(*features, *(Feature(name, "number", "label", name) for name in labels)),
        media="images.zip",
    )


def write_dataset(
    folder: pathlib.Path,
    products: Products,
    states: np.ndarray,
    queries: Queries,
    lists: pd.DataFrame,
    events: pd.DataFrame,
    rng: np.random.Generator,
    progress: Callable[[int], object] = lambda photos: None,
    hidden: Sequence[HiddenMedia] = (),
) -> None:
    """Writes schema, tables and media into a folder.

    Args:
      folder: Existing folder.
      products, queries: The products and queries, whose indices become ids and texts.
      states: `good`, `missing` or `broken` per item's photo.
      lists: Candidate rows as `make_log` returns them.
      events: All events with columns user, item (indices), event_type and time.
      rng: Source of the variation between photos.
      progress: Called with 1 after each photo.
      hidden: The features of hidden attributes, each with the function that writes its files.
    """
    item_ids = np.array([f"P{i:06d}" for i in range(len(products))], dtype=object)
    with (folder / "images.zip").open("wb") as file:
        photos = write_photos(file, products, states, rng, progress)
    others = {}
    for feature, write in hidden:
        with zipfile.ZipFile(folder / "images.zip", "a", zipfile.ZIP_STORED) as archive:
            others[feature.column] = pd.Series(write(archive), dtype=object)
    brands = products.attributes[:, world.column("brand")]
    pd.DataFrame(
        {
            "item_id": item_ids,
            "title": products.title,
            "description": pd.Series(products.description, dtype=object),
            "photo": pd.Series(photos, dtype=object),
            "price": products.price,
            "rating": products.rating,
            "rating_count": products.rating_count,
            "sales": products.sales,
            "brand": [world.BRANDS[b].key for b in brands],
            "tags": products.tags,
            "arrived": products.arrived,
        }
        | others
    ).to_parquet(folder / "catalog.parquet", index=False)
    _truth(item_ids, products, states).to_parquet(folder / "truth.parquet", index=False)
    texts = np.array(queries.text, dtype=object)
    pd.DataFrame(
        {
            "list_id": _named("L", lists["list"], 7),
            "query": texts[lists["query"]],
            "user_id": _named("U", lists["user"], 5),
            "item_id": item_ids[lists["item"]],
        }
        | {
            name: lists[name].to_numpy()
            for name in ("grade", "position", "click", "dwell", "purchase", "time", "split")
        }
        | {name: lists[name].to_numpy() for name in (SHARED, RANDOMISED) if name in lists}
    ).to_parquet(folder / "lists.parquet", index=False)
    pd.DataFrame(
        {
            "user_id": _named("U", events["user"], 5),
            "item_id": item_ids[events["item"]],
            "event_type": events["event_type"].to_numpy(),
            "time": events["time"].to_numpy(),
        }
    ).to_parquet(folder / "events.parquet", index=False)
    save_schema(shop_schema([feature for feature, _ in hidden], SHARED in lists), folder)


def write_simulation(
    folder: pathlib.Path, arguments: Mapping[str, float | str], model: ClickModel
) -> None:
    """Writes `simulation.yaml`: arguments and click model, for comparison with estimates."""
    positions = np.arange(1, LONGEST + 1)
    plain = {
        "arguments": dict(arguments),
        "click_model": {
            "kind": "position-based: P(click) = P(examined | position) P(attractive | grade)",
            "examination": "position ** -eta",
        }
        | {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(model).items()},
        "examination_by_position": [round(float(p), 6) for p in model.examination(positions)],
        "attraction_by_grade": [round(float(p), 6) for p in model.attraction(np.arange(4))],
    }
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    (folder / SIMULATION_FILE).write_text(text, encoding="utf-8")


def _named(letter: str, numbers: pd.Series, digits: int) -> list[str]:
    return [f"{letter}{n:0{digits}d}" for n in numbers]


def _truth(item_ids: np.ndarray, products: Products, states: np.ndarray) -> pd.DataFrame:
    """The true attributes of each item, for tests and slices; they are never features."""
    columns: dict[str, object] = {
        "item_id": item_ids,
        "type": [world.TYPES[t].value.key for t in products.types],
    }
    for a, (name, values) in enumerate(world.ATTRIBUTES.items()):
        columns[name] = [values[v].key for v in products.attributes[:, a]]
        columns[f"{name}_named"] = products.named[:, a]
    for a, hidden in enumerate(products.hidden, len(world.ATTRIBUTES)):
        columns[hidden.name] = [hidden.values[v].key for v in products.attributes[:, a]]
    return pd.DataFrame(columns).assign(quality=products.quality, photo_state=states)
