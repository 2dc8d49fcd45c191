"""Config → objects; beside `goals` the only place that knows both."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import (
    CALIBRATION_FILE,
    CONFIG_FILE,
    FEATURES_FILE,
    NETWORK,
    STATE_FILE,
    TREES_FILE,
    Config,
    ConfigError,
    Head,
    Multitask,
    load_run_config,
)
from mmrank.data.batches import ListArrays
from mmrank.data.embedding_cache import cache_folder
from mmrank.data.run_state import DAMAGED, read_state
from mmrank.data.tables import Dataset
from mmrank.encoders.behavior import BehaviorAttention
from mmrank.features import Features, make_features
from mmrank.fusion import make_fusion
from mmrank.goals import (
    UNCERTAINTY,
    build_outputs,
    build_position_towers,
)
from mmrank.matching.cross_encoder import CrossEncoder
from mmrank.models import RankingModel, present_name, ranking_model, with_trees
from mmrank.outputs import one_line, read_json
from mmrank.ranking.heads import ListwiseHead, find_rank_model
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import chains
from mmrank.schema import Schema, did_you_mean, load_schema
from mmrank.scoring import ListScorer, hide, match_features, traced_matches, without
from mmrank.trees.blend import Blend


def build_features(config: Config, schema: Schema) -> Features:
    """The features that a config wants of a schema, not fitted yet."""
    return make_features(
        schema,
        config.model.encoders,
        config.model.drop,
        cache_folder(config.data.cache),
        match=config.model.match == "auto" and not _reads_alone(config),
        cross=config.model.cross,
    )


def build_cross(config: Config, features: Features, outputs: int) -> CrossEncoder | None:
    """The cross-encoder over fitted features, with random weights; None without one."""
    cross = config.model.cross
    pieces = None if features.matching is None else features.matching.pieces
    if cross is None or pieces is None:
        return None
    start, end = pieces.marks()
    return CrossEncoder(
        pieces.shape,
        start=start,
        end=end,
        padding=pieces.words.vocabulary.index(pieces.words.padding),
        outputs=outputs,
        rescore=cross.rescore,
        alone=cross.alone,
        trainable_bert=cross.trainable,
        sub_batch=cross.sub_batch,
        recompute=cross.recompute,
        name="cross_encoder",
    )


def _reads_alone(config: Config) -> bool:
    return config.model.cross is not None and config.model.cross.alone


def build_model(
    config: Config,
    features: Features,
    calibration: Mapping[str, tuple[float, float]] | None = None,
) -> RankingModel:
    """The ranker over fitted features, without trees; `calibration` as `TaskOutputs` takes it.

    Raises:
      ConfigError: Trees are wanted, and there is nothing that they can read.
    """
    width = config.model.width
    outputs = build_outputs(config, calibration)
    behavior: BehaviorAttention | None = None
    if features.history is not None:
        behavior = features.history.encoder(width)
    head = build_head(config.model.head, config.model.multitask, outputs)
    matching = features.matching
    model = ranking_model(
        features.encoders(width, config.model.modality_dropout),
        width=width,
        fusion=make_fusion(config.model.fusion.name, config.model.fusion.options),
        head=head,
        history=None if features.history is None else features.history.name,
        behavior=behavior,
        outputs=outputs,
        given=None if outputs is None else chains(outputs.tasks),
        learn_task_weights=config.training.task_weights == UNCERTAINTY,
        position_towers=build_position_towers(config.training.tasks),
        matching=matching is not None and matching.compares,
        plan=None if matching is None else matching.plan,
        pieces=None if matching is None else matching.pieces,
        cross=build_cross(config, features, max(len(head.tasks), 1)),
        numbers=config.model.name != NETWORK,
    )
    if config.model.name != NETWORK and model.plain is None:
        raise ConfigError(
            f"model.name: {config.model.name} reads match features, numbers, vectors and "
            "categories, of which there are none; take network"
        )
    return model


def build_head(
    head: Head, multitask: Multitask | None = None, outputs: TaskOutputs | None = None
) -> ListwiseHead:
    """The listwise head that a config describes, for several tasks if there are.

    Raises:
      ValueError: An unknown rank model or way of sharing, a number below 1, or layers of attention
        for a rank model that has none.
    """
    several = outputs is not None and len(outputs.tasks) > 1
    sharing = multitask or Multitask()
    named, attention = head.rank_model, head.attention_layers
    rank_model = named if named is not None else "attention" if attention else "none"
    attends = find_rank_model(rank_model).attends
    if attention and not attends:
        raise ValueError(
            f"head: rank_model {named} has no attention, yet attention_layers is {attention}; "
            "leave one of the two out, or take attention or attention_gru"
        )
    return ListwiseHead(
        hidden=head.hidden,
        dropout=head.dropout,
        rank_model=rank_model,
        attention_layers=1 if attention is None else attention,
        attention_heads=head.attention_heads,
        attention_width=head.attention_width,
        gru_units=head.gru_units,
        gru_top=head.gru_top,
        gru_bidirectional=head.gru_bidirectional,
        members=head.members,
        linear=head.linear,
        tasks=outputs.names if outputs is not None and several else (),
        multitask=sharing.name,
        multitask_options=sharing.options,
        name="head",
    )


@dataclasses.dataclass(frozen=True)
class Run:
    """A trained ranker, loaded from the folder of its run.

    Attributes:
      folder: The run's folder.
      config: Its resolved config.
      data: The dataset it was trained on.
      fitted: Its features.
      model: Its graphs, with the best weights.
      tables: What told the contents of the dataset's tables apart, as `table_hashes` gives it.
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
        """Which items of a catalogue have an item feature, [items] bool."""
        return self.items(dataset)[present_name(modality)]

    def keep(self, dataset: Dataset, items: Mapping[str, np.ndarray], scorer: ListScorer) -> None:
        """Takes over the item arrays of a dataset and a scorer, to save making them again."""
        self._kept.update(dataset=dataset, items=items, scorer=scorer)

    def items(self, dataset: Dataset) -> Mapping[str, np.ndarray]:
        """The item feature arrays of a catalogue; those of the last one are kept."""
        if self._kept.get("dataset") is not dataset:
            self._kept.update(dataset=dataset, items=self.fitted.item_arrays(dataset))
        return self._kept["items"]

    def with_order(self, order: str) -> Run:
        """The same run with another order of its tasks.

        Raises:
          ConfigError: The run has no several tasks, or the formula does not fit them.
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
          ConfigError: The trees do not fit.
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
          rows: Rows of `dataset.lists`, a list's rows together.
          drop: Features to treat as absent.
          hidden: By item feature, the items of the catalogue on which to treat it as absent,
            [items] bool.

        Raises:
          ConfigError: `drop` names no feature.
        """
        for name in drop:
            if name not in self.features:
                raise ConfigError(f"no feature {name!r}{did_you_mean(name, self.features)}")
        arrays = without(self.arrays(dataset, rows), drop)
        return self.lists_scorer()(hide(arrays, hidden or {}))

    def raw(self, dataset: Dataset, rows: pd.DataFrame) -> dict[str, np.ndarray]:
        """What the network gives for some rows, [rows] by task; `scores` without tasks."""
        return self.lists_scorer().raw(self.arrays(dataset, rows))

    def arrays(self, dataset: Dataset, rows: pd.DataFrame) -> ListArrays:
        """The feature arrays of some rows of a dataset's lists, a list's rows together."""
        return self.fitted.arrays(dataset, rows, self.items(dataset))

    def match_features(self, dataset: Dataset, rows: pd.DataFrame) -> np.ndarray:
        """The match features [rows, F] of some rows as they are, 0 where there is none.

        Raises:
          ConfigError: The ranker has none.
        """
        features, there = self.matched(self.arrays(dataset, rows))
        return np.where(there, features, 0.0)

    def matched(self, arrays: ListArrays) -> tuple[np.ndarray, np.ndarray]:
        """The match features [rows, F] of lists, and where there are any, [rows, F] bool.

        Raises:
          ConfigError: The ranker has none.
        """
        if self.model.matcher is None:
            raise ConfigError(f"{self.folder}: a ranker without match features")
        if "matches" not in self._kept:
            self._kept["matches"] = traced_matches(self.model)
        return match_features(self.model, self.lists_scorer(), arrays, self._kept["matches"])

    def lists_scorer(self) -> ListScorer:
        """The scorer of whole lists; one is kept for all."""
        if "scorer" not in self._kept:
            training, data = self.config.training, self.config.data
            self._kept["scorer"] = ListScorer(self.model, training.batch_lists, data.buckets)
        return self._kept["scorer"]


