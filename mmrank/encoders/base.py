"""The interface of every feature kind: reading, fitting, preprocessing in the graph, encoding."""

from __future__ import annotations

import abc
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.config import ConfigError, from_mapping
from mmrank.data.blank import BLANK, BLANK_PATTERN
from mmrank.data.conversion import texts_of
from mmrank.data.kinds import kind_of
from mmrank.data.media import MediaStore
from mmrank.schema import Feature
from mmrank.tracing import traced

CHUNK = 512
# Characters that are read of one value. The rest is cut off before any processing, in training and
# in an export alike. A text of 512 tokens has about 2,500 characters, and so do the first 128 words
# that queries are matched with. Whole attribute sheets had 12,600 at most. Unicode normalization
# may turn one character into 18, so an unbounded text could take all of a request's time.
MOST_CHARACTERS = 10_000
MOST_OF_A_SET = 100_000  # for reviews, attributes and tags: many texts in one value


class FeatureKind(abc.ABC):
    """One feature of one kind, from its column to its encoder.

    A value passes through two steps. `read` turns the column into raw values, exactly what a client
    sends when the model is served. `preprocess` turns raw values into encoder inputs, in TensorFlow
    ops. Training runs both over the whole table once; the exported graph holds the same
    `preprocess`.

    Attributes:
      raw_dtype: dtype of one raw value, a scalar.
      plain: Whether trees can read the encoder's input, as `as_numbers` returns it.
      most_characters: How many characters are read of one text value; None for numbers written as
        text, whose count is bounded elsewhere.
      Options: Frozen dataclass of this kind's options, set in the schema and in the config.

    Example:
      >>> import pandas as pd
      >>> from mmrank.encoders.number import Number
      >>> from mmrank.schema import Feature
      >>> price = Number(Feature("price", "number", "item", "price"), {})
      >>> price.fit(pd.Series([9.0, 11.0]))
      >>> inputs, present = price.arrays(pd.Series([9.0, None, 11.0]), media=None)
      >>> inputs.shape, present.tolist()
      ((3,), [True, False, True])
      >>> price.encoder(width=8)(inputs).shape
      TensorShape([3, 8])
      >>> loaded = Number(price.feature, {})
      >>> loaded.restore(price.state())
      >>> loaded.state() == price.state()
      True
    """

    raw_dtype: tf.DType
    Options: ClassVar[type]
    plain: ClassVar[bool] = False
    most_characters: ClassVar[int | None] = MOST_CHARACTERS

    @property
    def separator(self) -> str | None:
        """The separator that joins several values into one raw value; None for single values."""
        return None

    def card(self) -> dict[str, Any]:
        """Returns, as JSON, what `Ranker` needs to make raw values from a client's values."""
        return {}

    # The kind that `preprocess` was traced for, which is another for a copy, and the graph.
    _traced: tuple[FeatureKind, Callable[[Any], tf.Tensor]] | None = None
    # The table of a kind that looks up its words by `string_lookup`.
    _string_lookup: tf.keras.layers.StringLookup | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        """Lets `fit` and `restore` of a new kind drop what was made of the values fitted before."""
        super().__init_subclass__(**options)
        for name in ("fit", "restore"):
            if name in vars(cls):
                setattr(cls, name, _forgetting(getattr(cls, name)))

    def __init__(self, feature: Feature, options: Mapping[str, Any]):
        where = f"feature {feature.name!r} ({feature.kind})"
        sides = kind_of(feature.kind).sides
        if feature.side not in sides:
            raise ConfigError(
                f"{where}: cannot be on side {feature.side!r}; use {', '.join(sorted(sides))}"
            )
        self.feature = feature
        self.options: Any = from_mapping(self.Options, {**feature.options, **options}, where)

    @property
    def is_media(self) -> bool:
        """Whether a raw value is a file's bytes and the column names the file."""
        return kind_of(self.feature.kind).media

    @property
    def name(self) -> str:
        """The feature's name, which is also the name of its model input."""
        return self.feature.name

    @abc.abstractmethod
    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns raw values [N] and presence [N] bool of a column.

        Args:
          values: The column, [N].
          media: Where media files are read from, for kinds whose column names files.
        """

    def fit(self, values: pd.Series) -> None:  # noqa: B027 - most kinds have nothing to fit
        """Learns what preprocessing needs (a vocabulary, for example) from training values."""

    def corpus(self, values: pd.Series) -> pd.Series:
        """Returns the column as `fit` takes it: all texts, for a kind of many texts per value."""
        return values

    def cells(self, texts: pd.Series) -> pd.Series:
        """Returns cells of a table that `fit` reads as these raw texts, one for each text."""
        return texts

    def state(self) -> dict[str, Any]:
        """Returns what was fitted, as JSON; empty for a kind that fits nothing."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - the counterpart of `fit`
        """Restores what `state` returned."""

    def clean(self, raw: tf.Tensor) -> tf.Tensor:
        """Returns raw values of any shape as `read` would return them.

        A text of blank characters alone becomes empty. A longer text is cut to its first
        `most_characters`.
        """
        if self.raw_dtype != tf.string or self.is_media:
            return raw
        stripped = tf.strings.regex_replace(raw, f"^{BLANK_PATTERN}+|{BLANK_PATTERN}+$", "")
        most = self.most_characters
        return stripped if most is None else first_characters(stripped, most)

    @abc.abstractmethod
    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        """Returns encoder inputs [N, ...] of raw values [N], computed by graph ops."""

    @abc.abstractmethod
    def input_spec(self) -> tf.TensorSpec:
        """Returns the shape (with N as None) and dtype of the output of `preprocess`."""

    @abc.abstractmethod
    def encoder(self, width: int) -> tf.keras.layers.Layer:
        """Returns a layer [N, ...] → [N, D'] over preprocessed values; any width D' is allowed."""

    def as_numbers(self, values: Any) -> tf.Tensor:
        """Returns numbers [...] or [..., K] float32 for trees; only for a plain kind.

        Args:
          values: Encoder inputs as `preprocess` returns them, a tensor or an array.
        """
        return tf.cast(values, tf.float32)

    def number_names(self) -> tuple[str, ...]:
        """Returns the names of the K numbers of `as_numbers`; only for a plain kind."""
        return (self.name,)

    @property
    def unnormed(self) -> bool:
        """Whether the token skips the layer norm and so keeps the magnitude of the encoding."""
        return False

    @property
    def core(self) -> FeatureKind:
        """The kind that is fitted and whose encoder is shared: this kind or the one it wraps."""
        return self

    def around(self, encoder: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        """Returns the encoder of this kind, given the encoder of its core."""
        return encoder

    def sharing(self) -> str | None:
        """Returns the key under which features share one encoder; None for a separate encoder."""
        return None

    def group_key(self) -> str:
        """Returns the key of features that have one `group` and equal options."""
        options = json.dumps(dataclasses.asdict(self.options), sort_keys=True)
        return f"{self.options.group}_{hashlib.sha256(options.encode()).hexdigest()[:8]}"

    @property
    def space(self) -> str:
        """The id of the vector space that this encoder shares with others; empty if none."""
        return ""

    def forget(self) -> None:
        """Drops graphs and tables that were made of fitted values, which change."""
        self._traced = self._string_lookup = None

    def tracked(self) -> list[Any]:
        """Returns what the graph of `preprocess` refers to and a SavedModel has to hold."""
        return [v.lookup_table for v in vars(self).values() if hasattr(v, "lookup_table")]

    def traced_preprocess(self) -> Callable[[Any], tf.Tensor]:
        """Returns `preprocess` as one graph for any N, traced once after each fit."""
        if self._traced is not None and self._traced[0] is self:
            return self._traced[1]
        # A concrete function: TensorFlow warns of retracing where every feature has its own.
        spec = tf.TensorSpec([None], self.raw_dtype)
        # Signatures call it many times. If it were inlined, a server's first request would
        # optimise every call again.
        once = {"_noinline": True}
        graph = traced(self.preprocess, [spec], experimental_attributes=once)
        self._traced = self, graph.get_concrete_function()
        return self._traced[1]

    def portable(self) -> FeatureKind:
        """Returns the fitted kind with a `preprocess` of equal results in TensorFlow's own ops.

        Returns this kind if its ops are TensorFlow's own already, or if no such version exists.
        """
        return self

    def arrays(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        """Returns encoder inputs [N, ...] and presence [N] of a whole column."""
        raw, present = self.read(values, media)
        return in_chunks(self.traced_preprocess(), raw, self.raw_dtype, self.input_spec()), present


def _forgetting(change: Callable[..., None]) -> Callable[..., None]:
    """Returns a method that also drops what was made of the values fitted before."""

    @functools.wraps(change)
    def changed(self: FeatureKind, *args: Any, **kwargs: Any) -> None:
        self.forget()
        change(self, *args, **kwargs)
        self.forget()  # fitting may make them before it is finished

    return changed


def in_chunks(
    step: Callable[[tf.Tensor], tf.Tensor], raw: np.ndarray, dtype: tf.DType, spec: tf.TensorSpec
) -> np.ndarray:
    """Returns the graph's results for raw values [N], computed in chunks: an array [N, ...].

    Args:
      step: The graph, for any number of values.
      raw: The values.
      dtype: dtype of the values.
      spec: Shape and dtype of the result.
    """
    chunks = [step(tf.constant(raw[i : i + CHUNK], dtype)) for i in range(0, len(raw), CHUNK)]
    empty = np.zeros([0, *spec.shape[1:]], spec.dtype.as_numpy_dtype)
    return np.concatenate([c.numpy() for c in chunks] or [empty])


def first_characters(texts: tf.Tensor, most: int) -> tf.Tensor:
    """Returns texts of any shape, each cut to its first characters.

    Args:
      texts: Texts that may be invalid UTF-8. At most 4 * `most` bytes are left of such a text.
      most: How many characters are left at most.

    Example:
      >>> import tensorflow as tf
      >>> first_characters(tf.constant(["红色连衣裙", "mug"]), 2).numpy()[0].decode()
      '红色'
    """
    bounded = tf.strings.substr(texts, 0, 4 * most)  # fast; no text of `most` characters is longer
    first = tf.strings.substr(bounded, 0, most, unit="UTF8_CHAR")
    return tf.where(tf.strings.length(texts) <= most, texts, first)


def texts(values: pd.Series, most: int = MOST_CHARACTERS) -> np.ndarray:
    """Returns a column as an object array of texts; missing and blank values become empty texts.

    Args:
      values: The column.
      most: How many characters are left of a longer text.
    """
    if pd.api.types.infer_dtype(values, skipna=True) != "string":
        words = texts_of(values).astype("string").fillna("").str.strip(BLANK)
        return words.str.slice(0, most).to_numpy(dtype=object)
    # A log has few distinct texts; rows of equal texts share one object.
    codes, distinct = pd.factorize(values)
    cleaned = distinct.astype("string").str.strip(BLANK).str.slice(0, most)
    return np.array([*cleaned, ""], dtype=object)[codes]
