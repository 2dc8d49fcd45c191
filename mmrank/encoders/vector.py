"""Vectors: a fixed number of floats per value, such as embeddings learned elsewhere."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import ConfigError
from mmrank.data.media import MediaStore
from mmrank.data.vectors import SEPARATOR, read_vector, vector_text
from mmrank.encoders.base import FeatureKind
from mmrank.encoders.number_codes import CodeOptions, bin_edges, number_codes
from mmrank.encoders.quantiles import quantile_knots
from mmrank.encoders.scaled import Scaled, check_scaling, signed_log, signed_log_graph
from mmrank.ranges import Dropped
from mmrank.schema import Feature


@dataclasses.dataclass(frozen=True)
class VectorOptions(CodeOptions):
    """Options of a vector, besides those of scaling and codes.

    Attributes:
      dropout: Share of the numbers, or of their codes, that is zeroed in training.
    """

    dropout: Dropped = 0.0


class Vector(FeatureKind):
    """A list of numbers, of equal length in every value. Empty or missing means absent.

    The raw value is one text of numbers separated by spaces. The graph stops with an error at a
    text that is not a vector of the fitted length.

    Example:
      >>> import pandas as pd
      >>> import tensorflow as tf
      >>> from mmrank.schema import Feature
      >>> vector = Vector(Feature("style", "vector", "item", "style"), {})
      >>> vector.fit(pd.Series([[1.0, 2.0], "3 4", None]))
      >>> vector.mean.tolist(), vector.deviation.tolist()
      ([2.0, 3.0], [1.0, 1.0])
      >>> vector.preprocess(tf.constant(["1 2", ""])).numpy().tolist()
      [[1.0, 2.0], [0.0, 0.0]]
    """

    raw_dtype = tf.string
    plain = True
    most_characters = None
    Options = VectorOptions

    mean: np.ndarray = np.zeros(1, np.float32)
    deviation: np.ndarray = np.ones(1, np.float32)
    knots: tuple[list[float], ...] = ()
    edges: tuple[list[float], ...] = ()

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        super().__init__(feature, options)
        check_scaling(self.options, f"feature {self.name!r}")

    @property
    def separator(self) -> str:
        return SEPARATOR

    def card(self) -> dict[str, Any]:
        return {"separator": SEPARATOR}

    @property
    def unnormed(self) -> bool:
        return not self.options.norm

    def number_names(self) -> tuple[str, ...]:
        return tuple(f"{self.name}/{index + 1}" for index in range(self.length))

    @property
    def length(self) -> int:
        """How many numbers a value has."""
        return len(self.mean)

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        vectors = self._vectors(values)
        raw = np.array(["" if v is None else vector_text(v) for v in vectors], dtype=object)
        return raw, np.array([v is not None for v in vectors], dtype=bool)

    def _vectors(self, values: pd.Series) -> list[np.ndarray | None]:
        vectors = []
        for row, value in enumerate(values):
            try:
                vectors.append(read_vector(value))
            except ValueError as error:
                raise ConfigError(
                    f"feature {self.name!r}: row {row + 1} {error}; check the dataset with "
                    "`python -m mmrank.validate`"
                ) from error
        return vectors

    def fit(self, values: pd.Series) -> None:
        known = [v for v in self._vectors(values) if v is not None]
        if not known:
            return
        lengths = {len(v) for v in known}
        if len(lengths) > 1:
            raise ConfigError(
                f"feature {self.name!r}: vectors of {' and '.join(map(str, sorted(lengths)))} "
                "numbers; all must have the same length"
            )
        self.fit_table(np.stack(known))

    def fit_table(self, table: np.ndarray) -> None:
        """Learns the mean and deviation of vectors [N, K], N at least 1."""
        table = table.astype(np.float64)
        if self.options.signed_log:
            table = signed_log(table)
        self.mean = table.mean(0).astype(np.float32)
        deviation = table.std(0)
        # A column that is constant up to rounding must not scale up the first value that differs.
        constant = deviation <= 1e-6 * np.abs(self.mean)
        self.deviation = np.where(constant, 1.0, deviation).astype(np.float32)
        if self.options.quantiles:
            self.knots = tuple(quantile_knots(table, self.options.quantiles))
        if self.options.bins:
            scale = Scaled(
                self.mean.tolist(), self.deviation.tolist(), self.knots, self.options.deviations
            )
            self.edges = tuple(bin_edges(table, self.options.bins, scale))

    def state(self) -> dict[str, Any]:
        state = {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}
        fitted = {"knots": list(self.knots), "edges": list(self.edges)}
        return state | {name: values for name, values in fitted.items() if values}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.mean = np.array(state["mean"], np.float32)
        self.deviation = np.array(state["deviation"], np.float32)
        self.knots = tuple(state.get("knots", ()))
        self.edges = tuple(state.get("edges", ()))

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        numbers = tf.ragged.map_flat_values(tf.strings.to_number, tf.strings.split(raw))
        lengths = numbers.row_lengths()
        fits = tf.debugging.assert_equal(
            tf.reduce_all((lengths == 0) | (lengths == self.length)),
            True,
            f"feature {self.name!r}: a vector is not of {self.length} numbers",
        )
        with tf.control_dependencies([] if fits is None else [fits]):
            return numbers.to_tensor(0.0, shape=[None, self.length])

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self.length], tf.float32)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return VectorEncoder(
            width,
            mean=self.mean.tolist(),
            deviation=self.deviation.tolist(),
            dropout=self.options.dropout,
            knots=self.knots,
            deviations=self.options.deviations,
            signed_log=self.options.signed_log,
            edges=self.edges,
            codes=self.options.codes,
            noise=self.options.noise,
            layers=self.options.layers,
            name=f"{self.name}_encoder",
        )


class VectorEncoder(tf.keras.layers.Layer):
    """Embeddings [N, D] of vectors [N, K].

    With `layers` 0, an embedding is the codes of the numbers, or the scaled numbers if there are no
    codes.

    Args:
      width: D.
      mean, deviation: Statistics of the training values, K numbers each.
      dropout: Share of the scaled numbers, or of their codes, that is zeroed in training.
      knots: Quantiles of each number, which replace mean and deviation in scaling; empty to scale
        by mean and deviation.
      deviations: Whether to scale both by quantiles and by mean and deviation.
      signed_log: Take sign(x) log(1 + |x|) of each number first.
      edges: Edges of the bins on the new scale; empty for no bins.
      codes: Further arguments of `NumberCodes`; none for no codes besides bins.
      noise: Deviation of the noise that training adds to the scaled numbers.
      layers: 2, or 0 for none.

    Example:
      >>> import tensorflow as tf
      >>> encoder = VectorEncoder(8, mean=[0.0, 1.0], deviation=[1.0, 2.0], layers=0)
      >>> encoder(tf.constant([[1.0, 5.0]])).numpy().tolist()
      [[1.0, 2.0]]
    """

    def __init__(
        self,
        width: int,
        *,
        mean: list[float],
        deviation: list[float],
        dropout: float = 0.0,
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
        self.width, self.mean, self.deviation = width, list(mean), list(deviation)
        self.dropout, self.noise, self.layers = dropout, noise, layers
        self.knots, self.deviations = [list(k) for k in knots], deviations
        self.signed_log, self.edges = signed_log, [list(e) for e in edges]
        self.code_options = dict(codes or {})
        self.scale = Scaled(self.mean, self.deviation, self.knots, deviations, name="scale")
        # Random layers without a use are left out: each costs time in every epoch.
        self.drop = tf.keras.layers.Dropout(dropout)
        self.shake = tf.keras.layers.GaussianNoise(noise) if noise else None
        self.codes = number_codes(self.edges, self.code_options)
        if layers:
            self.hidden = tf.keras.layers.Dense(width, activation="relu")
            self.output_layer = tf.keras.layers.Dense(width)

    def build(self, input_shape: Any) -> None:
        # Build the random layers here, for their generators, as in CategoryEncoder.
        self.drop.build(input_shape)
        if self.shake is not None:
            self.shake.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        values = tf.cast(inputs, tf.float32)
        scaled = self.scale(signed_log_graph(values) if self.signed_log else values)
        if self.shake is not None:
            scaled = self.shake(scaled, training=training)
        if self.codes is not None:
            scaled = self.codes(scaled)
        kept = tf.cast(self.drop(scaled, training=training), self.compute_dtype)
        return self.output_layer(self.hidden(kept)) if self.layers else kept

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "width": self.width,
            "mean": self.mean,
            "deviation": self.deviation,
            "dropout": self.dropout,
            "knots": self.knots,
            "deviations": self.deviations,
            "signed_log": self.signed_log,
            "edges": self.edges,
            "codes": self.code_options,
            "noise": self.noise,
            "layers": self.layers,
        }
