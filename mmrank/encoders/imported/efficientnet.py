"""EfficientNet B0 to B4 and EfficientNet-Lite 0 to 4 as other libraries train them.

Keras's own B0 to B4 pad and normalise differently than PyTorch files require, and Keras has no
Lite.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import tensorflow as tf

from mmrank.encoders.imported.conventions import Conventions

# Blocks, expansion, kernel, stride and outputs of the seven stages of B0.
_STAGES = (
    (1, 1, 3, 1, 16),
    (2, 6, 3, 2, 24),
    (2, 6, 5, 2, 40),
    (3, 6, 3, 2, 80),
    (3, 6, 5, 1, 112),
    (4, 6, 5, 2, 192),
    (1, 6, 3, 1, 320),
)
# Width and depth relative to B0, the same for B and Lite.
_SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))
_STEM, _HEAD, _SQUEEZE = 32, 1280, 0.25


@dataclasses.dataclass(frozen=True)
class Block:
    """One inverted residual block.

    Attributes:
      stage, row: Number of its stage from 1, and index in the stage from 0.
      inputs, outputs: Channels.
      expansion: Factor from inputs to the channels between.
      kernel, stride: Sizes of the depthwise convolution.
      squeeze: Channels of squeeze-and-excitation; 0 for none.
    """

    stage: int
    row: int
    inputs: int
    outputs: int
    expansion: int
    kernel: int
    stride: int
    squeeze: int

    @property
    def name(self) -> str:
        return f"block{self.stage}{chr(ord('a') + self.row)}"

    @property
    def between(self) -> int:
        return self.inputs * self.expansion


@dataclasses.dataclass(frozen=True)
class Shape:
    """The architecture of one network.

    Attributes:
      blocks: The blocks from the lowest to the highest.
      stem, head: Channels before and after the blocks.
      lite: Whether it has ReLU6 instead of swish, and no squeeze-and-excitation.
    """

    blocks: tuple[Block, ...]
    stem: int
    head: int
    lite: bool


def efficientnet_shape(size: int, lite: bool) -> Shape:
    """Returns the architecture of B`size` or Lite`size`.

    Source: Tan and Le 2019, "EfficientNet", section 4, and the description of EfficientNet-Lite,
    in which the stem, the head and the numbers of blocks in the first and last stage do not grow.
    """
    width, depth = _SCALES[size]
    stem = _STEM if lite else _channels(_STEM, width)
    blocks: list[Block] = []
    inputs = stem
    for stage, (rows, expansion, kernel, stride, outputs) in enumerate(_STAGES, 1):
        fixed = lite and stage in (1, len(_STAGES))
        for row in range(rows if fixed else math.ceil(rows * depth)):
            block = Block(
                stage,
                row,
                inputs,
                _channels(outputs, width),
                expansion,
                kernel,
                stride if row == 0 else 1,
                0 if lite else max(int(inputs * _SQUEEZE), 1),
            )
            blocks.append(block)
            inputs = block.outputs
    return Shape(tuple(blocks), stem, _HEAD if lite else _channels(_HEAD, width), lite)


def _channels(count: int, width: float) -> int:
    """Returns scaled channels, a multiple of 8 that is at most a tenth too small."""
    scaled = count * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def efficientnet(shape: Shape, height: int, width: int, conventions: Conventions) -> tf.keras.Model:
    """Returns a model from pixels [N, height, width, 3], 0 to 255, to pooled features [N, head].

    Its layers are named like those of Keras's EfficientNet.

    Args:
      shape: The architecture.
      height, width: Size of the photos.
      conventions: Padding, epsilon and scale of pixels.
    """
    active = functools.partial(_activation, "relu6" if shape.lite else "swish")
    pixels = tf.keras.Input((height, width, 3))
    x = conventions.scaled(pixels)
    x = conventions.convolved(x, shape.stem, 3, 2, "stem_conv")
    x = active(conventions.norm(x, "stem_bn"), "stem_activation")
    for block in shape.blocks:
        x = _block(x, block, conventions, active)
    x = conventions.convolved(x, shape.head, 1, 1, "top_conv")
    x = active(conventions.norm(x, "top_bn"), "top_activation")
    pooled = tf.keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return tf.keras.Model(pixels, pooled)


def _activation(name: str, inputs: tf.Tensor, layer: str) -> tf.Tensor:
    if name == "relu6":
        return tf.keras.layers.ReLU(6.0, name=layer)(inputs)
    return tf.keras.layers.Activation(name, name=layer)(inputs)


def _block(
    inputs: tf.Tensor, block: Block, conventions: Conventions, active: functools.partial
) -> tf.Tensor:
    name, x = block.name, inputs
    if block.expansion > 1:
        x = conventions.convolved(x, block.between, 1, 1, f"{name}_expand_conv")
        x = active(conventions.norm(x, f"{name}_expand_bn"), f"{name}_expand_activation")
    x = conventions.convolved(x, None, block.kernel, block.stride, f"{name}_dwconv")
    x = active(conventions.norm(x, f"{name}_bn"), f"{name}_activation")
    if block.squeeze:
        seen = tf.keras.layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_se_squeeze")(x)
        reduce = tf.keras.layers.Conv2D(block.squeeze, 1, name=f"{name}_se_reduce")
        expand = tf.keras.layers.Conv2D(
            block.between, 1, activation="sigmoid", name=f"{name}_se_expand"
        )
        seen = expand(active(reduce(seen), f"{name}_se_activation"))
        x = tf.keras.layers.Multiply(name=f"{name}_se_excite")([x, seen])
    x = conventions.convolved(x, block.outputs, 1, 1, f"{name}_project_conv")
    x = conventions.norm(x, f"{name}_project_bn")
    if block.stride == 1 and block.inputs == block.outputs:
        x = tf.keras.layers.Add(name=f"{name}_add")([x, inputs])
    return x
