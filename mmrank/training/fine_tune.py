"""Fine-tuning schedules: when each layer of an encoder begins to learn, and at which rate.

The first gradients of an untrained head would damage a pretrained encoder. So the layers of the
encoder may begin later, from the top layer downward. Lower layers may learn at a lower rate.
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
PRETRAINED_RATE = 0.06  # of a ranker's usual 5e-4: 3e-5, a usual rate for fine-tuning a BERT
# The number of a layer in a weight's name: `transformer_layer_3/`, `layer_._3/`, `block2b_dwconv/`.
_LAYER = re.compile(r"(?:layer|block)[_.]*(\d+)([a-z]?)(?=[_/])")
logger = logging.getLogger(__name__)


def settings_by_feature(
    wanted: Mapping[str, FineTune], kinds: Mapping[str, FeatureKind]
) -> dict[str, FineTune]:
    """Returns the setting of every feature that has one, by feature name.

    A setting for the feature takes precedence over one for its kind.

    Args:
      wanted: Settings by feature name or by kind.
      kinds: The features of the model by name.

    Raises:
      ConfigError: A key names neither a feature nor a kind in the model, or a value is invalid.
    """
    known = {*kinds, *(k.feature.kind for k in kinds.values())}
    for name, setting in wanted.items():
        where = f"training.fine_tune: {name}"
        if name not in known:
            raise ConfigError(
                f"{where}: is not a feature or a kind of the model{did_you_mean(name, known)}"
            )
        check_setting(name, setting)
    found = {n: wanted.get(n, wanted.get(k.feature.kind)) for n, k in kinds.items()}
    return {name: setting for name, setting in found.items() if setting is not None}


def check_setting(name: str, setting: FineTune) -> None:
    """Checks the values of the setting with the given name.

    Raises:
      ConfigError: A value is invalid.
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
            raise ConfigError(f"{where}: {option}: expected {least} or more, got {value}")
    if setting.learning_rate <= 0 or not 0 < setting.layer_decay <= 1:
        raise ConfigError(
            f"{where}: learning_rate must be above 0 and layer_decay in (0, 1], "
            f"not {setting.learning_rate} and {setting.layer_decay}; "
            "to train nothing, set `schedule: frozen`"
        )


def fine_tune(
    encoders: Sequence[FeatureEncoder],
    settings: Mapping[str, FineTune],
    epoch_steps: int,
    epochs: int,
) -> list[tuple[tf.Variable, Pace]]:
    """Returns the paces of the encoders' variables; makes frozen encoders untrainable.

    With the gradual schedule, the BatchNormalization layers of an encoder are frozen for the whole
    training, including their scales and offsets. Otherwise batches of another dataset would
    overwrite their statistics.

    Args:
      encoders: The model's encoders, before the model is compiled.
      settings: Settings by feature name.
      epoch_steps: Steps per epoch.
      epochs: Number of epochs of the whole training.

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
        # Shared encoders are recognised by their first weight and not by the layer, since the layer
        # may be wrapped for one feature only.
        first = id(layer.weights[0]) if layer.weights else None
        if first in done:
            other = done[first]
            if settings[other] != setting:
                raise ConfigError(
                    f"{where}: shares its encoder with {other!r}; give both the same setting, or "
                    "put the features in separate groups"
                )
            continue
        if first is None or not layer.trainable_variables:
            raise ConfigError(
                f"{where}: its encoder is not trained; set trainable: true under model.encoders"
            )
        done[first] = feature.name
        paces += _paces(feature.name, layer, setting, epoch_steps, epochs)
    return paces


def of_features(config: Config) -> dict[str, FineTune]:
    """Returns the settings of a config for features, without that of a cross-encoder."""
    wanted = dict(config.training.fine_tune)
    if config.model.cross is not None:
        wanted.pop(CROSS, None)
    return wanted


def cross_paces(
    config: Config, model: RankingModel, epoch_steps: int
) -> list[tuple[tf.Variable, Pace]]:
    """Returns the paces of the variables of a cross-encoder's BERT; empty without a cross-encoder.

    Args:
      config: The resolved config.
      model: The ranker, before it is compiled.
      epoch_steps: Steps per epoch.

    Raises:
      ConfigError: The setting is invalid, or the BERT has no trainable variables.
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
            f"training.fine_tune: {CROSS}: the BERT is not trained; set model.cross.trainable: true"
        )
    return _paces(CROSS, model.cross.bert, setting, epoch_steps, config.training.epochs)


def _paces(
    name: str, layer: tf.keras.layers.Layer, setting: FineTune, epoch_steps: int, epochs: int
) -> list[tuple[tf.Variable, Pace]]:
    if setting.schedule == "frozen":
        layer.trainable = False
        logger.info(
            "%s: frozen, but computed in every step; `trainable: false` under model.encoders "
            "computes it once per value, if its kind has that option",
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
    last = epoch  # in which the lowest layer begins
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
            "%s: its lowest layers would start in epoch %d, but training has %d epochs",
            name,
            last + 1,
            epochs,
        )
    return paces


def _stopped(
    layer: tf.keras.layers.Layer, variables: list[tf.Variable], steps: int
) -> list[tuple[tf.Variable, Pace]]:
    """Freezes variables for the whole training and returns paces for those the optimizer must stop.

    A sublayer that holds only such variables is made untrainable. A variable in a layer that also
    holds other variables gets a pace that begins after the last step.

    Args:
      layer: The encoder.
      variables: The variables that never learn.
      steps: Number of steps of the whole training.
    """
    below = {id(v) for v in variables}
    for part in layer.submodules:
        own = getattr(part, "trainable_weights", [])
        if isinstance(part, tf.keras.layers.Layer) and own and all(id(v) in below for v in own):
            part.trainable = False
    # A hub model holds all its variables in one layer.
    return [(v, Pace(steps)) for v in layer.trainable_variables if id(v) in below]


def layers_of(variables: Sequence[tf.Variable]) -> list[list[tf.Variable]]:
    """Returns an encoder's variables by layer, the lowest layer first.

    Layers are identified by the numbers in the names, as in BERTs and EfficientNets. The variables
    before the first number form the lowest layer (embeddings, a stem). Any other variable without a
    number belongs to the layer before it. An encoder without numbers is one layer.

    Args:
      variables: Variables in the encoder's own order.
    """
    groups: dict[tuple[int, str], list[tf.Variable]] = {}
    layer = (-1, "")
    for variable in variables:
        numbered = _LAYER.search(variable.name)
        if numbered:
            layer = (int(numbered[1]), numbered[2])
        groups.setdefault(layer, []).append(variable)
    return [groups[layer] for layer in sorted(groups)]
