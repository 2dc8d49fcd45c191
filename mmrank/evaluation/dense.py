"""Dense retrieval without training: the cosine of a pretrained text encoder's vectors."""

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
    from mmrank.features import Features
    from mmrank.trained_run import Run

MEAN = "mean"


def check_dense(features: Features, folder: pathlib.Path | str | None) -> None:
    """Checks that there are texts to compare, before anything slow begins.

    Args:
      features: The ranker's features, fitted or not.
      folder: Folder of a TF-Hub text encoder to use in place of the ranker's encoders, or None.

    Raises:
      DataError: No text of the query and text of the item share a frozen encoder.
    """
    if folder is not None:
        sides = {f.side for f in features.schema.side("query", "item") if f.kind == "text"}
        if sides != {"query", "item"}:
            raise DataError("dense: the schema has no text of both query and item; remove dense")
    elif not _pairs(features):
        raise DataError(
            "dense: the ranker has no frozen text encoder that query and item share; give a TF-Hub "
            "text encoder by --dense FOLDER or evaluation.dense, or remove dense"
        )


def cosines(
    run: Run, dataset: Dataset, rows: pd.DataFrame, folder: pathlib.Path | None = None
) -> dict[str, np.ndarray]:
    """Returns the cosines [rows] of query and candidate by pair of features, e.g. `query/title`.

    A pair is a text of the query and a text of the item that share one frozen encoder. If there are
    several pairs, the result also holds their `mean`. A cosine is 0 where either text is absent.

    Args:
      run: The ranker whose features are used.
      dataset: A dataset with the ranker's schema.
      rows: Rows of `dataset.lists`; the rows of a list are consecutive.
      folder: Folder of a TF-Hub text encoder to use in place of the run's encoders.

    Raises:
      DataError: No text of the query and text of the item share a frozen encoder.
    """
    features = run.fitted if folder is None else _of_folder(run, folder, dataset)
    check_dense(features, None)
    arrays = features.arrays(dataset, rows) if folder is not None else run.arrays(dataset, rows)
    numbers = np.repeat(np.arange(len(arrays.lengths)), arrays.lengths)
    found = {}
    for query, item in _pairs(features):
        asked = _unit(arrays.contexts[query.name], arrays.contexts[present_name(query.name)])
        offered = _unit(arrays.items[item.name], arrays.items[present_name(item.name)])
        products = asked[numbers] * offered[arrays.candidates]
        found[f"{query.name}/{item.name}"] = products.sum(1).astype(np.float64)
    if len(found) > 1:
        found[MEAN] = np.mean(list(found.values()), axis=0)
    return found


def _pairs(features: Features) -> list[tuple[Frozen, Frozen]]:
    """Texts of the query and of the item that share a frozen encoder."""
    return [
        (query, item)
        for query in _texts(features, "query")
        for item in _texts(features, "item")
        if query.tower is item.tower
    ]


def _texts(features: Features, side: str) -> list[Frozen]:
    return [k for k in features.of_side(side) if isinstance(k, Frozen) and k.feature.kind == "text"]


def _of_folder(run: Run, folder: pathlib.Path, dataset: Dataset) -> Features:
    """Returns fitted features that hold only the texts of query and item, encoded by the folder."""
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
