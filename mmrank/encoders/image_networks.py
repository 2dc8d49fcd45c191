"""The networks that photos go through, and where their weights come from."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import pathlib
import re
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.aligned.photo_network import TRANSFORMER
from mmrank.encoders.donor import checkpoint_files, is_run, take_weights
from mmrank.encoders.imported import folder as imported
from mmrank.encoders.imported.conventions import IMAGENET_STD, Conventions
from mmrank.schema import did_you_mean

SCALED = "EfficientNet"
IMAGENET, NONE = "imagenet", "none"

KERAS: dict[str, Callable[..., tf.keras.Model]] = {
    "EfficientNetB0": tf.keras.applications.EfficientNetB0,
    "EfficientNetB1": tf.keras.applications.EfficientNetB1,
    "EfficientNetB2": tf.keras.applications.EfficientNetB2,
    "EfficientNetB3": tf.keras.applications.EfficientNetB3,
    "EfficientNetB4": tf.keras.applications.EfficientNetB4,
    "EfficientNetB5": tf.keras.applications.EfficientNetB5,
    "EfficientNetB6": tf.keras.applications.EfficientNetB6,
    "EfficientNetB7": tf.keras.applications.EfficientNetB7,
    "EfficientNetV2B0": tf.keras.applications.EfficientNetV2B0,
    "EfficientNetV2B1": tf.keras.applications.EfficientNetV2B1,
    "EfficientNetV2B2": tf.keras.applications.EfficientNetV2B2,
    "EfficientNetV2B3": tf.keras.applications.EfficientNetV2B3,
    "EfficientNetV2S": tf.keras.applications.EfficientNetV2S,
    "EfficientNetV2M": tf.keras.applications.EfficientNetV2M,
    "EfficientNetV2L": tf.keras.applications.EfficientNetV2L,
}
# Those that Keras lacks. Of names that both have, a folder of `import_encoder` means its own.
OWN = tuple(name for name in imported.NETWORKS if name not in KERAS)
NETWORKS = (SCALED, *KERAS, *OWN, TRANSFORMER)


def check_network(where: str, network: str, weights: str) -> None:
    """Nothing, if there is such a network and it can have such weights.

    Args:
      where: The feature, to begin the message with.
      network: Its name.
      weights: As the option says.

    Raises:
      ConfigError: It is unknown, or Keras has no imagenet weights of it.
    """
    if network not in NETWORKS:
        raise ConfigError(
            f"{where}: unknown network {network!r}{did_you_mean(network, NETWORKS)}; "
            f"known: {', '.join(NETWORKS)}"
        )
    if network == TRANSFORMER and not (imported.is_imported(weights) or is_run(weights)):
        raise ConfigError(
            f"{where}: network {network!r} has no shape of its own; under `weights`, name a folder "
            "that `python -m mmrank.import_encoder` made of a CLIP or SigLIP, or that of a run"
        )
    if weights == IMAGENET and network not in KERAS:
        lacks = "any scale of it" if network == SCALED else "it"
        raise ConfigError(
            f"{where}: Keras has no imagenet weights of network {network!r} ({lacks}); take "
            "EfficientNetB0 or another member by name, or bring a file: `python -m "
            "mmrank.import_encoder` makes a folder for `weights` of one that PyTorch can read"
        )


def make_network(
    where: str,
    network: str,
    weights: str,
    *,
    height: int,
    width: int,
    width_coefficient: float,
    depth_coefficient: float,
    origin: str,
) -> tf.keras.Model:
    """A network from pixels [N, height, width, 3], 0 to 255, to pooled features [N, D'].

    Args:
      where: The feature, to begin messages with.
      network: One of `NETWORKS`.
      weights: none, imagenet, a weights file of this network, the folder of an imported one, or
        that of a run.
      height, width: Of photos.
      width_coefficient, depth_coefficient: Scale of `EfficientNet` against B0.
      origin: `weights`, or, if these are a run's, those that the run began with: they decide how
        the network is built.

    Raises:
      ConfigError: The weights cannot be had, or do not fit the network.
    """
    model = _built(where, network, origin, height, width, width_coefficient, depth_coefficient)
    if is_run(weights):
        take_weights(model, pathlib.Path(weights), f"{where}: weights {weights!r}")
        for layer in model.layers:
            if isinstance(layer, tf.keras.layers.Normalization):
                layer.finalize_state()  # which it otherwise does when Keras loads it
    elif imported.is_imported(weights):
        _load(where, model, network, str(pathlib.Path(weights) / imported.WEIGHTS_FILE))
    elif weights not in (NONE, IMAGENET):
        _load(where, model, network, weights)
    return model


def _built(
    where: str,
    network: str,
    origin: str,
    height: int,
    width: int,
    width_coefficient: float,
    depth_coefficient: float,
) -> tf.keras.Model:
    if imported.is_imported(origin):
        try:
            return imported.read_network(pathlib.Path(origin)).model(height, width)
        except ConfigError as error:
            raise ConfigError(f"{where}: weights {origin!r}: {error}") from error
    if network in OWN:
        return imported.build(network, height, width, Conventions())
    arguments: dict[str, Any] = {
        "include_top": False,
        "weights": None,
        "input_shape": (height, width, 3),
        "pooling": "avg",
    }
    if network == SCALED:
        # The family's constructor is not exported by name, only its members are.
        family = importlib.import_module(tf.keras.applications.EfficientNetB0.__module__)
        return family.EfficientNet(
            width_coefficient=width_coefficient,
            depth_coefficient=depth_coefficient,
            default_size=height,
            **arguments,
        )
    if origin == IMAGENET:
        return _downloaded(where, network, {**arguments, "weights": IMAGENET})
    return KERAS[network](**arguments)


def _downloaded(where: str, network: str, arguments: dict[str, Any]) -> tf.keras.Model:
    try:
        return KERAS[network](**arguments)
    except Exception as error:  # Keras raises nothing narrower
        said = " ".join(str(error).split())
        file = re.search(r"/([^/\s:]+\.h5)", said)
        if file is None:  # not of the download
            raise
        raise ConfigError(
            f"{where}: weights imagenet of network {network!r} cannot be downloaded ({said}); "
            f"copy {file[1]} from elsewhere to {pathlib.Path('~/.keras/models').expanduser()}, or "
            "name a local file under `weights`"
        ) from error


def _load(where: str, model: tf.keras.Model, network: str, file: str) -> None:
    """Takes up a weights file.

    Raises:
      ConfigError: It cannot be read or does not fit the network.
    """
    path = pathlib.Path(file)
    if path.is_dir() or not (path.is_file() or checkpoint_files(path)):
        raise ConfigError(
            f"{where}: weights {file!r} do not load: no such file, and no folder that `python -m "
            "mmrank.import_encoder` made or that a run was trained in"
        )
    try:
        status = model.load_weights(file)
        if status is not None:  # a checkpoint, of which Keras takes what fits and says nothing
            status.assert_existing_objects_matched()
    except (OSError, ValueError, AssertionError, tf.errors.OpError) as error:
        raise ConfigError(
            f"{where}: weights {file!r} do not load into network {network!r}: {error}"
        ) from error
    if network in KERAS and _is_imagenet(network, path):
        _scale_as_keras(model)


def _is_imagenet(network: str, file: pathlib.Path) -> bool:
    """Whether a file is the one that Keras downloads for `imagenet`, whatever its name."""
    hashes = importlib.import_module(KERAS[network].__module__).WEIGHTS_HASHES
    with contextlib.suppress(OSError):
        return hashlib.md5(file.read_bytes()).hexdigest() in {h for _, h in hashes.values()}
    return False


def _scale_as_keras(model: tf.keras.Model) -> None:
    """Sets the scale of pixels as Keras has it for its own weights.

    It divides by the root of the deviation once more, in a layer that it makes for `imagenet`
    alone; here the variances take that up. EfficientNetV2 has no such layer.
    """
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Normalization):
            deviations = [std / 255 for std in IMAGENET_STD]
            layer.adapt_variance.assign(layer.adapt_variance * deviations)
            layer.finalize_state()
