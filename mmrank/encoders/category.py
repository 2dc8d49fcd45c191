"""Categories and ids: a row for each known word, hashed shared buckets for unseen words."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.data.media import MediaStore
from mmrank.encoders.base import FeatureKind, texts
from mmrank.encoders.word_rows import NamedRows, Rows, known_words
from mmrank.ranges import Count, Dropped


@dataclasses.dataclass(frozen=True)
class CategoryOptions:
    """Options of a category.

    Attributes:
      oov_buckets: Shared rows for values that training did not see (often enough).
      min_count: Rarer training values share the buckets too, which trains the rows of the buckets.
      max_words: How many of the most frequent values are kept.
      dropout: Share of known values sent to a bucket in training, so that unseen ones score well.
    """

    oov_buckets: Count = 8
    min_count: Count = 2
    max_words: Count = 200_000
    dropout: Dropped = 0.05


class Category(FeatureKind):
    """One word of an open set: a brand, a shop, a user or item id. The empty text means absent.

    Example:
      >>> import pandas as pd
      >>> import tensorflow as tf
      >>> from mmrank.schema import Feature
      >>> brand = Category(Feature("brand", "category", "item", "brand"), {"oov_buckets": 2})
      >>> brand.fit(pd.Series(["Acme", "Acme", "Zeta", "Zeta", "Zeta", "seen once"]))
      >>> brand.vocabulary
      ('Zeta', 'Acme')
      >>> brand.preprocess(tf.constant(["Zeta", "Acme"])).numpy().tolist()  # after the two buckets
      [2, 3]
    """

    raw_dtype = tf.string
    plain = True
    Options = CategoryOptions

    vocabulary: tuple[str, ...] = ()

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        words = texts(values)
        return words, words != ""

    def fit(self, values: pd.Series) -> None:
        words, present = self.read(values, None)
        self.vocabulary = most_frequent(collections.Counter(words[present]), self.options)

    def state(self) -> dict[str, Any]:
        return {"vocabulary": list(self.vocabulary)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.vocabulary = tuple(state["vocabulary"])

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        return self.lookup()(raw)

    def lookup(self) -> tf.keras.layers.StringLookup:
        """Returns the layer from words to rows: the hashed buckets first, then the known words."""
        return string_lookup(self, self.vocabulary, self.options.oov_buckets)

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None], tf.int64)

    def as_numbers(self, values: Any) -> tf.Tensor:
        """Returns indices [...] of words by frequency, 0 the most frequent, unknown words last."""
        known = tf.cast(values, tf.int64) - self.options.oov_buckets
        return tf.cast(tf.where(known >= 0, known, len(self.vocabulary)), tf.float32)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return CategoryEncoder(
            width,
            words=len(self.vocabulary),
            oov_buckets=self.options.oov_buckets,
            dropout=self.options.dropout,
            name=f"{self.name}_encoder",
        )


def string_lookup(
    owner: Any, vocabulary: tuple[str, ...], oov_buckets: int
) -> tf.keras.layers.StringLookup:
    """Returns the owner's lookup layer, made once: a table made in a traced function is lost."""
    if owner._string_lookup is None:
        with tf.init_scope():
            # Keras refuses an empty vocabulary; use a word that no text can be.
            owner._string_lookup = tf.keras.layers.StringLookup(
                vocabulary=list(vocabulary) or ["\x00"], num_oov_indices=oov_buckets
            )
    return owner._string_lookup


def most_frequent(counts: Mapping[str, int], options: Any) -> tuple[str, ...]:
    """Returns the words that are frequent enough, by descending frequency, then alphabetically.

    Example:
      >>> most_frequent({"a": 2, "b": 3, "c": 1}, CategoryOptions(min_count=2))
      ('b', 'a')
    """
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return tuple(w for w in ordered if counts[w] >= options.min_count)[: options.max_words]


class CategoryEncoder(tf.keras.layers.Layer, NamedRows):
    """Embeddings [N, D] of category rows [N] int64.

    Args:
      width: D.
      words: Number of known words; their rows follow those of the buckets.
      oov_buckets: Number of rows for all other words.
      dropout: Share of rows that training replaces by a bucket's row, chosen by row modulo buckets.

    Example:
      >>> import tensorflow as tf
      >>> encoder = CategoryEncoder(4, words=2, oov_buckets=1, dropout=0.0)
      >>> encoder(tf.constant([0, 2, 2])).shape
      TensorShape([3, 4])
    """

    def __init__(self, width: int, *, words: int, oov_buckets: int, dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.words, self.oov_buckets = width, words, oov_buckets
        self.dropout = dropout
        self.table = tf.keras.layers.Embedding(max(words, 1) + oov_buckets, width)
        self.drop = tf.keras.layers.Dropout(dropout)

    def build(self, input_shape: Any) -> None:
        # Built here because dropout is called in training only. Otherwise it would get its random
        # generator in the first step, too late for a checkpoint to restore or an epoch to seed it.
        self.drop.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        rows = tf.cast(inputs, tf.int64)
        if training and self.dropout:
            kept = self.drop(tf.ones_like(rows, tf.float32), training=True) > 0
            rows = tf.where(kept, rows, rows % self.oov_buckets)
        return self.table(rows)

    def named_rows(self, owner: Category) -> Rows:
        return [(self.table.embeddings, known_words(owner))]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "width": self.width,
            "words": self.words,
            "oov_buckets": self.oov_buckets,
            "dropout": self.dropout,
        }
