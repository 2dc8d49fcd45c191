"""What every kind of feature offers: reading, fitting, preprocessing in the graph, and encoding."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import ConfigError, from_mapping
from mmrank.data.blank import BLANK, BLANK_PATTERN
from mmrank.data.media import MediaStore
from mmrank.data.stands import texts_of
from mmrank.schema import Feature

CHUNK = 512
# What is read of one value, in characters; the rest is cut off before anything is made of it, in
# training and in an export alike. A text of 512 tokens has about 2,500, the first 128 words that
# queries are matched with as many; whole sheets of attributes had 12,600 at most. One character
# may become 18 by Unicode's rules, so that a text without a bound would be a request's whole work.
MOST_CHARACTERS = 10_000
MOST_OF_A_SET = 100_000  # of reviews, attributes and tags, many texts in one


class FeatureKind(abc.ABC):
    """One feature of one kind, from its column to its encoder.

    The way of a value: `read` takes the column to raw values, just what a client sends when the
    model is served; `preprocess` takes raw values to what the encoder eats, in TensorFlow ops.
    Training runs both over the whole table once; the exported graph holds the same `preprocess`.

    Attributes:
      sides: Sides of the schema on which this kind may stand.
      raw_dtype: dtype of one raw value, a scalar.
      is_media: Whether a raw value is a file's bytes and the column names the file.
      plain: Whether trees can read the encoder's input, as `as_numbers` gives it.
      most_characters: What is read of one value that is a text; None for numbers written as one,
        whose count has a bound of its own.
      Options: Frozen dataclass of this kind's options: those of the schema and of the config.
    """

    sides: ClassVar[frozenset[str]]
    raw_dtype: tf.DType
    Options: ClassVar[type]
    is_media: bool = False
    plain: ClassVar[bool] = False
    most_characters: ClassVar[int | None] = MOST_CHARACTERS

    @property
    def separator(self) -> str | None:
        """What joins several values into one raw value; None for a kind of one value each."""
        return None

    def card(self) -> dict[str, Any]:
        """What `Ranker` has to know to make raw values from a client's, as JSON."""
        return {}

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        where = f"feature {feature.name!r} ({feature.kind})"
        if feature.side not in self.sides:
            raise ConfigError(
                f"{where}: cannot stand on side {feature.side!r}; "
                f"use {', '.join(sorted(self.sides))}"
            )
        self.feature = feature
        self.options: Any = from_mapping(self.Options, {**feature.options, **options}, where)

    @property
    def name(self) -> str:
        """The feature's name, which its model input bears."""
        return self.feature.name

    @abc.abstractmethod
    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        """Raw values [N] and presence [N] bool of a column.

        Args:
          values: The column.
          media: Where media files are read from, for kinds whose column names files.
        """

    def fit(self, values: pd.Series) -> None:  # noqa: B027 - most kinds have nothing to fit
        """Learns what preprocessing needs (a vocabulary, say) from training values."""

    def corpus(self, values: pd.Series) -> pd.Series:
        """The column as `fit` takes it, which for a kind of many texts a value is all texts."""
        return values

    def state(self) -> dict[str, Any]:
        """What was fitted, as JSON; empty for a kind that fits nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - the twin of `fit`
        """Takes up what `state` gave."""

    def clean(self, raw: tf.Tensor) -> tf.Tensor:
        """Raw values of any shape as `read` would give them.

        A text that says nothing is empty; of a longer one the first `most_characters` are left.
        """
        if self.raw_dtype != tf.string or self.is_media:
            return raw
        said = tf.strings.regex_replace(raw, f"^{BLANK_PATTERN}+|{BLANK_PATTERN}+$", "")
        most = self.most_characters
        return said if most is None else first_characters(said, most)

    @abc.abstractmethod
    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        """Encoder inputs [N, ...] of raw values [N], in graph ops."""

    @abc.abstractmethod
    def input_spec(self) -> tf.TensorSpec:
        """Shape (with N as None) and dtype of what `preprocess` gives."""

    @abc.abstractmethod
    def encoder(self, width: int) -> tf.keras.layers.Layer:
        """A layer [N, ...] → [N, D'] over preprocessed values; any width D' will do."""

    def as_numbers(self, values: Any) -> tf.Tensor:
        """Numbers [...] or [..., K] float32 for trees, of encoder inputs; for a plain kind alone.

        Args:
          values: A tensor or an array, as `preprocess` gives it.
        """
        return tf.cast(values, tf.float32)

    @property
    def unnormed(self) -> bool:
        """Whether the token keeps the length of what the encoder gives, without a layer norm."""
        return False

    @property
    def core(self) -> FeatureKind:
        """The kind that is fitted and whose encoder is shared: itself, or the one it is made of."""
        return self

    def around(self, encoder: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        """The encoder of this kind, given that of its core."""
        return encoder

    def sharing(self) -> str | None:
        """A key under which features share one encoder; None for an encoder of its own."""
        return None

    @property
    def space(self) -> str:
        """The id of the space of its encoder's vectors, if others give such; else empty."""
        return ""

    def tracked(self) -> list[Any]:
        """What the graph of `preprocess` refers to and a SavedModel has to hold."""
        return [v.lookup_table for v in vars(self).values() if hasattr(v, "lookup_table")]

    def traced_preprocess(self) -> Callable[[Any], tf.Tensor]:
        """`preprocess` as one graph for any N."""
        # A concrete function: TensorFlow warns of retracing where every feature has its own.
        spec = tf.TensorSpec([None], self.raw_dtype)
        # Signatures call it many times: inlined, each call would be optimised anew at a server's
        # first request.
        once = {"_noinline": True}
        traced = tf.function(self.preprocess, input_signature=[spec], experimental_attributes=once)
        return traced.get_concrete_function()

    def portable(self) -> FeatureKind:
        """The fitted kind with a `preprocess` of the same results by TensorFlow's own ops.

        Itself, if that is so already, or if there is no way.
        """
        return self

    def arrays(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        """Encoder inputs [N, ...] and presence [N] of a whole column."""
        raw, present = self.read(values, media)
        return in_chunks(self.traced_preprocess(), raw, self.raw_dtype, self.input_spec()), present


def in_chunks(
    step: Callable[[tf.Tensor], tf.Tensor], raw: np.ndarray, dtype: tf.DType, spec: tf.TensorSpec
) -> np.ndarray:
    """What a graph makes of raw values [N], some at a time: an array [N, ...].

    Args:
      step: The graph, for any number of values.
      raw: The values.
      dtype: Of the values.
      spec: Shape and dtype of the result.
    """
    chunks = [step(tf.constant(raw[i : i + CHUNK], dtype)) for i in range(0, len(raw), CHUNK)]
    empty = np.zeros([0, *spec.shape[1:]], spec.dtype.as_numpy_dtype)
    return np.concatenate([c.numpy() for c in chunks] or [empty])


def first_characters(texts: tf.Tensor, most: int) -> tf.Tensor:
    """Texts of any shape, of each at most its first characters.

    Args:
      texts: They may be no UTF-8: of such bytes at most four times as many are left.
      most: How many characters.
    """
    bounded = tf.strings.substr(texts, 0, 4 * most)  # quick, and as long as any such text
    first = tf.strings.substr(bounded, 0, most, unit="UTF8_CHAR")
    return tf.where(tf.strings.length(texts) <= most, texts, first)


def texts(values: pd.Series, most: int = MOST_CHARACTERS) -> np.ndarray:
    """A column as an object array of texts; missing and blank values become the empty text.

    Args:
      values: The column.
      most: Characters that are left of a longer text.
    """
    if pd.api.types.infer_dtype(values, skipna=True) != "string":
        words = texts_of(values).astype("string").fillna("").str.strip(BLANK)
        return words.str.slice(0, most).to_numpy(dtype=object)
    # Of a log with few distinct texts, one object each.
    codes, distinct = pd.factorize(values)
    cleaned = distinct.astype("string").str.strip(BLANK).str.slice(0, most)
    return np.array([*cleaned, ""], dtype=object)[codes]
