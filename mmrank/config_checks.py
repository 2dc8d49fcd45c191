"""Checks of a config that need no data."""

from __future__ import annotations

from mmrank.build import build_fusion, build_head
from mmrank.config import (
    HYBRID,
    MODELS,
    NETWORK,
    NO_TEACHER,
    PLAIN,
    READS,
    STACKED,
    TREES,
    VECTORS,
    Config,
    ConfigError,
    Loss,
)
from mmrank.matching.extras import EXTRAS
from mmrank.matching.pieces import NO_WEIGHTS
from mmrank.objectives import (
    build_loss,
    build_outputs,
    build_position_towers,
    check_task_weights,
)
from mmrank.ranking.losses import LOSSES
from mmrank.ranking.position_tower import ADD
from mmrank.schema import did_you_mean
from mmrank.trees.grow import check_installed

MATCHES = ("auto", "none")
TPU, MULTI_WORKER = "tpu", "multi_worker"
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def check_config(config: Config) -> None:
    """Checks that every name in a config is known, before anything slow begins.

    Raises:
      ConfigError: A loss, fusion, rank model or option is unknown.
    """
    try:
        check_cross(config)
        check_trees(config)
        check_teacher(config)
        build_loss(config.training.loss)
        build_fusion(config.model.fusion)
        outputs = build_outputs(config)
        build_head(config.model.head, config.model.multitask, outputs)
        check_task_weights(config)
        _check_members(config)
        check_match(config)
        if config.training.mixed_precision not in PRECISIONS:
            raise ValueError(
                f"training.mixed_precision: unknown {config.training.mixed_precision!r}; known: "
                f"{', '.join(PRECISIONS)}"
            )
        if not config.data.buckets:
            raise ValueError("data.buckets: must have at least one length")
        build_position_towers(config.training.tasks)
        if LOSSES.entry(config.training.loss.name).form != ADD and not config.training.tasks:
            raise ValueError(
                f"training.loss: {config.training.loss.name} learns from clicks and positions; "
                "name it as the loss of a task, under training.tasks"
            )
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _check_members(config: Config) -> None:
    if config.model.head.members > 1 and (config.training.tasks or config.model.cross is not None):
        what = "tasks" if config.training.tasks else "a cross-encoder"
        raise ValueError(
            f"model.head.members: {config.model.head.members} towers need a single score "
            f"on grades and cannot be combined with {what}; set it to 1"
        )


def check_match(config: Config) -> None:
    """Checks the options for match features, as far as this needs no dataset.

    Raises:
      ValueError: A name is unknown, or further match features are requested while match features
        are switched off.
    """
    model = config.model
    if model.match not in MATCHES:
        raise ValueError(f"model.match: unknown {model.match!r}; known: {', '.join(MATCHES)}")
    for name in model.match_extra:
        EXTRAS.entry(name, "model.match_extra")
    alone = model.cross is not None and model.cross.alone
    if model.match_extra and (model.match == "none" or alone):
        left_out = "model.cross.alone" if alone else "model.match: none"
        raise ValueError(
            f"model.match_extra: {left_out} disables match features; remove one of the two"
        )


def check_cross(config: Config) -> None:
    """Checks the options of a cross-encoder, as far as this needs no dataset.

    Raises:
      ValueError: A value is impossible, or two values cannot be combined.
    """
    cross = config.model.cross
    if cross is None:
        return
    if cross.weights == NO_WEIGHTS and cross.hidden % cross.heads:
        raise ValueError(
            f"model.cross: {cross.hidden} hidden units are not a multiple of {cross.heads} heads"
        )
    if cross.alone and cross.rescore is not None:
        raise ValueError("model.cross: rescore needs a first score, and alone has none; remove one")
    if cross.alone and config.training.tasks:
        raise ValueError("model.cross.alone: learns from grades only; remove training.tasks")
    if cross.rescore is not None and len(config.training.tasks) > 1:
        raise ValueError("model.cross.rescore: needs a single score; remove it, or use one task")
    if config.training.strategy == TPU:
        raise ValueError(
            "model.cross: reads a varying number of pairs, which strategy tpu does not support; "
            "distil it into a ranker without a cross-encoder"
        )


def check_trees(config: Config) -> None:
    """Checks the options of trees, as far as this needs no dataset.

    Raises:
      ValueError: A value is impossible, or two values cannot be combined.
      MissingExtra: CatBoost is not installed.
    """
    name, trees = config.model.name, config.model.trees
    if name not in MODELS:
        raise ValueError(f"model.name: unknown {name!r}{did_you_mean(name, MODELS)}")
    if name == NETWORK:
        return
    if config.training.tasks:
        raise ValueError(f"model.name: {name} learns from grades only; remove training.tasks")
    if config.data.records is not None:
        raise ValueError(f"model.name: {name} grows trees on tables; remove data.records")
    if config.training.popularity_weight:
        raise ValueError(
            f"model.name: {name} gives all rows equal weight; remove training.popularity_weight"
        )
    for read in trees.reads:
        if read not in READS:
            raise ValueError(f"model.trees.reads: unknown {read!r}{did_you_mean(read, READS)}")
    if VECTORS in trees.reads and name != HYBRID:
        raise ValueError(
            f"model.trees.reads: vectors come from a trained network, but model.name {name} "
            f"grows its trees before the network; use {HYBRID}, or read {PLAIN} only"
        )
    if name == STACKED and config.model.cross is not None and config.model.cross.alone:
        raise ValueError(
            f"model.cross.alone: leaves no score for trees; use {NETWORK}, or remove alone"
        )
    if name == STACKED and config.training.strategy == MULTI_WORKER:
        raise ValueError(f"model.name: {name} grows its trees on one host; use another strategy")
    if not trees.losses or not trees.depths or not trees.reads:
        raise ValueError("model.trees: losses, depths and reads must each have at least one entry")
    check_installed()


def check_teacher(config: Config) -> None:
    """Checks the options of a teacher, as far as this needs no dataset.

    Raises:
      ValueError: A value is impossible, or two values cannot be combined.
      MissingExtra: The teacher is trees, and CatBoost is not installed.
    """
    teacher, where = config.training.teacher, "training.teacher"
    if teacher.run == NO_TEACHER:
        return
    if config.training.tasks:
        raise ValueError(f"{where}: a teacher's scores are one objective; remove training.tasks")
    if config.training.loss != Loss():
        raise ValueError(
            f"{where}: its probabilities are learned by softmax_loss only; remove training.loss"
        )
    if config.data.records is not None:
        raise ValueError(f"{where}: a teacher scores tables; remove data.records")
    if config.training.strategy == MULTI_WORKER:
        raise ValueError(f"{where}: a student is trained on one host; use another strategy")
    if config.model.name == TREES:
        raise ValueError(f"{where}: trees learn from grades only; use network or hybrid")
    if teacher.run == TREES:
        check_installed()
