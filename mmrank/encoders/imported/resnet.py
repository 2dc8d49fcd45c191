"""ResNet-50 as PyTorch's libraries train it: strides in the 3 x 3 convolutions, and no biases.

Keras's own ResNet50 strides in the preceding 1 x 1 convolutions, and its convolutions have biases.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from mmrank.encoders.imported.conventions import Conventions

STEM, EXPANSION = 64, 4
_ROWS = (3, 4, 6, 3)


@dataclasses.dataclass(frozen=True)
class Bottleneck:
    """One block of three convolutions.

    Attributes:
      stage, row: Number of its stage from 1, and index in the stage from 0.
      inputs, between: Channels; the outputs have four times as many as those between.
      stride: Stride of the second convolution.
    """

    stage: int
    row: int
    inputs: int
    between: int
    stride: int

    @property
    def name(self) -> str:
        return f"block{self.stage}{chr(ord('a') + self.row)}"

    @property
    def outputs(self) -> int:
        return self.between * EXPANSION


def resnet50_blocks() -> tuple[Bottleneck, ...]:
    """Returns the blocks of ResNet-50, from the lowest to the highest."""
    blocks: list[Bottleneck] = []
    inputs = STEM
    for stage, rows in enumerate(_ROWS, 1):
        for row in range(rows):
            stride = 2 if row == 0 and stage > 1 else 1
            blocks.append(Bottleneck(stage, row, inputs, STEM * 2 ** (stage - 1), stride))
            inputs = blocks[-1].outputs
    return tuple(blocks)


def resnet50(height: int, width: int, conventions: Conventions) -> tf.keras.Model:
    """Returns a model from pixels [N, height, width, 3], 0 to 255, to pooled features [N, 2048].

    Args:
      height, width: Size of the photos.
      conventions: Padding, epsilon and scale of pixels.

    Source: He et al. 2016, "Deep residual learning for image recognition", table 1, with the
    strides of Goyal et al. 2017, "Accurate, large minibatch SGD", section 5.1.
    """
    pixels = tf.keras.Input((height, width, 3))
    x = conventions.scaled(pixels)
    x = conventions.convolved(x, STEM, 7, 2, "stem_conv")
    x = tf.keras.layers.ReLU(name="stem_activation")(conventions.norm(x, "stem_bn"))
    # After a ReLU, zeros at the border do not change a maximum.
    x, border = conventions.bordered(x, 3, 2, "stem_pool")
    x = tf.keras.layers.MaxPooling2D(3, 2, padding=border, name="stem_pool")(x)
    for block in resnet50_blocks():
        x = _bottleneck(x, block, conventions)
    pooled = tf.keras.layers.GlobalAveragePooling2D(name="avg_pool")(x)
    return tf.keras.Model(pixels, pooled)


def _bottleneck(inputs: tf.Tensor, block: Bottleneck, conventions: Conventions) -> tf.Tensor:
    name, x = block.name, inputs
    sizes = ((block.between, 1, 1), (block.between, 3, block.stride), (block.outputs, 1, 1))
    for i, (filters, kernel, stride) in enumerate(sizes, 1):
        x = conventions.convolved(x, filters, kernel, stride, f"{name}_{i}_conv")
        x = conventions.norm(x, f"{name}_{i}_bn")
        if i < len(sizes):
            x = tf.keras.layers.ReLU(name=f"{name}_{i}_activation")(x)
    if block.row == 0:
        inputs = conventions.convolved(inputs, block.outputs, 1, block.stride, f"{name}_0_conv")
        inputs = conventions.norm(inputs, f"{name}_0_bn")
    x = tf.keras.layers.Add(name=f"{name}_add")([inputs, x])
    return tf.keras.layers.ReLU(name=f"{name}_out")(x)
