"""Dense retrieval as it comes: the cosine of a pretrained text encoder's vectors, untrained."""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from mmrank.data.embedding_cache import cache_folder
from mmrank.data.tables import DataError, Dataset
from mmrank.encoders.frozen import Frozen
from mmrank.features import make_features
from mmrank.models import present_name

if TYPE_CHECKING:
    from mmrank.build import Run
    from mmrank.features import Features

MEAN = "mean"


def cosines(
    run: Run, dataset: Dataset, rows: pd.DataFrame, folder: pathlib.Path | None = None
) -> dict[str, np.ndarray]:
    """The cosines [rows] of query and candidate by pair of features, such as `query/title`.

    A pair is a text of the query and one of the item under one frozen encoder. Of several pairs
    there is also the `mean`. A cosine is 0 where either text is absent.

    Args:
      run: The ranker whose features are looked at.
      dataset: A dataset of its schema.
      rows: Rows of `dataset.lists`, a list's rows together.
      folder: A TF-Hub text encoder to take in place of the run's.

    Raises:
      DataError: There is no such pair.
    """
    features = run.fitted if folder is None else _of_folder(run, folder, dataset)
    queries, items = _texts(features, "query"), _texts(features, "item")
    arrays = features.arrays(dataset, rows) if folder is not None else run.arrays(dataset, rows)
    numbers = np.repeat(np.arange(len(arrays.lengths)), arrays.lengths)
    found = {}
    for query in queries:
        asked = _unit(arrays.contexts[query.name], arrays.contexts[present_name(query.name)])
        for item in items:
            if query.tower is not item.tower:
                continue
            offered = _unit(arrays.items[item.name], arrays.items[present_name(item.name)])
            products = asked[numbers] * offered[arrays.candidates]
            found[f"{query.name}/{item.name}"] = products.sum(1).astype(np.float64)
    if not found:
        raise DataError(
            f"dense: {run.folder} has no frozen text encoder that query and item share; name a "
            "TF-Hub text encoder by --dense FOLDER (or evaluation.dense), or leave this one out"
        )
    if len(found) > 1:
        found[MEAN] = np.mean(list(found.values()), axis=0)
    return found


def _texts(features: Features, side: str) -> list[Frozen]:
    return [k for k in features.of_side(side) if isinstance(k, Frozen) and k.feature.kind == "text"]


def _of_folder(run: Run, folder: pathlib.Path, dataset: Dataset) -> Features:
    """The texts of query and item alone, under the encoder of a folder."""
    schema = run.fitted.schema
    drop = [
        f.name
        for f in schema.side("item", "query", "user", "pair")
        if f.kind != "text" or f.side not in ("item", "query")
    ]
    options = {"encoder": "hub", "handle": str(folder), "trainable": False}
    features = make_features(schema, {"text": options}, drop, cache_folder(run.config.data.cache))
    features.fit(dataset)
    return features


def _unit(vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(present[:, None], vectors / np.maximum(length, 1e-12), 0.0).astype(np.float32)
