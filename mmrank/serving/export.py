"""Exports a trained run as a numbered SavedModel folder, written whole or not at all."""

from __future__ import annotations

import json
import logging
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from mmrank.collaborative.served import FILE as COLLABORATIVE
from mmrank.collaborative.served import fit_served
from mmrank.compression.lite import FOLDER as LITE
from mmrank.compression.options import Compressed
from mmrank.data.tables import DataError, Dataset
from mmrank.features import Features
from mmrank.matching.plan import terms_name
from mmrank.models import present_name
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.reranking.trained import TrainedPolicy
from mmrank.schema import did_you_mean, save_schema
from mmrank.serving.batching import write_batching
from mmrank.serving.card import CARD, FORMAT
from mmrank.serving.computed import Computed
from mmrank.serving.drift.training import save_reference
from mmrank.serving.fingerprint import item_fingerprint
from mmrank.serving.graphs import Graphs, ranker_graphs
from mmrank.serving.model_card import write_model_card
from mmrank.serving.policy import policy_card, policy_tables
from mmrank.serving.samples import Samples
from mmrank.serving.saved import save_for_serving
from mmrank.serving.signatures import ServedRanker
from mmrank.serving.versions import write_version
from mmrank.serving.warmup import write_warm_up
from mmrank.trained_run import Run

CHUNK = 256
logger = logging.getLogger(__name__)


def export_run(
    run: Run,
    out: pathlib.Path,
    dataset: Dataset,
    compressed: Compressed | None = None,
    vectors: Computed | None = None,
    policy: TrainedPolicy | None = None,
) -> pathlib.Path:
    """Exports a ranker to the folder OUT/N, N one above the highest number in OUT.

    Args:
      run: A trained ranker.
      out: Folder of the numbered exports; made if it does not exist.
      dataset: The catalogue whose items can be ranked by id.
      compressed: How the run was compressed and how its items' tokens are stored; None for an
        uncompressed export.
      vectors: The items' tokens, computed in advance by an export of this run; without them the
        catalogue is encoded here.
      policy: A policy that learned from pages of this ranker, for the signature `rerank`.

    Returns:
      The folder OUT/N.

    Raises:
      NotADirectoryError: `out` is a file.
      SchemaError: A feature has the name of another input of a signature.
      DataError: The catalogue lacks a feature's column, its media cannot be opened, or the vectors
        are of another model or lack an item.
      ConfigError: The policy learned from pages of another ranker.

    Example:
      >>> import pathlib
      >>> import pandas as pd
      >>> import mmrank
      >>> judged = pd.DataFrame(
      ...     {
      ...         "search": [row // 2 for row in range(40)],
      ...         "sku": ["A", "B"] * 20,
      ...         "price": [9.0, 1.0] * 20,
      ...         "grade": [1, 0] * 20,
      ...     }
      ... )
      >>> _ = mmrank.fit(
      ...     judged,
      ...     group="search",
      ...     item="sku",
      ...     grade="grade",
      ...     number="price",
      ...     out="runs/shop",
      ...     model={"width": 8, "head": {"hidden": [8]}},
      ...     training={"epochs": 1},
      ...     evaluation={"baselines": []},
      ...     progress=False,
      ... )
      >>> run, dataset = mmrank.load_run("runs/shop"), mmrank.load_dataset("runs/shop/data")
      >>> run.modalities, len(run.score(dataset, dataset.rows("all")))
      (('price',), 40)
      >>> mmrank.export_run(run, pathlib.Path("exports"), dataset).name
      '1'
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"{out} is a file; name a folder for the numbered exports")
    for kind in run.fitted.of_side("item"):
        if kind.feature.column not in dataset.catalog:
            known = map(str, dataset.catalog.columns)
            raise DataError(
                f"{dataset.folder / dataset.schema.catalog.file}: no column "
                f"{kind.feature.column!r}, which the run's feature {kind.name} reads"
                f"{did_you_mean(kind.feature.column, known)}"
            )
    made = compressed or Compressed()
    graphs = ranker_graphs(run.model, run.fitted)
    fingerprint = item_fingerprint(run.model, run.fitted)
    if vectors is None:
        table = catalogue_table(graphs, run.fitted, run.items(dataset))
    else:
        given = vectors.of(list(dataset.item_ids), fingerprint)
        table = with_absent(given, graphs, run.fitted)
    tables = None if policy is None else policy_tables(policy, dataset, fingerprint)
    served = ServedRanker(
        run.model, run.fitted, list(dataset.item_ids), table, graphs, made.how.items, tables
    )
    functions = served.signatures()
    fitted, buckets = run.fitted, run.config.data.buckets

    def fill(folder: pathlib.Path) -> None:
        save_for_serving(served, folder, functions)
        card_file = folder / CARD
        card_file.parent.mkdir()
        save_schema(fitted.schema, card_file.parent)
        card = json.dumps(
            _card(fitted, len(dataset.item_ids))
            | {"fingerprint": fingerprint, "buckets": buckets}
            | _tasks(run.model.outputs)
            | ({} if tables is None else policy_card(tables)),
            indent=2,
            ensure_ascii=False,
        )
        card_file.write_text(card + "\n", encoding="utf-8")
        _save_scores(fitted, dataset, card_file.parent)
        save_reference(run, dataset, card_file.parent)
        write_model_card(folder, run, dataset, made.card())
        if made.lite is not None:
            shutil.copytree(made.lite, folder / LITE)
        write_batching(folder)
        samples = map(Samples(fitted, dataset).of, buckets)
        write_warm_up(folder, samples, served, functions, fitted)

    return write_version(out, fill)


def catalogue_table(
    graphs: Graphs, features: Features, arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Encodes a catalogue, and an item with nothing present as the last row, [N + 1, ...].

    Returns the item tower's outputs by name.

    Args:
      graphs: The model's `ranker_graphs`.
      features: Its fitted features.
      arrays: The feature arrays of a catalogue of N items.
    """
    count = len(next(iter(arrays.values())))
    parts = []
    for start in tqdm(
        range(0, count, CHUNK), desc="encoding the catalogue", disable=None, leave=False
    ):
        chunk = {n: tf.constant(a[start : start + CHUNK]) for n, a in arrays.items()}
        parts.append(graphs.items(chunk))
    items = {n: np.concatenate([p[n].numpy() for p in parts]) for n in parts[0]}
    return with_absent(items, graphs, features)


