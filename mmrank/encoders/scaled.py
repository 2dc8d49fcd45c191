"""Numbers on one scale: by deviations from the mean, by place among quantiles, or both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Annotated, Any

import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.encoders.quantiles import QuantilePlaces
from mmrank.ranges import OneOf, Weight, Whole

# Deviations beyond which a value says no more: one absurd price must not drown the rest.
LIMIT = 5.0


@dataclasses.dataclass(frozen=True)
class ScalingOptions:
    """How numbers are scaled, and what their encoder makes of them.

    Attributes:
      quantiles: Take each number by its place among this many quantiles of the training values, in
        place of its deviation from the mean; 0 for the latter. For measurements of many scales.
      deviations: With quantiles, take its deviation too.
      noise: Deviation of the Gaussian noise that training adds, where numbers have deviation 1.
      layers: Dense layers over the numbers, 2 or 0; with 0 the model's own projection is all.
      norm: Whether the token is layer-normalised. Without, it keeps how large the numbers are.
    """

    quantiles: Whole = 0
    deviations: bool = False
    noise: Weight = 0.0
    layers: Annotated[int, OneOf((0, 2))] = 2
    norm: bool = True


def check_scaling(options: ScalingOptions, where: str) -> None:
    """Checks what options say together.

    Raises:
      ConfigError: They do not go together; the message begins with `where`.
    """
    if options.deviations and not options.quantiles:
        raise ConfigError(
            f"{where}: deviations stands beside quantiles, of which there are 0; give some"
        )


class Scaled(tf.keras.layers.Layer):
    """Scaled numbers [N, K] float32 of numbers [N, K]; [N, 2 K] by place, then by deviation.

    Args:
      mean, deviation: Of the training values, K numbers each.
      knots: Quantiles of each number, by which it is scaled; none for mean and deviation.
      deviations: Whether both are given where there are knots.
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
        self.places = QuantilePlaces(self.knots, name="places") if self.knots else None

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
