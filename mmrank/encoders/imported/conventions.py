"""What a state file does not say of its network, and the layers that depend on it."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

SAME, SYMMETRIC = "same", "symmetric"
PADDINGS = (SAME, SYMMETRIC)
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclasses.dataclass(frozen=True)
class Conventions:
    """How a network was trained, as far as its tensors do not tell.

    Attributes:
      padding: `same` as TensorFlow pads, for whose strides the borders may differ by a pixel, or
        `symmetric` by half the kernel, as PyTorch does.
      epsilon: Of BatchNormalization.
      mean, std: By colour, of pixels from 0 to 255: the network sees (x − mean) / std.
    """

    padding: str = SAME
    epsilon: float = 1e-3
    mean: tuple[float, ...] = (127.0, 127.0, 127.0)
    std: tuple[float, ...] = (128.0, 128.0, 128.0)

    def scaled(self, pixels: tf.Tensor) -> tf.Tensor:
        """Pixels [N, H, W, 3] as the network sees them."""
        scale = [1 / s for s in self.std]
        offset = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
        return tf.keras.layers.Rescaling(scale, offset, name="rescaling")(pixels)

    def norm(self, inputs: tf.Tensor, name: str) -> tf.Tensor:
        """Inputs under BatchNormalization."""
        return tf.keras.layers.BatchNormalization(epsilon=self.epsilon, name=name)(inputs)

    def convolved(
        self, inputs: tf.Tensor, filters: int | None, kernel: int, stride: int, name: str
    ) -> tf.Tensor:
        """Inputs under a convolution without bias, depthwise if `filters` is None."""
        inputs, border = self.bordered(inputs, kernel, stride, name)
        arguments = {
            "kernel_size": kernel,
            "strides": stride,
            "padding": border,
            "use_bias": False,
            "name": name,
        }
        if filters is None:
            layer = tf.keras.layers.DepthwiseConv2D(depthwise_initializer="he_normal", **arguments)
        else:
            layer = tf.keras.layers.Conv2D(filters, kernel_initializer="he_normal", **arguments)
        return layer(inputs)

    def bordered(
        self, inputs: tf.Tensor, kernel: int, stride: int, name: str
    ) -> tuple[tf.Tensor, str]:
        """Inputs with the border that a window of this stride needs, and its `padding` in Keras.

        At stride 1 both paddings are one.
        """
        if self.padding == SAME or stride == 1:
            return inputs, "same"
        return tf.keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(inputs), "valid"
