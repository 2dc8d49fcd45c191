"""Numbers on one scale: by deviations from the mean, by rank among quantiles, or both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.quantiles import QuantileRanks
from mmrank.ranges import OneOf, Weight, Whole

# Larger deviations are clipped to this: one absurd price must not drown the rest.
LIMIT = 5.0


@dataclasses.dataclass(frozen=True)
class ScalingOptions:
    """Options of how numbers are scaled and encoded.

    Attributes:
      signed_log: Take sign(x) log(1 + |x|) first, for amounts of either sign and any size.
      quantiles: Scale each number by its rank among this many quantiles of the training values
        instead of by its deviation from the mean; 0 for the latter. For measurements of many
        scales.
      deviations: With quantiles, take the deviation too.
      noise: Deviation of the Gaussian noise that training adds, on a scale where numbers have
        deviation 1.
      layers: Dense layers over the numbers, 2 or 0; with 0, only the model's own projection.
      norm: Whether the token is layer-normalised. Without it, the token keeps the magnitude of the
        numbers.
    """

    signed_log: bool = False
    quantiles: Whole = 0
    deviations: bool = False
    noise: Weight = 0.0
    layers: Annotated[int, OneOf((0, 2))] = 2
    norm: bool = True


def check_scaling(options: ScalingOptions, where: str) -> None:
    """Checks that options fit together.

    Raises:
      ConfigError: The options contradict each other; the message begins with `where`.
    """
    if options.deviations and not options.quantiles:
        raise ConfigError(f"{where}: deviations needs quantiles, but quantiles is 0; set it")


def signed_log(values: np.ndarray) -> np.ndarray:
    """Returns sign(x) log(1 + |x|) of values [...].

    Example:
      >>> import numpy as np
      >>> signed_log(np.array([-np.expm1(1.0), 0.0, np.expm1(2.0)])).round(4).tolist()
      [-1.0, 0.0, 2.0]
    """
    return np.sign(values) * np.log1p(np.abs(values))


def signed_log_graph(values: tf.Tensor) -> tf.Tensor:
    """Returns the result of `signed_log`, in graph ops."""
    return tf.sign(values) * tf.math.log1p(tf.abs(values))


class Scaled(tf.keras.layers.Layer):
    """Scaled numbers [N, K] float32 of numbers [N, K]; [N, 2 K], ranks first, if scaled both ways.

    Args:
      mean, deviation: Statistics of the training values, K numbers each.
      knots: Quantiles of each number to scale it by; empty to scale by mean and deviation.
      deviations: With knots, whether to return both ranks and deviations.

    Example:
      >>> import tensorflow as tf
      >>> Scaled(mean=[10.0], deviation=[2.0])(tf.constant([[9.0], [14.0]])).numpy().tolist()
      [[-0.5], [2.0]]
    """

    def __init__(
        self,
        mean: Sequence[float],
        deviation: Sequence[float],
        knots: Sequence[Sequence[float]] = (),
        deviations: bool = False,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)
        self.mean, self.deviation = list(mean), list(deviation)
        self.knots, self.deviations = [list(k) for k in knots], deviations
        self.places = QuantileRanks(self.knots, name="places") if self.knots else None

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        if self.places is not None and not self.deviations:
            return self.places(inputs)
        scaled = (tf.cast(inputs, tf.float32) - self.mean) / self.deviation
        scaled = tf.clip_by_value(scaled, -LIMIT, LIMIT)
        return scaled if self.places is None else tf.concat([self.places(inputs), scaled], -1)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "mean": self.mean,
            "deviation": self.deviation,
            "knots": self.knots,
            "deviations": self.deviations,
        }
