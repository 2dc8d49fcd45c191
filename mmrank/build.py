"""Builds objects from a config; besides `objectives` the only module that knows both."""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from mmrank.config import NETWORK, STACKED, Config, ConfigError, Fusion, Head, Multitask
from mmrank.data.embedding_cache import cache_folder
from mmrank.encoders.behavior import BehaviorAttention
from mmrank.features import Features, make_features
from mmrank.fusion import make_fusion
from mmrank.matching.cross_encoder import CrossEncoder
from mmrank.models import RankingModel, ranking_model
from mmrank.objectives import UNCERTAINTY, build_outputs, build_position_towers
from mmrank.ranking.heads import ListwiseHead
from mmrank.ranking.rank_models import RANK_MODELS
from mmrank.ranking.task_outputs import TaskOutputs
from mmrank.ranking.tasks import chains
from mmrank.schema import Schema
from mmrank.scorer_graph import FIXED
from mmrank.tracing import as_written
from mmrank.trees.stack import Stack


def build_features(config: Config, schema: Schema) -> Features:
    """The features that a config selects from a schema, not fitted yet."""
    return make_features(
        schema,
        config.model.encoders,
        config.model.drop,
        cache_folder(config.data.cache),
        match=config.model.match == "auto" and not _reads_alone(config),
        cross=config.model.cross,
        match_extra=config.model.match_extra,
    )


def build_cross(config: Config, features: Features, outputs: int) -> CrossEncoder | None:
    """The cross-encoder over fitted features, with random weights; None if the config has none."""
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


@as_written
def build_model(
    config: Config,
    features: Features,
    calibration: Mapping[str, tuple[float, float]] | None = None,
    stack: Stack | None = None,
) -> RankingModel:
    """The ranker over fitted features; its scorer does not contain blended trees.

    Args:
      config: The config.
      features: Fitted features.
      calibration: As `TaskOutputs` takes it.
      stack: The trees whose score a stacked ranker reads; None to build a ranker with which such
        trees can be grown.

    Raises:
      ConfigError: The config asks for trees, but there is nothing that they can read.
      ValueError: `stack` reads other numbers than the ranker has.
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
        fusion=build_fusion(config.model.fusion),
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
        reads=_reads(config),
        stack=stack,
    )
    if config.model.name != NETWORK and model.plain is None:
        raise ConfigError(
            f"model.name: {config.model.name} needs match features, numbers, vectors or "
            "categories, and the schema has none; use network"
        )
    return model


def _reads(config: Config) -> tuple[str, ...]:
    """What trees can read of the scorer, in the form that `ranking_model` takes."""
    if config.model.name == NETWORK:
        return ()
    return (FIXED,) if config.model.name == STACKED else config.model.trees.reads


def build_fusion(fusion: Fusion) -> tf.keras.layers.Layer:
    """The fusion that a config describes.

    Raises:
      ConfigError: The fusion or an option is unknown, or a value is out of its range.
    """
    return make_fusion(fusion.name, fusion.options, "model.fusion")


def build_head(
    head: Head, multitask: Multitask | None = None, outputs: TaskOutputs | None = None
) -> ListwiseHead:
    """The listwise head that a config describes, with several tasks if there are.

    Raises:
      ValueError: The rank model or the way of sharing is unknown, a number is below 1, or layers
        of attention are given for a rank model that has none.
    """
    several = outputs is not None and len(outputs.tasks) > 1
    sharing = multitask or Multitask()
    named, attention = head.rank_model, head.attention_layers
    rank_model = named if named is not None else "attention" if attention else "none"
    attends = RANK_MODELS.make(rank_model, where="model.head").attends
    if attention and not attends:
        raise ValueError(
            f"head: rank_model {named} has no attention, but attention_layers is {attention}; "
            "remove one of the two, or use attention or attention_gru"
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
        sharing=head.sharing,
        linear=head.linear,
        tasks=outputs.names if outputs is not None and several else (),
        multitask=sharing.name,
        multitask_options=sharing.options,
        name="head",
    )
