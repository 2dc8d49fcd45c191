"""Fine-tuning schedules: which layers of an encoder learn when, and at which rate.

An encoder that was trained elsewhere should not be torn apart by the first gradients of a head
that knows nothing yet. So its layers may begin later, from the top downward, and learn more slowly
the lower they are.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence

import tensorflow as tf

from mmrank.config import Config, ConfigError, FineTune
from mmrank.encoders.base import FeatureKind
from mmrank.matching.pieces import NO_WEIGHTS
from mmrank.models import FeatureEncoder, RankingModel
from mmrank.schema import did_you_mean
from mmrank.training.optimizer import Pace

SCHEDULES = ("full", "gradual", "frozen")
CROSS = "cross"
PRETRAINED_RATE = 0.06  # of 5e-4, as rankers learn at, 3e-5, as a BERT is fine-tuned at
# `transformer_layer_3/`, `layer_._3/`, `block2b_dwconv/`: the number of a layer in a weight's name.
_LAYER = re.compile(r"(?:layer|block)[_.]*(\d+)([a-z]?)(?=[_/])")
logger = logging.getLogger(__name__)


def settings_by_feature(
    wanted: Mapping[str, FineTune], kinds: Mapping[str, FeatureKind]
) -> dict[str, FineTune]:
    """The setting of every feature that has one; its own goes before that of its kind.

    Args:
      wanted: Settings by feature name or by kind.
      kinds: The features of the model by name.

    Raises:
      ConfigError: A key names neither a feature nor a kind in the model, or a value is impossible.
    """
    known = {*kinds, *(k.feature.kind for k in kinds.values())}
    for name, setting in wanted.items():
        where = f"training.fine_tune: {name}"
        if name not in known:
            raise ConfigError(
                f"{where}: neither a feature nor a kind of the model{did_you_mean(name, known)}"
            )
        check_setting(name, setting)
    found = {n: wanted.get(n, wanted.get(k.feature.kind)) for n, k in kinds.items()}
    return {name: setting for name, setting in found.items() if setting is not None}


def check_setting(name: str, setting: FineTune) -> None:
    """Checks the values of the setting of that name.

    Raises:
      ConfigError: A value is impossible.
    """
    where = f"training.fine_tune: {name}"
    if setting.schedule not in SCHEDULES:
        raise ConfigError(
            f"{where}: unknown schedule {setting.schedule!r}"
            f"{did_you_mean(setting.schedule, SCHEDULES)}; known: {', '.join(SCHEDULES)}"
        )
    lowest = {"unfreeze_epoch": 0, "layers_per_epoch": 1, "layers": 1}
    for option, least in lowest.items():
        value = getattr(setting, option)
        if value is not None and value < least:
            raise ConfigError(f"{where}: {option} starts at {least}, not {value}")
    if setting.learning_rate <= 0 or not 0 < setting.layer_decay <= 1:
        raise ConfigError(
            f"{where}: learning_rate is above 0 and layer_decay in (0, 1], "
            f"not {setting.learning_rate} and {setting.layer_decay}; "
            "to learn nothing, set `schedule: frozen`"
        )


def fine_tune(
    encoders: Sequence[FeatureEncoder],
    settings: Mapping[str, FineTune],
    epoch_steps: int,
    epochs: int,
) -> list[tuple[tf.Variable, Pace]]:
    """The paces of the encoders' variables; frozen encoders are made untrainable on the way.

    An encoder that begins later keeps the statistics of its BatchNormalization layers, with their
    scales and offsets, for the whole training: batches of another shop would overwrite them.

    Args:
      encoders: The model's, before it is compiled.
      settings: By feature name.
      epoch_steps: Steps of an epoch.
      epochs: Of the whole training.

    Raises:
      ConfigError: An encoder has nothing to learn, or features that share one disagree.

    Source: Howard and Ruder 2018, "ULMFiT", sections 3.2 (discriminative rates) and 3.3 (gradual
    unfreezing).
    """
    paces: list[tuple[tf.Variable, Pace]] = []
    done: dict[int | None, str] = {}
    for feature in encoders:
        setting = settings.get(feature.name)
        if setting is None:
            continue
        where = f"training.fine_tune: {feature.name}"
        layer = feature.encoder
        # Not by the layer: one may be wrapped where the other is not.
        first = id(layer.weights[0]) if layer.weights else None
        if first in done:
            other = done[first]
            if settings[other] != setting:
                raise ConfigError(
                    f"{where}: shares its encoder with {other!r}; give both one setting, or put "
                    "the features in groups of their own"
                )
            continue
        if first is None or not layer.trainable_variables:
            raise ConfigError(
                f"{where}: its encoder learns nothing; set trainable: true under model.encoders"
            )
        done[first] = feature.name
        paces += _paces(feature.name, layer, setting, epoch_steps, epochs)
    return paces


def of_features(config: Config) -> dict[str, FineTune]:
    """The settings of a config that are about features: without the cross-encoder's, if any."""
    wanted = dict(config.training.fine_tune)
    if config.model.cross is not None:
        wanted.pop(CROSS, None)
    return wanted


