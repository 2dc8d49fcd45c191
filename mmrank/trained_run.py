"""A trained ranker, in the folder of its run."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.build import build_features, build_model
from mmrank.config import (
    CALIBRATION_FILE,
    CONFIG_FILE,
    FEATURES_FILE,
    STACKED,
    STATE_FILE,
    TREES_FILE,
    Config,
    ConfigError,
    load_run_config,
)
from mmrank.data.batches import ListArrays
from mmrank.data.run_state import DAMAGED, read_state
from mmrank.data.tables import Dataset
from mmrank.features import Features
from mmrank.models import RankingModel, present_name, with_trees
from mmrank.objectives import build_outputs
from mmrank.outputs import UserError, one_line, read_json
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.schema import did_you_mean, load_schema
from mmrank.scoring import ListScorer, hide, match_features, traced_matches, without
from mmrank.trees.blend import Blend
from mmrank.trees.stack import Stack


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained ranker, loaded from the folder of its run.

    Attributes:
      folder: The run's folder.
      config: Its resolved config.
      data: The folder of the dataset that it was trained on.
      fitted: Its features.
      model: Its graphs, with the best weights.
      tables: Hashes of the contents of the dataset's tables, as `table_hashes` returns them.
    """

    folder: pathlib.Path
    config: Config
    data: pathlib.Path
    fitted: Features
    model: RankingModel
    tables: Mapping[str, str] = dataclasses.field(default_factory=dict)
    _kept: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features that can be dropped."""
        return self.fitted.names

    @property
    def modalities(self) -> tuple[str, ...]:
        """Names of the item features, in the order of their tokens."""
        return self.model.modalities

    @property
    def outputs(self) -> TaskOutputs | None:
        """What the outputs of its tasks mean; None for a ranker of grades alone."""
        return self.model.outputs

    def has(self, dataset: Dataset, modality: str) -> np.ndarray:
        """Which items of a catalogue have a certain item feature, [items] bool."""
        return self.items(dataset)[present_name(modality)]

    def keep(self, dataset: Dataset, items: Mapping[str, np.ndarray], scorer: ListScorer) -> None:
        """Keeps the item arrays of a dataset and a scorer, to save making them again."""
        self._kept.update(dataset=dataset, items=items, scorer=scorer)

    def items(self, dataset: Dataset) -> Mapping[str, np.ndarray]:
        """The item feature arrays of a catalogue; the arrays of the last catalogue are kept."""
        if self._kept.get("dataset") is not dataset:
            self._kept.update(dataset=dataset, items=self.fitted.item_arrays(dataset))
        return self._kept["items"]

    def with_order(self, order: str) -> Run:
        """The same run with another order of its tasks.

        Raises:
          ConfigError: The run does not have several tasks, or the formula does not fit them.
        """
        model = dataclasses.replace(self.config.model, order=order)
        config = dataclasses.replace(self.config, model=model)
        before = self.model.outputs
        try:
            outputs = build_outputs(config, None if before is None else before.calibration)
        except ValueError as error:
            raise ConfigError(f"--order: {error}") from error
        return dataclasses.replace(self._with_outputs(outputs), config=config)

    def with_calibration(self, calibration: Mapping[str, tuple[float, float]]) -> Run:
        """The same run with other calibrations of its tasks, as `TaskOutputs` takes them."""
        assert self.model.outputs is not None
        return self._with_outputs(
            dataclasses.replace(self.model.outputs, calibration=dict(calibration))
        )

    def with_trees(self, blend: Blend) -> Run:
        """The same run with trees in its scorer.

        Raises:
          ConfigError: The trees do not fit the run's model.
        """
        try:
            return self._with_model(with_trees(self.model, blend))
        except ValueError as error:
            raise ConfigError(f"{self.folder / TREES_FILE}: {error}") from error

    def _with_outputs(self, outputs: TaskOutputs | None) -> Run:
        return self._with_model(dataclasses.replace(self.model, outputs=outputs))

    def _with_model(self, model: RankingModel) -> Run:
        kept = {n: v for n, v in self._kept.items() if n not in ("scorer", "matches")}
        return dataclasses.replace(self, model=model, _kept=kept)

    def encode(self, dataset: Dataset, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        """The tokens [N, M, D] and their presence [N, M] of the distinct items in some rows."""
        arrays = self.arrays(dataset, rows)
        return self.lists_scorer().encode(arrays, np.unique(arrays.candidates))

    def score(
        self,
        dataset: Dataset,
        rows: pd.DataFrame,
        drop: Sequence[str] = (),
        hidden: Mapping[str, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Scores [rows] of some lists' candidates.

        Args:
          dataset: Any dataset of the run's schema, seen in training or not.
          rows: Rows of `dataset.lists`; each list's rows are adjacent.
          drop: Features to treat as absent.
          hidden: For each item feature, the items of the catalogue on which to treat it as absent,
            [items] bool.

        Raises:
          ConfigError: `drop` names an unknown feature.
        """
        for name in drop:
            if name not in self.features:
                raise ConfigError(f"unknown feature {name!r}{did_you_mean(name, self.features)}")
        arrays = without(self.arrays(dataset, rows), drop)
        return self.lists_scorer()(hide(arrays, hidden or {}))

    def raw(self, dataset: Dataset, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        """The network's outputs for some rows, [rows] by task; `scores` without tasks."""
        return self.lists_scorer().raw(self.arrays(dataset, rows))

    def arrays(self, dataset: Dataset, rows: pd.DataFrame) -> ListArrays:
        """The feature arrays of some rows of a dataset's lists; each list's rows are adjacent."""
        return self.fitted.arrays(dataset, rows, self.items(dataset))

    def match_features(self, dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
        """The match features [rows, F] of some rows before normalisation, 0 where absent.

        Raises:
          ConfigError: The ranker has no match features.
        """
        features, there = self.matched(self.arrays(dataset, rows))
        return np.where(there, features, 0.0)

    def matched(self, arrays: ListArrays) -> tuple[np.ndarray, np.ndarray]:
        """The match features [rows, F] of lists, and where they are present, [rows, F] bool.

        Raises:
          ConfigError: The ranker has no match features.
        """
        if self.model.matcher is None:
            raise ConfigError(f"{self.folder}: the ranker has no match features")
        if "matches" not in self._kept:
            self._kept["matches"] = traced_matches(self.model)
        return match_features(self.model, self.lists_scorer(), arrays, self._kept["matches"])

    def lists_scorer(self) -> ListScorer:
        """The scorer of whole lists; it is created once and kept."""
        if "scorer" not in self._kept:
            training, data = self.config.training, self.config.data
            self._kept["scorer"] = ListScorer(self.model, training.batch_lists, data.buckets)
        return self._kept["scorer"]


def load_run(folder: str | pathlib.Path) -> Run:
    """The trained ranker in a run's folder.

    Raises:
      ConfigError: The folder holds no finished run.

    Example:
      `export_run` has an example of a run that is loaded.

      >>> load_run("runs/none")
      Traceback (most recent call last):
      mmrank.config.ConfigError: runs/none: no config.yaml...
    """
    folder = pathlib.Path(folder)
    for name in (CONFIG_FILE, FEATURES_FILE, STATE_FILE):
        if not (folder / name).is_file():
            raise ConfigError(
                f"{folder}: no {name}, so this is not the folder of a trained run; "
                "train one with `python -m mmrank.train --config configs/quickstart.yaml`"
            )
    config = load_run_config(folder)
    features = build_features(config, load_schema(folder, data=False))
    state = read_state(folder / STATE_FILE)
    if state.get("best_weights") is None:
        raise ConfigError(f"{folder}: no epoch is finished yet; continue training with --resume")
    features.load(folder / FEATURES_FILE)
    trees, calibration = folder / TREES_FILE, _calibration(folder / CALIBRATION_FILE)
    stacked = config.model.name == STACKED
    try:
        stack = Stack.load(trees) if stacked else None
        model = build_model(config, features, calibration, stack)
    except ValueError as error:
        if isinstance(error, UserError) or not stacked:
            raise
        raise ConfigError(f"{trees}: {error}") from error
    weights = folder / state["best_weights"]
    try:
        model.network.load_weights(weights).expect_partial()
    except (ValueError, LookupError, tf.errors.OpError) as error:
        raise ConfigError(f"{weights}: damaged: {one_line(error)}; {DAMAGED}") from error
    data = pathlib.Path(state["data"])
    run = Run(folder, config, data, features, model, state.get("tables", {}))
    return run.with_trees(Blend.load(trees)) if trees.is_file() and not stacked else run


def _calibration(file: pathlib.Path) -> dict[str, tuple[float, float]] | None:
    """The calibration of the tasks that a run's file holds; None without a file.

    Raises:
      ConfigError: The file is damaged.
    """
    if not file.is_file():
        return None
    plain = read_json(file, DAMAGED)
    try:
        return {task: (float(a), float(b)) for task, (a, b) in plain.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file}: damaged: {one_line(error)}; {DAMAGED}") from error
