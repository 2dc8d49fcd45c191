"""Recognises the network in a state file by the names and shapes of its tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from mmrank.encoders.imported.efficientnet import Block, Shape, efficientnet_shape
from mmrank.encoders.imported.resnet import STEM, resnet50_blocks
from mmrank.outputs import InputError

NORM = ("weight", "bias", "running_mean", "running_var")  # in Keras's order
SIZES = range(5)
LITE = tuple(f"EfficientNetLite{n}" for n in SIZES)
PLAIN = tuple(f"EfficientNetB{n}" for n in SIZES)
RESNET = "ResNet50"
_COUNTED = ".num_batches_tracked"


@dataclasses.dataclass(frozen=True)
class LayerMapping:
    """One layer with weights, and where a file has them.

    Attributes:
      layer: The layer's name in Keras.
      prefix: Prefix of its tensors' names.
      shape: Shape of a convolution's kernel in the file, or only the channels of a norm.
      bias: Whether a convolution has a bias.
    """

    layer: str
    prefix: str
    shape: tuple[int, ...]
    bias: bool = False

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Returns shapes of the file's tensors by name, in the order of the layer's weights."""
        if len(self.shape) == 1:
            return {f"{self.prefix}.{part}": self.shape for part in NORM}
        kernel = {f"{self.prefix}.weight": self.shape}
        return kernel | ({f"{self.prefix}.bias": self.shape[:1]} if self.bias else {})


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How a library names the tensors of a family of networks.

    Attributes:
      library: The library's name.
      stem: A tensor by which its files are recognised.
      classifier: Prefix of the classifier's tensors, which a tower does not use.
      networks: The networks that a file may hold.
      mappings: Returns every layer with weights of such a network.
    """

    library: str
    stem: str
    classifier: str
    networks: tuple[str, ...]
    mappings: Callable[[str], list[LayerMapping]]


def shape_of(network: str) -> Shape:
    """Returns the architecture of an EfficientNet by name."""
    return efficientnet_shape(int(network[-1]), network in LITE)


def recognised(state: Mapping[str, np.ndarray]) -> tuple[str, Scheme]:
    """Returns the network that a state holds, and how its tensors are named.

    Raises:
      InputError: The network is unknown, or tensors are missing, left over or of other shapes.
    """
    scheme = next((s for s in SCHEMES if s.stem in state), None)
    if scheme is None:
        raise InputError(
            f"its tensors ({', '.join(list(state)[:3])} …) are not those of {', '.join(LITE)}, "
            f"{', '.join(PLAIN)} or {RESNET} as {', '.join(s.library for s in SCHEMES)} name them"
        )
    held = {n: v.shape for n, v in state.items() if not n.endswith(_COUNTED)}
    held = {n: s for n, s in held.items() if not n.startswith(scheme.classifier)}
    wrong = {network: _differences(held, scheme.mappings(network)) for network in scheme.networks}
    network = min(wrong, key=lambda n: len(wrong[n]))
    if wrong[network]:
        more = f" and {len(wrong[network]) - 5} more" if len(wrong[network]) > 5 else ""
        raise InputError(
            f"nearest to {network} as {scheme.library} names it, but "
            f"{'; '.join(wrong[network][:5])}{more}"
        )
    return network, scheme


def _differences(held: Mapping[str, tuple[int, ...]], mappings: list[LayerMapping]) -> list[str]:
    wanted = {n: s for mapping in mappings for n, s in mapping.tensors().items()}
    missing = [f"{n} is missing" for n in wanted if n not in held]
    left = [f"{n} is not part of the network" for n in held if n not in wanted]
    other = [
        f"{n} has the shape {list(held[n])}, not {list(s)}"
        for n, s in wanted.items()
        if n in held and held[n] != s
    ]
    return missing + left + other


def copy_weights(
    model: tf.keras.Model, state: Mapping[str, np.ndarray], scheme: Scheme, network: str
) -> None:
    """Gives a built network the weights of a recognised state."""
    for mapping in scheme.mappings(network):
        layer = model.get_layer(mapping.layer)
        arrays = [state[name] for name in mapping.tensors()]
        if len(mapping.shape) == 4:
            depthwise = isinstance(layer, tf.keras.layers.DepthwiseConv2D)
            # [out, in, H, W] to Keras's [H, W, in, out]; depthwise [C, 1, H, W] to [H, W, C, 1].
            arrays[0] = arrays[0].transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
        layer.set_weights(arrays)


def _efficientnet_pytorch(network: str) -> list[LayerMapping]:
    def names(block: Block, number: int) -> dict[str, str]:
        at = f"_blocks.{number}"
        return {
            "expand_conv": f"{at}._expand_conv",
            "expand_bn": f"{at}._bn0",
            "dwconv": f"{at}._depthwise_conv",
            "bn": f"{at}._bn1",
            "se_reduce": f"{at}._se_reduce",
            "se_expand": f"{at}._se_expand",
            "project_conv": f"{at}._project_conv",
            "project_bn": f"{at}._bn2",
        }

    return _efficientnet(network, ("_conv_stem", "_bn0", "_conv_head", "_bn1"), names)


def _timm(network: str) -> list[LayerMapping]:
    def names(block: Block, number: int) -> dict[str, str]:
        at = f"blocks.{block.stage - 1}.{block.row}"
        # Without an expansion, the depthwise convolution comes first.
        first = block.expansion == 1
        return {
            "expand_conv": f"{at}.conv_pw",
            "expand_bn": f"{at}.bn1",
            "dwconv": f"{at}.conv_dw",
            "bn": f"{at}.bn{1 if first else 2}",
            "se_reduce": f"{at}.se.conv_reduce",
            "se_expand": f"{at}.se.conv_expand",
            "project_conv": f"{at}.conv_{'pw' if first else 'pwl'}",
            "project_bn": f"{at}.bn{2 if first else 3}",
        }

    return _efficientnet(network, ("conv_stem", "bn1", "conv_head", "bn2"), names)


def _torchvision(network: str) -> list[LayerMapping]:
    def names(block: Block, number: int) -> dict[str, str]:
        at = f"features.{block.stage}.{block.row}.block"
        depth = 0 if block.expansion == 1 else 1
        return {
            "expand_conv": f"{at}.0.0",
            "expand_bn": f"{at}.0.1",
            "dwconv": f"{at}.{depth}.0",
            "bn": f"{at}.{depth}.1",
            "se_reduce": f"{at}.{depth + 1}.fc1",
            "se_expand": f"{at}.{depth + 1}.fc2",
            "project_conv": f"{at}.{depth + 2}.0",
            "project_bn": f"{at}.{depth + 2}.1",
        }

    ends = ("features.0.0", "features.0.1", "features.8.0", "features.8.1")
    return _efficientnet(network, ends, names)


def _efficientnet(
    network: str, ends: tuple[str, str, str, str], names: Callable[[Block, int], dict[str, str]]
) -> list[LayerMapping]:
    """Returns the layers of an EfficientNet, given prefixes of its ends and its blocks' parts."""
    shape = shape_of(network)
    mappings = [
        LayerMapping("stem_conv", ends[0], (shape.stem, 3, 3, 3)),
        LayerMapping("stem_bn", ends[1], (shape.stem,)),
    ]
    for number, block in enumerate(shape.blocks):
        kernel, prefixes = block.kernel, names(block, number)
        parts: dict[str, tuple[int, ...]] = {}
        if block.expansion > 1:
            parts["expand_conv"] = (block.between, block.inputs, 1, 1)
            parts["expand_bn"] = (block.between,)
        parts["dwconv"] = (block.between, 1, kernel, kernel)
        parts["bn"] = (block.between,)
        if block.squeeze:
            parts["se_reduce"] = (block.squeeze, block.between, 1, 1)
            parts["se_expand"] = (block.between, block.squeeze, 1, 1)
        parts["project_conv"] = (block.outputs, block.between, 1, 1)
        parts["project_bn"] = (block.outputs,)
        mappings += [
            LayerMapping(f"{block.name}_{part}", prefixes[part], size, part.startswith("se_"))
            for part, size in parts.items()
        ]
    top = shape.blocks[-1].outputs
    return [
        *mappings,
        LayerMapping("top_conv", ends[2], (shape.head, top, 1, 1)),
        LayerMapping("top_bn", ends[3], (shape.head,)),
    ]