def with_absent(
    items: Mapping[str, np.ndarray], graphs: Graphs, features: Features
) -> dict[str, np.ndarray]:
    """Returns the outputs of N items with those of an item with nothing present, [N + 1, ...].

    The latter is the last row.

    Args:
      items: Tokens [N, M, D], present [N, M] and perhaps match [N, W].
      graphs: The model's `ranker_graphs`.
      features: Its fitted features.
    """
    absent = {}
    for kind in features.of_side("item"):
        spec = kind.input_spec()
        absent[kind.name] = tf.zeros([1, *spec.shape[1:]], spec.dtype)  # for texts, the empty text
        absent[present_name(kind.name)] = tf.zeros([1], tf.bool)
        if kind.name in graphs.terms:
            absent[terms_name(kind.name)] = graphs.terms[kind.name](tf.constant([""]))
    last = graphs.items(absent)
    return {n: np.concatenate([items[n], last[n].numpy()]) for n in last}


def _save_scores(features: Features, dataset: Dataset, folder: pathlib.Path) -> None:
    """Writes the collaborative scores that `Ranker` adds to candidates given by id, if any."""
    kind = features.collaborative
    served = None if kind is None else fit_served(dataset, kind.options)
    if served is not None:
        served.save(folder / COLLABORATIVE)
    elif kind is not None:
        logger.warning(
            "%s: no events, so clients must send the feature %s themselves",
            dataset.folder,
            kind.name,
        )


def _card(features: Features, items: int) -> dict[str, Any]:
    """Returns what `Ranker` has to know about the graph's inputs, as JSON."""
    columns = []
    for kind in features.columns.values():
        column = {
            "name": kind.name,
            "kind": kind.feature.kind,
            "side": kind.feature.side,
            "dtype": kind.raw_dtype.name,
            "media": kind.is_media,
        }
        columns.append(column | kind.card())
    history = features.history
    return {
        "format": FORMAT,
        "items": items,
        "features": columns,
        "history": None
        if history is None
        else {"name": history.name, "length": history.options.length, "types": [*history.types]},
    }


def _tasks(outputs: TaskOutputs | None) -> dict[str, Any]:
    """Returns what `Ranker` has to know about the graph's outputs, as JSON."""
    if outputs is None:
        return {}
    return {
        "tasks": [task.name for task in outputs.tasks],
        "order": None if outputs.order is None else outputs.order.text,
    }
