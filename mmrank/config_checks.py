"""What of a config can be checked before any data is read."""

from __future__ import annotations

from mmrank.build import build_head
from mmrank.config import (
    MODELS,
    NETWORK,
    NO_TEACHER,
    TREES,
    Config,
    ConfigError,
    Loss,
)
from mmrank.fusion import make_fusion
from mmrank.goals import (
    build_loss,
    build_outputs,
    build_position_towers,
    check_task_weights,
)
from mmrank.matching.pieces import NO_WEIGHTS
from mmrank.ranking.position_tower import FORMS
from mmrank.schema import did_you_mean
from mmrank.trees.grow import check_installed

MATCHES = ("auto", "none")
TPU = "tpu"
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def check_config(config: Config) -> None:
    """Checks every name in a config that some table resolves, before anything slow begins.

    Raises:
      ConfigError: A loss, fusion, rank model or option that there is not.
    """
    try:
        check_cross(config)
        check_trees(config)
        check_teacher(config)
        build_loss(config.training.loss)
        make_fusion(config.model.fusion.name, config.model.fusion.options)
        outputs = build_outputs(config)
        build_head(config.model.head, config.model.multitask, outputs)
        check_task_weights(config)
        _check_members(config)
        if config.model.match not in MATCHES:
            raise ValueError(
                f"model.match: unknown {config.model.match!r}; known: {', '.join(MATCHES)}"
            )
        if config.training.mixed_precision not in PRECISIONS:
            raise ValueError(
                f"training.mixed_precision: unknown {config.training.mixed_precision!r}; known: "
                f"{', '.join(PRECISIONS)}"
            )
        if not config.data.buckets:
            raise ValueError("data.buckets: give at least one length")
        build_position_towers(config.training.tasks)
        if config.training.loss.name in FORMS and not config.training.tasks:
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
            f"model.head.members: {config.model.head.members} towers are for one score on grades "
            f"and do not go with {what}; give it 1"
        )


def check_cross(config: Config) -> None:
    """Checks what a config says of a cross-encoder, as far as it needs no dataset.

    Raises:
      ValueError: A value is impossible, or two do not go together.
    """
    cross = config.model.cross
    if cross is None:
        return
    if cross.weights == NO_WEIGHTS and cross.hidden % cross.heads:
        raise ValueError(
            f"model.cross: {cross.hidden} hidden units are not a multiple of {cross.heads} heads"
        )
    if cross.alone and cross.rescore is not None:
        raise ValueError("model.cross: rescore needs a first score, which alone leaves out")
    if cross.alone and config.training.tasks:
        raise ValueError("model.cross.alone: works on grades; leave training.tasks out")
    if cross.rescore is not None and len(config.training.tasks) > 1:
        raise ValueError("model.cross.rescore: works on one score; with several tasks leave it out")
    if config.training.strategy == TPU:
        raise ValueError(
            "model.cross: reads pairs of any number, which strategy tpu cannot; distil it into a "
            "ranker without"
        )


def check_trees(config: Config) -> None:
    """Checks what a config says of trees, as far as it needs no dataset.

    Raises:
      ValueError: A value is impossible, or two do not go together.
      MissingExtra: CatBoost is not installed.
    """
    name, trees = config.model.name, config.model.trees
    if name not in MODELS:
        raise ValueError(f"model.name: unknown {name!r}{did_you_mean(name, MODELS)}")
    if name == NETWORK:
        return
    if config.training.tasks:
        raise ValueError(f"model.name: {name} learns from grades alone; leave training.tasks out")
    if config.data.records is not None:
        raise ValueError(f"model.name: {name} grows trees on tables; leave data.records out")
    if config.training.popularity_weight:
        raise ValueError(
            f"model.name: {name} counts all rows alike; leave training.popularity_weight out"
        )
    if not trees.losses or not trees.depths:
        raise ValueError("model.trees: name at least one of losses, and of depths")
    check_installed()


def check_teacher(config: Config) -> None:
    """Checks what a config says of a teacher, as far as it needs no dataset.

    Raises:
      ValueError: A value is impossible, or two do not go together.
      MissingExtra: It is trees, and CatBoost is not installed.
    """
    teacher, where = config.training.teacher, "training.teacher"
    if teacher.run == NO_TEACHER:
        return
    if config.training.tasks:
        raise ValueError(f"{where}: a teacher's scores are one goal; leave training.tasks out")
    if config.training.loss != Loss():
        raise ValueError(
            f"{where}: its probabilities are learned by softmax_loss alone; leave training.loss out"
        )
    if config.data.records is not None:
        raise ValueError(f"{where}: a teacher scores tables; leave data.records out")
    if config.training.strategy == "multi_worker":
        raise ValueError(f"{where}: a student is trained on one host; take another strategy")
    if config.model.name == TREES:
        raise ValueError(f"{where}: trees learn from grades alone; take network or hybrid")
    if teacher.run == TREES:
        check_installed()