def _resnet(network: str) -> list[LayerMapping]:
    mappings = [
        LayerMapping("stem_conv", "conv1", (STEM, 3, 7, 7)),
        LayerMapping("stem_bn", "bn1", (STEM,)),
    ]
    for block in resnet50_blocks():
        at, between, outputs = f"layer{block.stage}.{block.row}", block.between, block.outputs
        kernels = (
            (between, block.inputs, 1, 1),
            (between, between, 3, 3),
            (outputs, between, 1, 1),
        )
        for i, kernel in enumerate(kernels, 1):
            mappings.append(LayerMapping(f"{block.name}_{i}_conv", f"{at}.conv{i}", kernel))
            mappings.append(LayerMapping(f"{block.name}_{i}_bn", f"{at}.bn{i}", kernel[:1]))
        if block.row == 0:
            shortcut = (outputs, block.inputs, 1, 1)
            mappings.append(LayerMapping(f"{block.name}_0_conv", f"{at}.downsample.0", shortcut))
            mappings.append(LayerMapping(f"{block.name}_0_bn", f"{at}.downsample.1", (outputs,)))
    return mappings


PYTORCH = Scheme(
    "efficientnet_pytorch", "_conv_stem.weight", "_fc.", (*LITE, *PLAIN), _efficientnet_pytorch
)
TIMM = Scheme("timm", "conv_stem.weight", "classifier.", (*LITE, *PLAIN), _timm)
TORCHVISION = Scheme("torchvision", "features.0.0.weight", "classifier.", PLAIN, _torchvision)
RESNETS = Scheme("torchvision and timm", "conv1.weight", "fc.", (RESNET,), _resnet)
SCHEMES = (PYTORCH, TIMM, TORCHVISION, RESNETS)
