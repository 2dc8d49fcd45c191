"""The folder of an imported image tower: its network, its pixel scale and padding, its weights."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from mmrank.config import ConfigError, from_mapping
from mmrank.encoders.aligned.photo_network import TRANSFORMER, ImportedTransformer
from mmrank.encoders.aligned.shapes import ACTIVATIONS
from mmrank.encoders.fitting import FITS, INTERPOLATIONS
from mmrank.encoders.imported.conventions import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    PADDINGS,
    SAME,
    SYMMETRIC,
    Conventions,
)
from mmrank.encoders.imported.efficientnet import efficientnet
from mmrank.encoders.imported.names import (
    LITE,
    PLAIN,
    PYTORCH,
    RESNET,
    TIMM,
    Scheme,
    copy_weights,
    recognised,
    shape_of,
)
from mmrank.encoders.imported.resnet import resnet50
from mmrank.encoders.imported.state_file import SUFFIXES, find_state_file, read_state
from mmrank.outputs import InputError, new_folder, shown

NETWORK_FILE, WEIGHTS_FILE = "network.json", "weights.h5"
CONFIG_FILE, ARCHITECTURE = "config.json", "architecture"  # in timm's folders
NETWORKS = (*LITE, *PLAIN, RESNET)
_FIX = "import the file again with `python -m mmrank.import_encoder`"
SIZE = 64  # pixels of the network whose weights are written; the weights fit any size


@dataclasses.dataclass(frozen=True)
class ImportedNetwork:
    """The description of the network in the folder.

    Attributes:
      network: One of `NETWORKS`.
      padding, epsilon, mean, std: As in `Conventions`.

    Example:
      >>> network = ImportedNetwork(
      ...     "ResNet50", padding="symmetric", epsilon=1e-5, mean=IMAGENET_MEAN, std=IMAGENET_STD
      ... )
      >>> network.network in NETWORKS, network.padding in PADDINGS
      (True, True)
    """

    network: str
    padding: str
    epsilon: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def model(self, height: int, width: int) -> tf.keras.Model:
        """Returns the network [N, height, width, 3] → [N, D'], its weights not set."""
        conventions = Conventions(self.padding, self.epsilon, self.mean, self.std)
        return build(self.network, height, width, conventions)


def build(network: str, height: int, width: int, conventions: Conventions) -> tf.keras.Model:
    """Returns one of `NETWORKS`, pixels [N, height, width, 3], 0 to 255 → features [N, D']."""
    if network == RESNET:
        return resnet50(height, width, conventions)
    return efficientnet(shape_of(network), height, width, conventions)


def is_imported(weights: str) -> bool:
    """Returns whether the option `weights` names the folder of an imported network.

    Example:
      >>> is_imported("imagenet")
      False
    """
    return (pathlib.Path(weights) / NETWORK_FILE).is_file()


def read_network(folder: pathlib.Path) -> ImportedNetwork | ImportedTransformer:
    """Returns the description of the network in an imported folder.

    Raises:
      ConfigError: The description is damaged or has unknown values.

    Example:
      >>> import dataclasses
      >>> import json
      >>> import pathlib
      >>> network = ImportedNetwork("ResNet50", "symmetric", 1e-5, (127.0,) * 3, (128.0,) * 3)
      >>> _ = pathlib.Path("network.json").write_text(json.dumps(dataclasses.asdict(network)))
      >>> read_network(pathlib.Path(".")) == network
      True
    """
    file = folder / NETWORK_FILE
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file}: not readable JSON: {error}") from error
    if isinstance(plain, dict) and plain.get("network") == TRANSFORMER:
        transformer = from_mapping(ImportedTransformer, plain, str(file))
        right = transformer.fit in FITS and transformer.interpolation in INTERPOLATIONS
        if not right or transformer.shape.stack.activation not in ACTIVATIONS:
            raise ConfigError(f"{file}: its fit, interpolation or activation is not known; {_FIX}")
        return transformer
    network = from_mapping(ImportedNetwork, plain, str(file))
    if network.network not in NETWORKS or network.padding not in PADDINGS:
        raise ConfigError(
            f"{file}: {network.network!r} with padding {network.padding!r} is not known; {_FIX}"
        )
    return network