def load_run(folder: str | pathlib.Path) -> Run:
    """The trained ranker in a run's folder.

    Raises:
      ConfigError: The folder holds no finished run.
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
        raise ConfigError(f"{folder}: no epoch was finished yet; train on with --resume")
    features.load(folder / FEATURES_FILE)
    model = build_model(config, features, _calibration(folder / CALIBRATION_FILE))
    weights = folder / state["best_weights"]
    try:
        model.network.load_weights(weights).expect_partial()
    except (ValueError, LookupError, tf.errors.OpError) as error:
        raise ConfigError(f"{weights}: damaged: {one_line(error)}; {DAMAGED}") from error
    data = pathlib.Path(state["data"])
    run = Run(folder, config, data, features, model, state.get("tables", {}))
    trees = folder / TREES_FILE
    return run.with_trees(Blend.load(trees)) if trees.is_file() else run


def _calibration(file: pathlib.Path) -> dict[str, tuple[float, float]] | None:
    """What a run's file says of the calibration of its tasks; None without one.

    Raises:
      ConfigError: It is damaged.
    """
    if not file.is_file():
        return None
    plain = read_json(file, DAMAGED)
    try:
        return {task: (float(a), float(b)) for task, (a, b) in plain.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file}: damaged: {one_line(error)}; {DAMAGED}") from error
