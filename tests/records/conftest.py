"""Shards of the simulated shop's lists, written message by message from its tables."""

from __future__ import annotations

import json
import pathlib
import zipfile
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
import tensorflow as tf
from tensorflow_serving.apis.input_pb2 import ExampleListWithContext

from mmrank.data.tables import Dataset, load_dataset

DAY = 86_400.0


def put(example: tf.train.Example, name: str, values: list[Any]) -> None:
    """Adds values to an example; absent values are left out."""
    known = [v for v in values if not (v is None or v == "" or (isinstance(v, float) and v != v))]
    if not known:
        return
    feature = example.features.feature[name]
    if isinstance(known[0], (str, bytes)):
        feature.bytes_list.value.extend(v.encode() if isinstance(v, str) else v for v in known)
    else:
        feature.float_list.value.extend(map(float, known))


def message(dataset: Dataset, rows: pd.DataFrame) -> ExampleListWithContext:
    """The message of one list of the shop."""
    made, first = ExampleListWithContext(), rows.iloc[0]
    for feature in dataset.schema.side("query", "user"):
        if feature.kind == "history":
            events = dataset.events[dataset.events["user_id"] == first["user_id"]]
            events = events[events["_time"] < first["_time"]]
            put(made.context, f"{feature.name}_items", list(events["item_id"]))
            put(made.context, f"{feature.name}_types", list(events["event_type"]))
            put(
                made.context, f"{feature.name}_ages", list((first["_time"] - events["_time"]) / DAY)
            )
        else:
            put(made.context, feature.name, [first[feature.column]])
    for _, row in rows.iterrows():
        example = made.examples.add()
        item = dataset.catalog.iloc[row["_item"]]
        for feature in dataset.schema.side("item"):
            value = item[feature.column]
            if feature.kind == "image" and isinstance(value, str):
                with zipfile.ZipFile(dataset.folder / dataset.schema.media) as photos:
                    value = photos.read(value)
            put(example, feature.name, [value])
        for feature in dataset.schema.side("label"):
            put(example, f"label/{feature.name}", [row[feature.column]])
    return made


def write_shards(
    folder: pathlib.Path, messages: list[ExampleListWithContext], shards: int, ending: str = ""
) -> pathlib.Path:
    """Writes lists to a folder, dealt out to the shards in turn, as in docs/beam.md."""
    actual = []
    for number in range(shards):
        file = folder / f"train-{number:05d}-of-{shards:05d}.tfrecord{ending}"
        with tf.io.TFRecordWriter(str(file), "GZIP" if ending else "") as writer:
            for made in messages[number::shards]:
                writer.write(made.SerializeToString())
        actual.append({"file": file.name, "bytes": file.stat().st_size})
    manifest = {"format": 1, "job": "examples", "splits": {"train": {"shards": actual}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture(scope="session")
def shop(tiny_shop: pathlib.Path) -> Dataset:
    return load_dataset(tiny_shop)


@pytest.fixture(scope="session")
def messages(shop: Dataset) -> list[ExampleListWithContext]:
    """The training lists."""
    lists = shop.rows("train").groupby("list_id", sort=False)
    return [message(shop, rows) for _, rows in lists]


@pytest.fixture(scope="session")
def write(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., pathlib.Path]:
    """Writes messages to the given number of shards in a new folder."""

    def new(messages: list[ExampleListWithContext], shards: int, ending: str = "") -> pathlib.Path:
        return write_shards(tmp_path_factory.mktemp("records"), messages, shards, ending)

    return new
