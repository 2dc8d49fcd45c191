"""Reads the architectures of a CLIP or SigLIP folder's two towers from its config.json."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from mmrank.outputs import InputError, shown
from mmrank.schema import did_you_mean

CLIP, SIGLIP = "clip", "siglip"
CONFIG_FILE, TOKENIZER_CONFIG = "config.json", "tokenizer_config.json"


def quick_gelu(inputs: tf.Tensor) -> tf.Tensor:
    """Returns x · sigmoid(1.702 x), the approximation of GELU that CLIP was trained with.

    Source: Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2.
    """
    return inputs * tf.sigmoid(1.702 * inputs)


def gelu(inputs: tf.Tensor) -> tf.Tensor:
    """Returns x · Φ(x)."""
    return tf.nn.gelu(inputs, approximate=False)


def tanh_gelu(inputs: tf.Tensor) -> tf.Tensor:
    """Returns the approximation of GELU by tanh."""
    return tf.nn.gelu(inputs, approximate=True)


ACTIVATIONS = {
    "quick_gelu": quick_gelu,
    "gelu": gelu,
    "gelu_python": gelu,
    "gelu_new": tanh_gelu,
    "gelu_fast": tanh_gelu,
    "gelu_pytorch_tanh": tanh_gelu,
}


def _sizes(hidden: int, heads: int, activation: str, epsilon: float, **more: int) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": 4 * hidden,
        "num_hidden_layers": 12,
        "num_attention_heads": heads,
        "hidden_act": activation,
        "layer_norm_eps": epsilon,
        **more,
    }


_PHOTO = {"num_channels": 3, "image_size": 224}
# Defaults of the library, which leaves these values out of config.json.
_DEFAULTS: dict[str, dict[str, dict[str, Any]]] = {
    CLIP: {
        "text": _sizes(512, 8, "quick_gelu", 1e-5, vocab_size=49408, max_position_embeddings=77),
        "vision": _sizes(768, 12, "quick_gelu", 1e-5, patch_size=32, **_PHOTO),
    },
    SIGLIP: {
        "text": _sizes(
            768, 12, "gelu_pytorch_tanh", 1e-6, vocab_size=32000, max_position_embeddings=64
        ),
        "vision": _sizes(768, 12, "gelu_pytorch_tanh", 1e-6, patch_size=16, **_PHOTO),
    },
}
_PROJECTION = 512  # CLIP's default


@dataclasses.dataclass(frozen=True)
class Stack:
    """The blocks of a transformer that normalises before attention and before the dense layers.

    Attributes:
      hidden, layers, heads, intermediate: Sizes.
      activation: One of `ACTIVATIONS`.
      epsilon: Epsilon of layer normalisation.
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    activation: str
    epsilon: float


