"""Numbers: price, rating, sales. Normalised inside the graph by statistics of the training data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.media import MediaStore
from mmrank.encoders.base import FeatureKind
from mmrank.encoders.number_codes import CodeOptions, bin_edges, number_codes
from mmrank.encoders.quantiles import quantile_knots
from mmrank.encoders.scaled import Scaled, check_scaling, signed_log, signed_log_graph
from mmrank.ranges import Whole
from mmrank.schema import Feature


@dataclasses.dataclass(frozen=True)
class NumberOptions(CodeOptions):
    """Options of a number, besides those of scaling and codes, which apply after the logarithm.

    Attributes:
      log: Take log(1 + x) first, for counts and prices; values below 0 count as 0.
      buckets: Also one-hot encode the value by this many quantile buckets; 0 for none.
    """

    log: bool = False
    buckets: Whole = 0


class Number(FeatureKind):
    """A real number; NaN or infinite means absent.

    Example:
      >>> import pandas as pd
      >>> from mmrank.schema import Feature
      >>> price = Number(Feature("price", "number", "item", "price"), {})
      >>> raw, present = price.read(pd.Series([9.0, None, 11.0]), media=None)
      >>> raw.tolist(), present.tolist()
      ([9.0, 0.0, 11.0], [True, False, True])
      >>> price.fit(pd.Series([9.0, None, 11.0]))
      >>> price.mean, price.deviation
      (10.0, 1.0)
    """

    raw_dtype = tf.float32
    plain = True
    Options = NumberOptions

    mean = 0.0
    deviation = 1.0
    boundaries: tuple[float, ...] = ()
    knots: tuple[list[float], ...] = ()
    edges: tuple[list[float], ...] = ()

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        super().__init__(feature, options)
        check_scaling(self.options, f"feature {self.name!r}")
        if self.options.log and self.options.signed_log:
            raise ConfigError(
                f"feature {self.name!r}: log and signed_log are two logarithms; leave one out"
            )

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
        if self.options.signed_log:
            known = signed_log(known)
        self.mean = float(known.mean())
        # A column that is constant up to rounding must not scale up the first value that differs.
        deviation = float(known.std())
        self.deviation = deviation if deviation > 1e-6 * abs(self.mean) else 1.0
        if self.options.buckets > 1:
            at = np.linspace(0, 1, self.options.buckets + 1)[1:-1]
            self.boundaries = tuple(float(b) for b in np.unique(np.quantile(known, at)))
        if self.options.quantiles:
            self.knots = tuple(quantile_knots(known[:, None], self.options.quantiles))
        if self.options.bins:
            scale = Scaled([self.mean], [self.deviation], self.knots, self.options.deviations)
            self.edges = tuple(bin_edges(known[:, None], self.options.bins, scale))

    def state(self) -> dict[str, Any]:
        state = {
            "mean": self.mean,
            "deviation": self.deviation,
            "boundaries": list(self.boundaries),
        }
        fitted = {"knots": list(self.knots), "edges": list(self.edges)}
        return state | {name: values for name, values in fitted.items() if values}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.mean, self.deviation = state["mean"], state["deviation"]
        self.boundaries = tuple(state["boundaries"])
        self.knots = tuple(state.get("knots", ()))
        self.edges = tuple(state.get("edges", ()))

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        return tf.where(tf.math.is_finite(raw), raw, 0.0)

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None], tf.float32)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return NumberEncoder(
            width,
            log=self.options.log,
            signed_log=self.options.signed_log,
            mean=self.mean,
            deviation=self.deviation,
            boundaries=self.boundaries,
            knots=self.knots,
            deviations=self.options.deviations,
            edges=self.edges,
            codes=self.options.codes,
            noise=self.options.noise,
            layers=self.options.layers,
            name=f"{self.name}_encoder",
        )


class NumberEncoder(tf.keras.layers.Layer):
    """Embeddings [N, D] of numbers [N].

    With `layers` 0, an embedding is the number's codes, or the scaled number if there are no codes,
    followed by its one-hot bucket.

    Args:
      width: D.
      log: Take log(1 + max(x, 0)) first.
      signed_log: Take sign(x) log(1 + |x|) first.
      mean, deviation: Statistics of the training values, after the logarithm.
      boundaries: Bucket boundaries on the same scale; empty for no buckets.
      knots: Quantiles on the same scale, which replace mean and deviation in scaling; empty to
        scale by mean and deviation.
      deviations: Whether to scale both by quantiles and by mean and deviation.
      edges: Edges of the bins on the new scale; empty for no bins.
      codes: Further arguments of `NumberCodes`; none for no codes besides bins.
      noise: Deviation of the noise that training adds to the scaled number.
      layers: 2, or 0 for none.

    Example:
      >>> import tensorflow as tf
      >>> NumberEncoder(8, log=True, mean=2.0, deviation=1.0)(tf.constant([9.5, 12.0])).shape
      TensorShape([2, 8])
      >>> scaled = NumberEncoder(8, log=False, mean=10.0, deviation=2.0, layers=0)
      >>> scaled(tf.constant([9.0, 14.0])).numpy().tolist()
      [[-0.5], [2.0]]
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
        signed_log: bool = False,
        edges: Sequence[Sequence[float]] = (),
        codes: Mapping[str, Any] | None = None,
        noise: float = 0.0,
        layers: int = 2,
        **kwargs: Any,
    ):
        super().__init__(autocast=False, **kwargs)  # normalised first, at full precision
        self.width, self.log, self.mean, self.deviation = width, log, mean, deviation
        self.boundaries = tuple(boundaries)
        self.knots, self.deviations = [list(k) for k in knots], deviations
        self.signed_log, self.edges = signed_log, [list(e) for e in edges]
        self.code_options = dict(codes or {})
        self.noise, self.layers = noise, layers
        self.scale = Scaled([mean], [deviation], self.knots, deviations, name="scale")
        self.shake = tf.keras.layers.GaussianNoise(noise) if noise else None
        self.codes = number_codes(self.edges, self.code_options)
        if layers:
            self.hidden = tf.keras.layers.Dense(width, activation="relu")
            self.output_layer = tf.keras.layers.Dense(width)

    def build(self, input_shape: Any) -> None:
        # Build the noise layer here, for its random generator, as in CategoryEncoder.
        if self.shake is not None:
            self.shake.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        values = tf.cast(inputs, tf.float32)
        if self.log:
            values = tf.math.log1p(tf.maximum(values, 0.0))
        if self.signed_log:
            values = signed_log_graph(values)
        scaled = self.scale(values[:, None])
        if self.shake is not None:
            scaled = self.shake(scaled, training=training)
        parts = [scaled if self.codes is None else self.codes(scaled)]
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
            "signed_log": self.signed_log,
            "edges": self.edges,
            "codes": self.code_options,
            "noise": self.noise,
            "layers": self.layers,
        }
