"""The networks that encode photos, and the sources of their weights."""

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
# Networks that Keras lacks. For a name in both, a folder of `import_encoder` uses its own network.
OWN = tuple(name for name in imported.NETWORKS if name not in KERAS)
NETWORKS = (SCALED, *KERAS, *OWN, TRANSFORMER)


def check_network(where: str, network: str, weights: str) -> None:
    """Checks that a network exists and can have the given weights.

    Args:
      where: The feature, with which the message begins.
      network: The network's name.
      weights: The option `weights`.

    Raises:
      ConfigError: The network is unknown, the weights do not describe the shape of a transformer,
        or Keras has no imagenet weights of the network.
    """
    if network not in NETWORKS:
        raise ConfigError(
            f"{where}: unknown network {network!r}{did_you_mean(network, NETWORKS)}; "
            f"known: {', '.join(NETWORKS)}"
        )
    if network == TRANSFORMER and not (imported.is_imported(weights) or is_run(weights)):
        raise ConfigError(
            f"{where}: network {network!r} has no fixed shape; set `weights` to a folder that "
            "`python -m mmrank.import_encoder` made from a CLIP or SigLIP, or to that of a run"
        )
    if weights == IMAGENET and network not in KERAS:
        lacks = " at any scale" if network == SCALED else ""
        raise ConfigError(
            f"{where}: Keras has no imagenet weights for network {network!r}{lacks}; use "
            "EfficientNetB0 or another network by name, or a file of your own: `python -m "
            "mmrank.import_encoder` makes a folder for `weights` from one that PyTorch can read"
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
    """Returns a network from pixels [N, height, width, 3], 0 to 255, to pooled features [N, D'].

    Args:
      where: The feature, with which messages begin.
      network: One of `NETWORKS`.
      weights: none, imagenet, a weights file of this network, the folder of an imported network,
        or the folder of a run.
      height, width: Size of the photos.
      width_coefficient, depth_coefficient: Scale of `EfficientNet` relative to B0.
      origin: `weights`, or, if these are a run's, the weights that the run began with. They
        determine how the network is built.

    Raises:
      ConfigError: The weights are not available or do not fit the network.
    """
    model = _built(where, network, origin, height, width, width_coefficient, depth_coefficient)
    if is_run(weights):
        take_weights(model, pathlib.Path(weights), f"{where}: weights {weights!r}")
        for layer in model.layers:
            if isinstance(layer, tf.keras.layers.Normalization):
                layer.finalize_state()  # Keras does so only when it loads weights itself
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
        # Keras exports only the members of the family by name, not its constructor.
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
        reason = " ".join(str(error).split())
        file = re.search(r"/([^/\s:]+\.h5)", reason)
        if file is None:  # not an error of the download
            raise
        raise ConfigError(
            f"{where}: weights imagenet of network {network!r} cannot be downloaded ({reason}); "
            f"copy {file[1]} from another machine to "
            f"{pathlib.Path('~/.keras/models').expanduser()}, or name a local file under `weights`"
        ) from error


def _load(where: str, model: tf.keras.Model, network: str, file: str) -> None:
    """Loads a weights file into the model.

    Raises:
      ConfigError: The file cannot be read or does not fit the network.
    """
    path = pathlib.Path(file)
    if path.is_dir() or not (path.is_file() or checkpoint_files(path)):
        raise ConfigError(
            f"{where}: weights {file!r} do not load: neither a file nor a folder that `python -m "
            "mmrank.import_encoder` made or a run was trained in"
        )
    try:
        status = model.load_weights(file)
        if status is not None:  # a checkpoint: Keras silently loads only the weights that match
            status.assert_existing_objects_matched()
    except (OSError, ValueError, AssertionError, tf.errors.OpError) as error:
        raise ConfigError(
            f"{where}: weights {file!r} do not load into network {network!r}: {error}"
        ) from error
    if network in KERAS and _is_imagenet(network, path):
        _scale_as_keras(model)


def _is_imagenet(network: str, file: pathlib.Path) -> bool:
    """Returns whether a file, under any name, is the one that Keras downloads for `imagenet`."""
    hashes = importlib.import_module(KERAS[network].__module__).WEIGHTS_HASHES
    with contextlib.suppress(OSError):
        return hashlib.md5(file.read_bytes()).hexdigest() in {h for _, h in hashes.values()}
    return False


def _scale_as_keras(model: tf.keras.Model) -> None:
    """Sets the model's scale of pixels to the one that Keras uses for its own weights.

    Keras divides by the square root of the deviation once more, in a layer that it adds only for
    `imagenet`. Here the variances include that factor. EfficientNetV2 has no such layer.
    """
    for layer in model.layers:
        if isinstance(layer, tf.keras.layers.Normalization):
            deviations = [std / 255 for std in IMAGENET_STD]
            layer.adapt_variance.assign(layer.adapt_variance * deviations)
            layer.finalize_state()
