"""Numbers: price, rating, sales. Normalised by what training saw, inside the graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.data.media import MediaStore
from mmrank.encoders.base import FeatureKind
from mmrank.encoders.quantiles import quantile_knots
from mmrank.encoders.scaled import Scaled, ScalingOptions, check_scaling
from mmrank.ranges import Whole
from mmrank.schema import Feature


@dataclasses.dataclass(frozen=True)
class NumberOptions(ScalingOptions):
    """Options of a number, beside those of scaling, which come after the logarithm.

    Attributes:
      log: Take log(1 + x) first, for counts and prices; values below 0 count as 0.
      buckets: Also one-hot the value into this many quantile buckets; 0 for none.
    """

    log: bool = False
    buckets: Whole = 0


class Number(FeatureKind):
    """A real number; NaN or infinite means absent."""

    sides = frozenset({"item", "query", "user", "pair", "label"})
    raw_dtype = tf.float32
    plain = True
    Options = NumberOptions

    mean = 0.0
    deviation = 1.0
    boundaries: tuple[float, ...] = ()
    knots: tuple[list[float], ...] = ()

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        super().__init__(feature, options)
        check_scaling(self.options, f"feature {self.name!r}")

    @property
    def unnormed(self) -> bool:
        return not self.options.norm

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float32, na_value=np.nan)
        present = np.isfinite(numbers)
        return np.where(present, numbers, np.float32(0)), present

    def fit(self, values: pd.Series) -> None:
        numbers, present = self.read(values, None)
        known = numbers[present].astype(np.float64)
        if not len(known):
            return
        if self.options.log:
            known = np.log1p(np.maximum(known, 0))
        self.mean = float(known.mean())
        # A constant column, up to rounding, must not blow up the first value that differs.
        deviation = float(known.std())
        self.deviation = deviation if deviation > 1e-6 * abs(self.mean) else 1.0
        if self.options.buckets > 1:
            at = np.linspace(0, 1, self.options.buckets + 1)[1:-1]
            self.boundaries = tuple(float(b) for b in np.unique(np.quantile(known, at)))
        if self.options.quantiles:
            self.knots = tuple(quantile_knots(known[:, None], self.options.quantiles))

    def state(self) -> dict[str, Any]:
        state = {
            "mean": self.mean,
            "deviation": self.deviation,
            "boundaries": list(self.boundaries),
        }
        return state | ({"knots": list(self.knots)} if self.knots else {})

    def restore(self, state: Mapping[str, Any]) -> None:
        self.mean, self.deviation = state["mean"], state["deviation"]
        self.boundaries = tuple(state["boundaries"])
        self.knots = tuple(state.get("knots", ()))

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.math.is_finite(raw), raw, 0.0)

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None], tf.float32)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return NumberEncoder(
            width,
            log=self.options.log,
            mean=self.mean,
            deviation=self.deviation,
            boundaries=self.boundaries,
            knots=self.knots,
            deviations=self.options.deviations,
            noise=self.options.noise,
            layers=self.options.layers,
            name=f"{self.name}_encoder",
        )


class NumberEncoder(tf.keras.layers.Layer):
    """Embeddings [N, D] of numbers [N]; without layers the scaled number, and its bucket.

    Args:
      width: D.
      log: Take log(1 + max(x, 0)) first.
      mean, deviation: Of the training values, after the logarithm.
      boundaries: Bucket boundaries on the same scale; none for no buckets.
      knots: Quantiles on the same scale, by which it is scaled in place of mean and deviation; none
        for these.
      deviations: Whether it is scaled both ways.
      noise: Deviation of the noise that training adds to the scaled number.
      layers: 2, or 0 for none.
    """

    def __init__(
        self,
        width: int,
        *,
        log: bool,
        mean: float,
        deviation: float,
        boundaries: tuple[float, ...] = (),
        knots: Sequence[Sequence[float]] = (),
        deviations: bool = False,
        noise: float = 0.0,
        layers: int = 2,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)  # normalised first, at full precision
        self.width, self.log, self.mean, self.deviation = width, log, mean, deviation
        self.boundaries = tuple(boundaries)
        self.knots, self.deviations = [list(k) for k in knots], deviations
        self.noise, self.layers = noise, layers
        self.scale = Scaled([mean], [deviation], self.knots, deviations, name="scale")
        self.shake = tf.keras.layers.GaussianNoise(noise) if noise else None
        if layers:
            self.hidden = tf.keras.layers.Dense(width, activation="relu")
            self.output_layer = tf.keras.layers.Dense(width)

    def build(self, input_shape: Any) -> None:
        # Built here for the sake of its random generator, as in CategoryEncoder.
        if self.shake is not None:
            self.shake.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        values = tf.cast(inputs, tf.float32)
        if self.log:
            values = tf.math.log1p(tf.maximum(values, 0.0))
        parts = [self.scale(values[:, None])]
        if self.shake is not None:
            parts = [self.shake(parts[0], training=training)]
        if self.boundaries:
            bucket = tf.searchsorted(tf.constant(self.boundaries), values, side="right")
            parts.append(tf.one_hot(bucket, len(self.boundaries) + 1))
        features = tf.cast(tf.concat(parts, -1), self.compute_dtype)
        return self.output_layer(self.hidden(features)) if self.layers else features

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "width": self.width,
            "log": self.log,
            "mean": self.mean,
            "deviation": self.deviation,
            "boundaries": self.boundaries,
            "knots": self.knots,
            "deviations": self.deviations,
            "noise": self.noise,
            "layers": self.layers,
        }
