"""Conventions of a network that its state file does not record, and the layers that use them."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

SAME, SYMMETRIC = "same", "symmetric"
PADDINGS = (SAME, SYMMETRIC)
IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


@dataclasses.dataclass(frozen=True)
class Conventions:
    """How a network was trained, where its tensors do not show it.

    Attributes:
      padding: `same` as in TensorFlow, where strides may make opposite borders differ by a pixel,
        or `symmetric` by half the kernel, as in PyTorch.
      epsilon: Epsilon of BatchNormalization.
      mean, std: By colour, of pixels from 0 to 255: the network receives (x − mean) / std.

    Example:
      >>> import tensorflow as tf
      >>> conventions = Conventions(mean=(100.0,) * 3, std=(50.0,) * 3)
      >>> conventions.scaled(tf.constant([[[[200.0, 100.0, 0.0]]]])).numpy().round(4).tolist()
      [[[[2.0, 0.0, -2.0]]]]
    """

    padding: str = SAME
    epsilon: float = 1e-3
    mean: tuple[float, ...] = (127.0, 127.0, 127.0)
    std: tuple[float, ...] = (128.0, 128.0, 128.0)

    def scaled(self, pixels: tf.Tensor) -> tf.Tensor:
        """Returns pixels [N, H, W, 3] on the scale that the network takes."""
        scale = [1 / s for s in self.std]
        offset = [-m / s for m, s in zip(self.mean, self.std, strict=True)]
        return tf.keras.layers.Rescaling(scale, offset, name="rescaling")(pixels)

    def norm(self, inputs: tf.Tensor, name: str) -> tf.Tensor:
        """Returns inputs [N, H, W, C] after BatchNormalization, of the same shape."""
        return tf.keras.layers.BatchNormalization(epsilon=self.epsilon, name=name)(inputs)

    def convolved(
        self, inputs: tf.Tensor, filters: int | None, kernel: int, stride: int, name: str
    ) -> tf.Tensor:
        """Returns inputs [N, H, W, C] after a convolution without bias, [N, H', W', filters].

        If `filters` is None, the convolution is depthwise and keeps the C channels.
        """
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
        """Returns inputs with the border that a window of this stride needs, and Keras's `padding`.

        The inputs are [N, H, W, C]. At stride 1 both paddings are equal.
        """
        if self.padding == SAME or stride == 1:
            return inputs, "same"
        return tf.keras.layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")(inputs), "valid"