@dataclasses.dataclass(frozen=True)
class PhotoShape:
    """The architecture of an image tower.

    Attributes:
      kind: `clip`: a class token and a projection; `siglip`: pooling by attention.
      stack: The blocks.
      size: Pixels of a photo, each way.
      patch: Pixels of a patch, each way.
      width: Width of the vectors.
    """

    kind: str
    stack: Stack
    size: int
    patch: int
    width: int

    @property
    def patches(self) -> int:
        """How many patches a photo has."""
        return (self.size // self.patch) ** 2


@dataclasses.dataclass(frozen=True)
class TextShape:
    """The architecture of a text tower.

    Attributes:
      kind: `clip`: a token attends to earlier tokens only; `siglip`: to all tokens.
      stack: The blocks.
      vocabulary_size, positions: Rows of the tables.
      width: Width of the vectors.
    """

    kind: str
    stack: Stack
    vocabulary_size: int
    positions: int
    width: int


def read_shapes(path: pathlib.Path, kind: str) -> tuple[PhotoShape, TextShape]:
    """Returns the architectures of a folder's towers.

    Args:
      path: The folder.
      kind: `clip` or `siglip`.

    Raises:
      InputError: config.json is missing or has impossible values.
    """
    file = path / CONFIG_FILE
    config = read_json(file)
    found = config.get("model_type", kind)
    if found != kind:
        raise InputError(f"{file}: model_type is {shown(found)}, not {kind!r}")
    photo, text = _Part(file, config, kind, "vision"), _Part(file, config, kind, "text")
    stacks = photo.stack(), text.stack()
    size, patch = photo.count("image_size"), photo.count("patch_size")
    if patch > size:
        raise InputError(f"{file}: patch_size {patch} is above image_size {size}")
    if photo.count("num_channels") != 3:
        raise InputError(f"{file}: vision_config.num_channels is not 3; photos have three colours")
    if photo.values.get("vision_use_head", True) is not True:
        raise InputError(f"{file}: vision_use_head is false, so its photos have no vector")
    if kind == CLIP:
        whole = _Part(file, {"_config": {"projection_dim": _PROJECTION} | config}, "", "")
        widths = (whole.count("projection_dim"),) * 2
    else:
        hidden = stacks[1].hidden
        text.values.setdefault("projection_size", hidden)
        widths = stacks[0].hidden, text.count("projection_size")
        if widths[0] != widths[1]:
            raise InputError(
                f"{file}: vectors of photos are {widths[0]} wide and those of texts {widths[1]}, "
                "so they cannot be compared"
            )
    return (
        PhotoShape(kind, stacks[0], size, patch, widths[0]),
        TextShape(
            kind,
            stacks[1],
            text.count("vocab_size"),
            text.count("max_position_embeddings"),
            widths[1],
        ),
    )


def read_json(file: pathlib.Path, needed: bool = True) -> dict[str, Any]:
    """Returns the names and values of a JSON file; empty if it is missing and not needed.

    Raises:
      InputError: The file is needed but missing, or is not a JSON mapping.
    """
    if not file.is_file():
        if needed:
            raise InputError(f"{file}: no such file, so not the folder of a CLIP or SigLIP")
        return {}
    try:
        plain = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON: {error}") from error
    if not isinstance(plain, dict):
        raise InputError(f"{file}: holds {shown(plain)}, not a JSON object")
    return plain


class _Part:
    """One part of a config.json; the library's defaults fill in missing values."""

    def __init__(self, file: pathlib.Path, config: Mapping[str, Any], kind: str, part: str):
        self.file, self.name = file, f"{part}_config"
        defaults = _DEFAULTS[kind][part] if kind else {}
        # Older files repeat a part under another name, which then takes precedence.
        given = [config.get(self.name), config.get(f"{self.name}_dict")]
        for values in given:
            if values is not None and not isinstance(values, dict):
                raise InputError(f"{file}: {self.name} is {shown(values)}, not a JSON object")
        own, old = (values or {} for values in given)
        self.values: dict[str, Any] = defaults | own | ((defaults | old) if old else {})

    def count(self, key: str) -> int:
        """Returns the value of a key, checked to be an integer of at least 1."""
        value = self.values[key]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise InputError(
                f"{self.file}: {self._of(key)} is {shown(value)}, not a whole number of 1 or more"
            )
        return value

    def stack(self) -> Stack:
        """Returns the blocks."""
        hidden, heads = self.count("hidden_size"), self.count("num_attention_heads")
        if hidden % heads:
            raise InputError(
                f"{self.file}: {self._of('hidden_size')} {hidden} is not a multiple of {heads} "
                "heads"
            )
        activation = self.values["hidden_act"]
        if not isinstance(activation, str) or activation not in ACTIVATIONS:
            raise InputError(
                f"{self.file}: {self._of('hidden_act')} is {shown(activation)}"
                f"{did_you_mean(str(activation), ACTIVATIONS)}; known: {', '.join(ACTIVATIONS)}"
            )
        epsilon = self.values["layer_norm_eps"]
        number = isinstance(epsilon, (int, float)) and not isinstance(epsilon, bool)
        if not number or not 0 < epsilon < 1:
            raise InputError(
                f"{self.file}: {self._of('layer_norm_eps')} is {shown(epsilon)}, not between 0 "
                "and 1"
            )
        return Stack(
            hidden,
            self.count("num_hidden_layers"),
            heads,
            self.count("intermediate_size"),
            activation,
            float(epsilon),
        )

    def _of(self, key: str) -> str:
        return f"{self.name}.{key}".removeprefix("_config.")
