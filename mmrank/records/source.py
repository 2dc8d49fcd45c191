"""The training lists in shards as a source for training: counts, fits and batches them."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
from tqdm import tqdm

from mmrank.config import Config, ConfigError
from mmrank.data.batches import Batches, ListArrays, bucket_lengths, count_batches, label_name
from mmrank.data.tables import DataError, Dataset
from mmrank.encoders import FeatureKind
from mmrank.features import Features
from mmrank.models import present_name
from mmrank.objectives import build_tasks
from mmrank.propensity.table import read_propensities
from mmrank.records.batches import RecordBatches
from mmrank.records.lists import LENGTH, RecordParser, RecordReader
from mmrank.records.shards import (
    INDEX_FILE,
    find_shards,
    index_shards,
    load_index,
    messages,
    save_index,
)
from mmrank.schema import PSEUDO
from mmrank.training.position_bias import POSITION
from mmrank.training.sources import labels_of, make_batches
from mmrank.training.targets import check_select_by

FIT_CHUNK = 512


class RecordLists:
    """The training lists in the shards of the folder that `data.records` names.

    Args:
      config: Config of the training.
      dataset: The dataset. Its schema describes the records; its catalogue has the items of events.
      run: Folder of the run. The index of the shards is kept there for resuming the run.

    Raises:
      DataError: The folder is not finished, has no training list, or a shard is missing or of
        another size.

    Example:
      >>> import dataclasses
      >>> import pathlib
      >>> from mmrank.config import Config
      >>> from mmrank.data.simulator import simulate
      >>> from mmrank.data.tables import load_dataset
      >>> _ = simulate("shop", items=60, queries=20, users=5)
      >>> data = dataclasses.replace(Config().data, records="shards")
      >>> config = dataclasses.replace(Config(), data=data)
      >>> RecordLists(config, load_dataset("shop"), pathlib.Path("run"))
      Traceback (most recent call last):
      mmrank.data.findings.DataError: shards: no such folder; make it with ...
    """

    def __init__(self, config: Config, dataset: Dataset, run: pathlib.Path):
        assert config.data.records is not None
        self._folder = pathlib.Path(config.data.records)
        self._files = find_shards(self._folder, "train")
        self._fit_lists = config.data.fit_lists
        self._dataset, self._run = dataset, run
        self._wanted = dict.fromkeys(
            [*labels_of(config), *(["grade"] if not build_tasks(config) else [])]
        )
        if config.training.pseudo_weight != 1:
            self._wanted[PSEUDO] = None

    def check(self, config: Config) -> None:
        """Checks the config against the schema, before anything is read.

        Raises:
          ConfigError: The config weights rows by popularity, which needs tables, or selects by an
            unknown label.
          DataError: The schema lacks a label that the config needs.
        """
        training, schema = config.training, self._dataset.schema
        if training.popularity_weight:
            raise ConfigError(
                "training.popularity_weight counts the training rows of the tables; leave it out "
                "with data.records"
            )
        check_select_by(training.select_by)
        for label in [*self._wanted, *filter(None, [training.select_by])]:
            if schema.label(label) is None:
                raise DataError(
                    f"{self._folder}: the config learns or selects by the label {label!r}, which "
                    f"the schema in {self._dataset.folder} does not name"
                )
        for task in training.tasks.values():
            if task.position_bias.propensities is not None:
                read_propensities(pathlib.Path(task.position_bias.propensities))

    def fit(self, features: Features) -> None:
        """Fits features on up to `data.fit_lists` lists, the first ones of every shard.

        Raises:
          DataError: Damaged records, or a label that no candidate of these lists has.
        """
        parser, share = RecordParser(features), -(-self._fit_lists // len(self._files))
        parts: dict[str, list[np.ndarray]] = {}
        for file in tqdm(self._files, desc="fitting features", unit=" shards", disable=None):
            lists = messages(file, 0, share)
            while chunk := list(itertools.islice(lists, FIT_CHUNK)):
                for name, part in _by_candidate(parser(chunk), features).items():
                    parts.setdefault(name, []).append(part)
        if not parts:
            raise DataError(f"{self._folder}: the shards hold no list")
        values = {name: np.concatenate(arrays) for name, arrays in parts.items()}
        for label in self._wanted:
            if not np.isfinite(values[label_name(label)]).any():
                raise DataError(
                    f"{self._folder}: no candidate has a {label}; write it, or drop the task"
                )
        columns = {k.name: _column(k, values) for k in features.columns.values()}
        types = None
        if features.history is not None:
            types = _texts(values[f"{features.history.name}_types"])
        features.fit_values(columns, types[types != ""] if types is not None else None)

    def batches(
        self, config: Config, features: Features, items: Mapping[str, np.ndarray]
    ) -> RecordBatches:
        """The batches of these lists; see `TrainingLists`."""
        if (self._run / INDEX_FILE).is_file():
            windows = load_index(self._run, self._files)
        else:
            windows = index_shards(
                self._files, config.data.window_lists, lambda lengths: _describe(config, lengths)
            )
            save_index(self._run, self._files, windows)

        def make(arrays: ListArrays, seed: int) -> Batches:
            return make_batches(config, arrays, self._weights(config, arrays), seed)

        reader = RecordReader(features, self._dataset.item_ids, items)
        return RecordBatches(self._files, windows, reader, make, config.seed)

    def _weights(self, config: Config, arrays: ListArrays) -> np.ndarray | None:
        """Weights of a window's rows; None if all are 1. Checks positions where a task needs them.

        Raises:
          DataError: A row lacks the position that a task needs.
        """
        if POSITION in self._wanted and not (arrays.labels[POSITION] >= 1).all():
            raise DataError(
                f"{self._folder}: an example has no `{POSITION}` of at least 1, which a task needs"
            )
        weight = config.training.pseudo_weight
        if weight == 1:
            return None
        given = np.nan_to_num(arrays.labels[PSEUDO]) > 0
        return np.where(given, np.float32(weight), np.float32(1))


def _describe(config: Config, lengths: np.ndarray) -> dict[str, int]:
    cut = np.minimum(lengths, config.data.max_candidates)
    padded = bucket_lengths(cut, config.data.buckets)
    return {
        "batches": count_batches(padded, config.training.batch_lists),
        "candidates": int(cut.sum()),
        "longest": int(cut.max()),
    }


def _by_candidate(raw: Mapping[str, np.ndarray], features: Features) -> dict[str, np.ndarray]:
    """Raw values by candidate: contexts are repeated, arrays of events are flattened."""
    contexts = {k.name for k in features.of_side("query", "user")}
    contexts |= {present_name(name) for name in contexts}
    events = () if features.history is None else (f"{features.history.name}_",)
    flat = {}
    for name, values in raw.items():
        if name in contexts:
            flat[name] = np.repeat(values, raw[LENGTH])
        elif events and name.startswith(events):
            flat[name] = values.reshape(-1)
        elif name != LENGTH:
            flat[name] = values
    return flat


def _column(kind: FeatureKind, values: Mapping[str, np.ndarray]) -> pd.Series:
    """A column with the values that `fit` would read from a table with these raw values."""
    raw = values[kind.name]
    if kind.is_media:
        return pd.Series([""] * len(raw), dtype=object)
    if raw.dtype != object:
        return pd.Series(np.where(values[present_name(kind.name)], raw, np.nan))
    return kind.cells(_texts(raw))


def _texts(raw: np.ndarray) -> pd.Series:
    codes, distinct = pd.factorize(raw)  # one object per distinct text, not per candidate
    return pd.Series(np.array([t.decode("utf-8", "replace") for t in distinct], object)[codes])