def cross_paces(
    config: Config, model: RankingModel, epoch_steps: int
) -> list[tuple[tf.Variable, Pace]]:
    """The paces of the variables of a cross-encoder's BERT; none without one.

    Args:
      config: The resolved config.
      model: The ranker, before it is compiled.
      epoch_steps: Steps of an epoch.

    Raises:
      ConfigError: The setting is impossible, or the BERT has nothing to learn.
    """
    cross = config.model.cross
    if cross is None or model.cross is None:
        return []
    setting = config.training.fine_tune.get(CROSS)
    if setting is None:
        if cross.weights == NO_WEIGHTS or not cross.trainable:
            return []
        setting = FineTune(learning_rate=PRETRAINED_RATE)
    check_setting(CROSS, setting)
    if not model.cross.bert.trainable_variables:
        raise ConfigError(
            f"training.fine_tune: {CROSS}: the BERT learns nothing; set model.cross.trainable: true"
        )
    return _paces(CROSS, model.cross.bert, setting, epoch_steps, config.training.epochs)


def _paces(
    name: str, layer: tf.keras.layers.Layer, setting: FineTune, epoch_steps: int, epochs: int
) -> list[tuple[tf.Variable, Pace]]:
    if setting.schedule == "frozen":
        layer.trainable = False
        logger.info(
            "%s: frozen, and computed at every step; `trainable: false` under model.encoders "
            "computes it once a value, where its kind has that option",
            name,
        )
        return []
    if setting.schedule == "gradual":
        for part in layer.submodules:
            if isinstance(part, tf.keras.layers.BatchNormalization):
                part.trainable = False
    groups = layers_of(layer.trainable_variables)
    never = groups[: -setting.layers] if setting.layers else []
    paces = _stopped(layer, [v for group in never for v in group], epoch_steps * epochs)
    groups = groups[len(never) :]
    for below, group in enumerate(reversed(groups)):
        epoch = 0
        if setting.schedule == "gradual":
            later = below // setting.layers_per_epoch if setting.layers_per_epoch else 0
            epoch = setting.unfreeze_epoch + later
        rate = setting.learning_rate * setting.layer_decay**below
        paces += [(variable, Pace(epoch * epoch_steps, rate)) for variable in group]
    last = epoch  # of the lowest
    logger.info(
        "%s: %s, %d of %d layers, %s, learning rate × %.3g%s",
        name,
        setting.schedule,
        len(groups),
        len(never) + len(groups),
        f"from epoch {setting.unfreeze_epoch + 1} to {last + 1}" if last else "from the start",
        setting.learning_rate,
        f" down to × {rate:.3g}" if setting.layer_decay < 1 else "",
    )
    if last >= epochs:
        logger.warning(
            "%s: its lowest layers would begin in epoch %d, but there are %d epochs",
            name,
            last + 1,
            epochs,
        )
    return paces


def _stopped(
    layer: tf.keras.layers.Layer, variables: list[tf.Variable], steps: int
) -> list[tuple[tf.Variable, Pace]]:
    """Paces of variables that only the optimizer can stop, once layers of them alone are frozen.

    Args:
      layer: The encoder.
      variables: Those that never learn.
      steps: Of the whole training.
    """
    below = {id(v) for v in variables}
    for part in layer.submodules:
        own = getattr(part, "trainable_weights", [])
        if isinstance(part, tf.keras.layers.Layer) and own and all(id(v) in below for v in own):
            part.trainable = False
    # Those of a hub model are of one layer with all others.
    return [(v, Pace(steps)) for v in layer.trainable_variables if id(v) in below]


def layers_of(variables: Sequence[tf.Variable]) -> list[list[tf.Variable]]:
    """An encoder's variables by layer, the lowest layer first.

    Layers are told by the numbers in the names, as BERTs and EfficientNets have them. What stands
    before the first number is the lowest layer (embeddings, a stem); anything else without one
    belongs to the layer before it. An encoder without numbers is one layer.

    Args:
      variables: In the encoder's own order.
    """
    groups: dict[tuple[int, str], list[tf.Variable]] = {}
    place = (-1, "")
    for variable in variables:
        numbered = _LAYER.search(variable.name)
        if numbered:
            place = (int(numbered[1]), numbered[2])
        groups.setdefault(place, []).append(variable)
    return [groups[place] for place in sorted(groups)]