def conventions_of(
    network: str,
    scheme: Scheme,
    architecture: str,
    *,
    padding: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> Conventions:
    """Returns how a network scales pixels and pads borders: as given, or as its library does.

    Args:
      network, scheme: As `recognised` returns them.
      architecture: The library's name of the network (a file's name or that in config.json). Used
        only for timm, whose two ports of one network have the same tensors.
      padding, mean, std: Values that override the library's.

    Raises:
      InputError: The padding is not known.
    """
    ported = architecture.startswith("tf_") or scheme is PYTORCH
    if padding is None:
        if scheme is TIMM and not architecture.startswith(("tf_efficientnet", "efficientnet")):
            raise InputError(
                "timm has two networks with these tensors; give --padding same for a "
                "tf_efficientnet, trained in TensorFlow, or --padding symmetric for an "
                "efficientnet of timm"
            )
        padding = SAME if ported else SYMMETRIC
    if network in LITE and scheme is PYTORCH:
        default = ((127.0,) * 3, (128.0,) * 3)
    elif network in LITE and padding == SAME:
        default = ((127.5,) * 3, (127.5,) * 3)
    else:
        default = (IMAGENET_MEAN, IMAGENET_STD)
    return Conventions(
        padding, 1e-3 if padding == SAME else 1e-5, mean or default[0], std or default[1]
    )


def is_tower(source: pathlib.Path) -> bool:
    """Returns whether the source is an image tower, not an encoder of texts or sounds.

    An image tower is a file (unless of TensorFlow Lite), or a folder that timm wrote or that has a
    state file but no config.json.
    """
    if source.is_file():
        return source.suffix != ".tflite"
    if not source.is_dir():
        return False
    if not (source / CONFIG_FILE).is_file():
        return any(f.suffix in SUFFIXES for f in source.iterdir())
    return ARCHITECTURE in _config(source)


def import_tower(
    source: pathlib.Path,
    out: pathlib.Path,
    *,
    padding: str | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
) -> tuple[ImportedNetwork, int]:
    """Makes the folder of an image tower; returns its description and its number of weights.

    Args:
      source: A state file, or a folder with one.
      out: The folder to make.
      padding, mean, std: As `conventions_of` takes them.

    Raises:
      InputError: The file cannot be read, or its network is unknown.
      OutputError: The folder exists.

    Example:
      A file of another network is refused before anything is written:

      >>> import pathlib
      >>> import numpy as np
      >>> from safetensors.numpy import save_file
      >>> save_file({"fc.bias": np.zeros(2)}, "other.safetensors")
      >>> import_tower(pathlib.Path("other.safetensors"), pathlib.Path("tower"))
      Traceback (most recent call last):
      mmrank.outputs.InputError: other.safetensors: its tensors (fc.bias …) are not those of ...
    """
    file = find_state_file(source)
    state = read_state(file)
    config = _config(file.parent)
    trained = config.get("pretrained_cfg") or {}
    try:
        network, scheme = recognised(state)
        conventions = conventions_of(
            network,
            scheme,
            str(config.get(ARCHITECTURE, file.stem)).lower(),
            padding=padding,
            mean=mean or _colours(trained.get("mean")),
            std=std or _colours(trained.get("std")),
        )
    except InputError as error:
        raise InputError(f"{file}: {error}") from error
    model = build(network, SIZE, SIZE, conventions)
    copy_weights(model, state, scheme, network)
    written = ImportedNetwork(network, **dataclasses.asdict(conventions))
    with new_folder(out) as folder:
        plain = json.dumps(dataclasses.asdict(written), indent=1)
        (folder / NETWORK_FILE).write_text(plain, encoding="utf-8")
        model.save_weights(folder / WEIGHTS_FILE)
    return written, model.count_params()


def _colours(shares: Sequence[float] | None) -> tuple[float, ...] | None:
    """Returns numbers by colour, given for pixels from 0 to 1, for pixels from 0 to 255."""
    return None if shares is None else tuple(255.0 * float(share) for share in shares)


def _config(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the content of a folder's config.json; empty if the file does not exist.

    Raises:
      InputError: The file is not a JSON mapping.
    """
    file = folder / CONFIG_FILE
    if not file.is_file():
        return {}
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{file}: not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise InputError(f"{file}: holds {shown(plain)}, not a JSON object")
    return plain
