"""Categories and ids: one known word each, unseen ones hashed into shared buckets."""

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
from mmrank.ranges import Count, Dropped


@dataclasses.dataclass(frozen=True)
class CategoryOptions:
    """Options of a category.

    Attributes:
      oov_buckets: Shared rows for values that training did not see (often enough).
      min_count: Rarer training values share the buckets too, which is what trains those rows.
      max_words: The most frequent values kept.
      dropout: Share of known values sent to a bucket in training, so that unseen ones score well.
    """

    oov_buckets: Count = 8
    min_count: Count = 2
    max_words: Count = 200_000
    dropout: Dropped = 0.05


class Category(FeatureKind):
    """One word of an open set: a brand, a shop, a user or item id. The empty text means absent."""

    sides = frozenset({"item", "query", "user", "pair"})
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
        """The layer from words to rows: first the hashed buckets, then the known words."""
        return string_lookup(self, self.vocabulary, self.options.oov_buckets)

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None], tf.int64)

    def as_numbers(self, values: Any) -> tf.Tensor:
        """Indices [...] of words by frequency, the most frequent 0; unknown ones come last."""
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
    """The owner's lookup layer, made once: a table made inside a traced function would be lost."""
    if getattr(owner, "_lookup", None) is None:
        with tf.init_scope():
            # Keras refuses an empty vocabulary; a word that no text can be stands in.
            owner._lookup = tf.keras.layers.StringLookup(
                vocabulary=list(vocabulary) or ["\x00"], num_oov_indices=oov_buckets
            )
    return owner._lookup


def most_frequent(counts: Mapping[str, int], options: Any) -> tuple[str, ...]:
    """The known words: frequent enough, the most frequent first, ties in alphabetical order."""
    ordered = sorted(counts, key=lambda word: (-counts[word], word))
    return tuple(w for w in ordered if counts[w] >= options.min_count)[: options.max_words]


class CategoryEncoder(tf.keras.layers.Layer):
    """Embeddings [N, D] of category rows [N] int64.

    Args:
      width: D.
      words: Known words; their rows follow those of the buckets.
      oov_buckets: Rows for all other words.
      dropout: Share of rows replaced in training by a bucket's, chosen by row modulo buckets.
    """

    def __init__(self, width: int, *, words: int, oov_buckets: int, dropout: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.words, self.oov_buckets = width, words, oov_buckets
        self.dropout = dropout
        self.table = tf.keras.layers.Embedding(max(words, 1) + oov_buckets, width)
        self.drop = tf.keras.layers.Dropout(dropout)

    def build(self, input_shape: Any) -> None:
        # Not called outside training, dropout would get its random generator in the first step
        # only: too late for a checkpoint to restore it and for an epoch to seed it.
        self.drop.build(input_shape)
        super().build(input_shape)

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        rows = tf.cast(inputs, tf.int64)
        if training and self.dropout:
            kept = self.drop(tf.ones_like(rows, tf.float32), training=True) > 0
            rows = tf.where(kept, rows, rows % self.oov_buckets)
        return self.table(rows)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "width": self.width,
            "words": self.words,
            "oov_buckets": self.oov_buckets,
            "dropout": self.dropout,
        }
