"""Tags: a set of words of an item, in one separated text."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from mmrank.data.conversion import text_of
from mmrank.data.media import MediaStore
from mmrank.encoders.base import MOST_OF_A_SET, FeatureKind, texts
from mmrank.encoders.category import most_frequent, string_lookup
from mmrank.encoders.word_rows import NamedRows, Rows, known_words
from mmrank.ranges import Count


@dataclasses.dataclass(frozen=True)
class TagsOptions:
    """Options of tags.

    Attributes:
      separator: Text between two tags.
      max_tags: How many tags of an item are used, from the first.
      oov_buckets, min_count, max_words: As for a category.
    """

    separator: str = "|"
    max_tags: Count = 8
    oov_buckets: Count = 4
    min_count: Count = 2
    max_words: Count = 100_000


class Tags(FeatureKind):
    """A set of words in one text such as `red|cotton`. The empty text means absent.

    Example:
      >>> import pandas as pd
      >>> import tensorflow as tf
      >>> from mmrank.schema import Feature
      >>> tags = Tags(Feature("tags", "tags", "item", "tags"), {"oov_buckets": 1, "max_tags": 3})
      >>> tags.fit(pd.Series(["red|cotton", "red|cotton", "red"]))
      >>> tags.vocabulary
      ('red', 'cotton')
      >>> tags.preprocess(tf.constant(["cotton|red", "red"])).numpy().tolist()  # 0 is padding
      [[3, 2, 0], [2, 0, 0]]
    """

    raw_dtype = tf.string
    Options = TagsOptions
    most_characters = MOST_OF_A_SET

    vocabulary: tuple[str, ...] = ()

    @property
    def separator(self) -> str:
        return self.options.separator

    def card(self) -> dict[str, Any]:
        return {"separator": self.options.separator}

    def read(self, values: pd.Series, media: MediaStore | None) -> tuple[np.ndarray, np.ndarray]:
        joined = [self._join(v) for v in values]
        words = texts(pd.Series(joined, dtype=object), MOST_OF_A_SET)
        return words, words != ""

    def _join(self, value: Any) -> Any:
        # Parquet may hold real lists.
        if isinstance(value, (list, tuple, np.ndarray)):
            tags = [text_of(v) for v in value]
            return self.options.separator.join(str(v) for v in tags if v is not None)
        return value

    def fit(self, values: pd.Series) -> None:
        words, _ = self.read(values, None)
        counts: collections.Counter[str] = collections.Counter()
        for text, rows in collections.Counter(words).items():  # a log repeats an item in many rows
            for word in filter(None, map(str.strip, text.split(self.options.separator))):
                counts[word] += rows
        self.vocabulary = most_frequent(counts, self.options)

    def state(self) -> dict[str, Any]:
        return {"vocabulary": list(self.vocabulary)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.vocabulary = tuple(state["vocabulary"])

    def preprocess(self, raw: tf.Tensor) -> tf.Tensor:
        split = tf.strings.split(raw, self.options.separator)
        words = tf.ragged.map_flat_values(tf.strings.strip, split)
        words = tf.ragged.boolean_mask(words, words != "")
        lookup = string_lookup(self, self.vocabulary, self.options.oov_buckets)
        rows = tf.ragged.map_flat_values(lambda w: lookup(w) + 1, words)
        return rows.to_tensor(0, shape=[None, self.options.max_tags])

    def input_spec(self) -> tf.TensorSpec:
        return tf.TensorSpec([None, self.options.max_tags], tf.int64)

    def encoder(self, width: int) -> tf.keras.layers.Layer:
        return TagsEncoder(
            width,
            words=max(len(self.vocabulary), 1) + self.options.oov_buckets,
            name=f"{self.name}_encoder",
        )


class TagsEncoder(tf.keras.layers.Layer, NamedRows):
    """Embeddings [N, D] of tag rows [N, tags] int64: the mean over the tags of an item.

    Masking: row 0 is padding and has no weight; an item of padding alone gives zeros.

    Example:
      >>> import tensorflow as tf
      >>> encoder = TagsEncoder(4, words=3)
      >>> vectors = encoder(tf.constant([[1, 2], [0, 0]]))
      >>> vectors.shape, vectors[1].numpy().tolist()  # an item without tags
      (TensorShape([2, 4]), [0.0, 0.0, 0.0, 0.0])
    """

    def __init__(self, width: int, *, words: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.width, self.words = width, words
        self.table = tf.keras.layers.Embedding(words + 1, width)

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        weight = tf.cast(inputs > 0, self.compute_dtype)[..., None]
        total = tf.reduce_sum(self.table(inputs) * weight, axis=1)
        return total / tf.maximum(tf.reduce_sum(weight, axis=1), 1)

    def named_rows(self, owner: Tags) -> Rows:
        return [(self.table.embeddings, ("padding", *known_words(owner)))]

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"width": self.width, "words": self.words}
